//! The private key of SMART backend services: RS384 with an RSA key, ES384 with a P-384 one, which are the two
//! that the guide asks every server to take.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair as RsaKeyPair, KeyPairComponents, PublicKeyComponents};
use aws_lc_rs::signature::{ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, RSA_PKCS1_SHA384};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde::Deserialize;

/// Says nothing of the key itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("is neither a private key in PEM nor a JWK")]
    Format,
    #[error("is encrypted; lakehook has no passphrase for it: `openssl pkey -in KEY -out PLAIN` decrypts it")]
    Encrypted,
    #[error(
        "holds no key that SMART backend services takes: RSA of 2048 to 8192 bits (RS384), or EC on P-384 (ES384)"
    )]
    Kind,
    #[error("holds a JWK without its private parts: the public one belongs to the CDR, the private one here")]
    Public,
    #[error("holds a JWK whose alg is neither RS384 nor ES384")]
    Algorithm,
    #[error("needs a key id, by which the CDR finds the public key: set --cdr-oauth-key-id")]
    NoKeyId,
    #[error("holds several keys, or none: set --cdr-oauth-key-id to the kid of the one to use")]
    Several,
}

pub struct SigningKey {
    /// `kid`
    pub id: String,
    pair: Pair,
}

enum Pair {
    Rsa(RsaKeyPair),
    P384(EcdsaKeyPair),
}

/// RFC 7517 and 7518; only what is needed to sign.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Jwk {
    kty: String,
    crv: String,
    kid: Option<String>,
    alg: Option<String>,
    n: String,
    e: String,
    d: String,
    p: String,
    q: String,
    dp: String,
    dq: String,
    qi: String,
    x: String,
    y: String,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

impl SigningKey {
    /// As `parse`, of a file. Fails with its path and what is wrong with it.
    pub fn from_file(path: &Path, id: Option<&str>) -> Result<Self, String> {
        let problem = |problem: String| format!("{}: {problem}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| problem(error.to_string()))?;
        Self::parse(&text, id).map_err(|error| problem(error.to_string()))
    }

    /// PEM (PKCS#8, PKCS#1, SEC1), a JWK or a JWK set. `id` is the `kid`; a JWK may bring its own.
    pub fn parse(text: &str, id: Option<&str>) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.starts_with('{') {
            return Self::from_jwk(choose(text, id)?, id);
        }
        if text.contains("ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        let key = PrivateKeyDer::from_pem_slice(text.as_bytes()).map_err(|_| KeyError::Format)?;
        let rsa = match &key {
            PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
            other => RsaKeyPair::from_pkcs8(other.secret_der()),
        };
        let pair = match rsa {
            Ok(pair) => Pair::Rsa(pair),
            Err(_) => {
                let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_der(curve, key.secret_der());
                Pair::P384(pair.map_err(|_| KeyError::Kind)?)
            }
        };
        Ok(Self { id: id.ok_or(KeyError::NoKeyId)?.to_owned(), pair })
    }

    fn from_jwk(jwk: Jwk, id: Option<&str>) -> Result<Self, KeyError> {
        if jwk.alg.as_deref().is_some_and(|alg| !matches!(alg, "RS384" | "ES384")) {
            return Err(KeyError::Algorithm);
        }
        let bytes = |text: &str| URL_SAFE_NO_PAD.decode(text).map_err(|_| KeyError::Format);
        let pair = match (jwk.kty.as_str(), jwk.crv.as_str()) {
            ("RSA" | "EC", _) if jwk.d.is_empty() => return Err(KeyError::Public),
            ("RSA", _) => Pair::Rsa(
                RsaKeyPair::from_components(&KeyPairComponents {
                    public_key: PublicKeyComponents { n: bytes(&jwk.n)?, e: bytes(&jwk.e)? },
                    d: bytes(&jwk.d)?,
                    p: bytes(&jwk.p)?,
                    q: bytes(&jwk.q)?,
                    dP: bytes(&jwk.dp)?,
                    dQ: bytes(&jwk.dq)?,
                    qInv: bytes(&jwk.qi)?,
                })
                .map_err(|_| KeyError::Kind)?,
            ),
            ("EC", "P-384") => {
                let point = [&[4], bytes(&jwk.x)?.as_slice(), bytes(&jwk.y)?.as_slice()].concat();
                let curve = &ECDSA_P384_SHA384_FIXED_SIGNING;
                let pair = EcdsaKeyPair::from_private_key_and_public_key(curve, &bytes(&jwk.d)?, &point);
                Pair::P384(pair.map_err(|_| KeyError::Kind)?)
            }
            _ => return Err(KeyError::Kind),
        };
        let id = jwk.kid.or_else(|| id.map(str::to_owned)).ok_or(KeyError::NoKeyId)?;
        Ok(Self { id, pair })
    }

    /// `alg`
    pub fn algorithm(&self) -> &'static str {
        match self.pair {
            Pair::Rsa(_) => "RS384",
            Pair::P384(_) => "ES384",
        }
    }

    /// None where the random generator fails.
    pub(super) fn sign(&self, message: &[u8]) -> Option<Vec<u8>> {
        let random = SystemRandom::new();
        match &self.pair {
            Pair::Rsa(pair) => {
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA384, &random, message, &mut signature).ok()?;
                Some(signature)
            }
            Pair::P384(pair) => Some(pair.sign(&random, message).ok()?.as_ref().to_vec()),
        }
    }
}

/// One JWK, or the one of a set that `id` names, or its only one.
fn choose(text: &str, id: Option<&str>) -> Result<Jwk, KeyError> {
    if let Ok(JwkSet { mut keys }) = serde_json::from_str(text) {
        if let Some(id) = id {
            keys.retain(|key| key.kid.as_deref() == Some(id));
        }
        return match keys.len() {
            1 => keys.pop().ok_or(KeyError::Several),
            _ => Err(KeyError::Several),
        };
    }
    let jwk: Jwk = serde_json::from_str(text).map_err(|_| KeyError::Format)?;
    match id {
        // The file's own name for it is the one that the CDR knows.
        Some(id) if jwk.kid.as_deref().is_some_and(|kid| kid != id) => Err(KeyError::Several),
        _ => Ok(jwk),
    }
}
