//! Who may call: bearer tokens, Basic, Medplum's signature over the body, a client certificate. One that is
//! right is enough. Everything secret is compared in constant time, and held as a digest where that does.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Where the secrets of one kind come from: values, and files with one a line.
#[derive(Clone, Default)]
pub struct Sources {
    pub values: Vec<SecretString>,
    pub files: Vec<PathBuf>,
}

/// Everything that may authenticate a CDR.
#[derive(Clone, Default)]
pub struct Secrets {
    pub tokens: Sources,
    /// `user:password`
    pub basic: Sources,
    /// Keys of Medplum's `X-Signature`
    pub hmac: Sources,
    /// A client certificate of the configured CA is enough.
    pub client_certificate: bool,
    pub allow_anonymous: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum SecretsError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: holds no secret; write one a line")]
    Empty { path: PathBuf },
    #[error("a secret is shorter than 8 characters")]
    Short,
    #[error("a Basic credential is not user:password")]
    NotBasic,
}

/// The secrets as read last. Files are read again by `reload`.
pub struct Callers {
    secrets: Secrets,
    known: ArcSwap<Known>,
}

#[derive(Default, PartialEq, Eq)]
struct Known {
    bearer: Vec<[u8; 32]>,
    basic: Vec<[u8; 32]>,
    hmac: Vec<Vec<u8>>,
}

/// What the head of a request says of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    Known,
    /// Only the body's signature can tell.
    Signs,
    Unknown,
}

impl Callers {
    pub fn new(secrets: Secrets) -> Result<Arc<Self>, SecretsError> {
        let known = Known::read(&secrets)?;
        Ok(Arc::new(Self { secrets, known: ArcSwap::from_pointee(known) }))
    }

    /// Reads the files again. What can't be read leaves everything as it was.
    pub fn reload(&self) -> Result<bool, SecretsError> {
        let known = Known::read(&self.secrets)?;
        let changed = known != **self.known.load();
        if changed {
            self.known.store(Arc::new(known));
        }
        Ok(changed)
    }

    pub fn has_files(&self) -> bool {
        let Secrets { tokens, basic, hmac, .. } = &self.secrets;
        [tokens, basic, hmac].iter().any(|sources| !sources.files.is_empty())
    }

    /// `certificate`: the connection showed one that the configured CA signed.
    pub fn head(&self, headers: &HeaderMap, certificate: bool) -> Caller {
        if self.secrets.allow_anonymous || (certificate && self.secrets.client_certificate) {
            return Caller::Known;
        }
        let known = self.known.load();
        let mut authorizations = headers.get_all(AUTHORIZATION).iter();
        if authorizations.any(|value| known.authorizes(value.as_bytes())) {
            return Caller::Known;
        }
        match headers.get("x-signature") {
            Some(_) if !known.hmac.is_empty() => Caller::Signs,
            _ => Caller::Unknown,
        }
    }

    /// Medplum's `X-Signature`: hex of HMAC-SHA256 over the raw body.
    pub fn signed(&self, headers: &HeaderMap, raw: &[u8]) -> bool {
        let signature = headers.get("x-signature").and_then(|value| hex::decode(value.as_bytes()).ok());
        let Some(signature) = signature else { return false };
        self.known.load().hmac.iter().any(|key| {
            Hmac::<Sha256>::new_from_slice(key).is_ok_and(|mut mac| {
                mac.update(raw);
                mac.verify_slice(&signature).is_ok()
            })
        })
    }
}

impl Known {
    fn read(secrets: &Secrets) -> Result<Self, SecretsError> {
        let digests = |sources: &Sources| -> Result<Vec<[u8; 32]>, SecretsError> {
            Ok(read(sources)?.iter().map(|secret| digest(secret.expose_secret().as_bytes())).collect())
        };
        let basic = read(&secrets.basic)?;
        if basic.iter().any(|pair| !pair.expose_secret().contains(':')) {
            return Err(SecretsError::NotBasic);
        }
        Ok(Self {
            bearer: digests(&secrets.tokens)?,
            basic: digests(&secrets.basic)?,
            hmac: read(&secrets.hmac)?.iter().map(|key| key.expose_secret().as_bytes().to_vec()).collect(),
        })
    }

    fn authorizes(&self, value: &[u8]) -> bool {
        let Some(space) = value.iter().position(|b| *b == b' ') else { return false };
        let (scheme, rest) = (&value[..space], value[space..].trim_ascii());
        if scheme.eq_ignore_ascii_case(b"bearer") {
            return one_of(&self.bearer, rest);
        }
        if scheme.eq_ignore_ascii_case(b"basic") {
            return STANDARD.decode(rest).is_ok_and(|pair| one_of(&self.basic, &pair));
        }
        false
    }
}

/// Every digest is looked at, so that the time tells neither which one nor how much of it was right.
fn one_of(digests: &[[u8; 32]], presented: &[u8]) -> bool {
    let presented = digest(presented);
    let found = digests.iter().fold(0, |found, known| found | known.ct_eq(&presented).unwrap_u8());
    found == 1
}

fn digest(secret: &[u8]) -> [u8; 32] {
    Sha256::digest(secret).into()
}

fn read(sources: &Sources) -> Result<Vec<SecretString>, SecretsError> {
    let mut secrets = sources.values.clone();
    for path in &sources.files {
        let text = std::fs::read_to_string(path)
            .map(SecretString::from)
            .map_err(|source| SecretsError::Unreadable { path: path.clone(), source })?;
        let lines = text.expose_secret().lines().map(str::trim).filter(|line| !line.is_empty());
        let before = secrets.len();
        secrets.extend(lines.map(SecretString::from));
        if secrets.len() == before {
            return Err(SecretsError::Empty { path: path.clone() });
        }
    }
    if secrets.iter().any(|secret| secret.expose_secret().len() < 8) {
        return Err(SecretsError::Short);
    }
    Ok(secrets)
}

#[cfg(test)]
#[path = "callers_tests.rs"]
mod tests;
