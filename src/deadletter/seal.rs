//! AES-256-GCM over what a store keeps, with keys from a file.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

/// The first seals, all open: to rotate, put the new one first.
#[derive(Clone)]
pub struct SealKeys(Arc<Vec<SealKey>>);

struct SealKey {
    /// 8 hex digits of a digest
    name: String,
    key: RandomizedNonceKey,
}

/// A key file that can't be used. Shows no part of it.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    #[error("{path}: {source}")]
    Unreadable { path: String, source: std::io::Error },
    #[error("{path} holds no key: make one with `openssl rand -base64 32`")]
    Empty { path: String },
    #[error(
        "{path}, line {line} is no key of 32 bytes in base64 or hex: make one with `openssl rand -base64 32`"
    )]
    NotAKey { path: String, line: usize },
}

impl SealKeys {
    /// One key a line, base64 or hex.
    pub fn from_file(path: &Path) -> Result<Self, SealError> {
        let shown = path.display().to_string();
        let text = std::fs::read_to_string(path)
            .map_err(|source| SealError::Unreadable { path: shown.clone(), source })?;
        let mut keys = Vec::new();
        for (n, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let key = SealKey::read(line.trim());
            keys.push(key.ok_or_else(|| SealError::NotAKey { path: shown.clone(), line: n + 1 })?);
        }
        if keys.is_empty() {
            return Err(SealError::Empty { path: shown });
        }
        Ok(Self(Arc::new(keys)))
    }

    /// The name of the key that seals, and the nonce, the sealed bytes and the tag. `what` must be the same when it
    /// is opened.
    pub fn seal(&self, plain: &[u8], what: &str) -> Option<(String, Vec<u8>)> {
        let key = self.0.first()?;
        let mut sealed = plain.to_vec();
        let nonce = key.key.seal_in_place_append_tag(Aad::from(what.as_bytes()), &mut sealed).ok()?;
        let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
        let mut whole = Vec::with_capacity(NONCE_LEN + sealed.len());
        whole.extend_from_slice(nonce);
        whole.append(&mut sealed);
        Some((key.name.clone(), whole))
    }

    pub fn holds(&self, name: &str) -> bool {
        self.0.iter().any(|key| key.name == name)
    }

    /// None where it was changed since, or is another's.
    pub fn open(&self, name: &str, sealed: &[u8], what: &str) -> Option<Vec<u8>> {
        let key = self.0.iter().find(|key| key.name == name)?;
        let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut plain = rest.to_vec();
        let length = key.key.open_in_place(nonce, Aad::from(what.as_bytes()), &mut plain).ok()?.len();
        plain.truncate(length);
        Some(plain)
    }
}

impl SealKey {
    fn read(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).or_else(|_| STANDARD.decode(text)).ok()?;
        if bytes.len() != 32 {
            return None;
        }
        let digest = Sha256::new().chain_update("lakehook dead letters").chain_update(&bytes).finalize();
        Some(Self {
            name: hex::encode(&digest[..4]),
            key: RandomizedNonceKey::new(&AES_256_GCM, &bytes).ok()?,
        })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
pub(super) mod tests {
    use super::*;

    pub fn keys(lines: &[[u8; 32]]) -> SealKeys {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, lines.iter().map(|line| STANDARD.encode(line) + "\n").collect::<String>())
            .unwrap();
        SealKeys::from_file(&path).unwrap()
    }

    #[test]
    fn what_was_sealed_opens_with_its_key_and_its_name_only() {
        let (ours, theirs) = (keys(&[[1; 32]]), keys(&[[2; 32]]));
        let (name, sealed) = ours.seal(b"secret", "a").unwrap();
        assert!(!sealed.windows(6).any(|window| window == b"secret"));
        assert_eq!(ours.open(&name, &sealed, "a").unwrap(), b"secret");
        assert_eq!(ours.open(&name, &sealed, "b"), None);
        assert!(!theirs.holds(&name));
        assert_eq!(theirs.open(&name, &sealed, "a"), None);
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open(&name, &changed, "a"), None, "byte {at}");
        }
        assert_eq!(ours.open(&name, &sealed[..5], "a"), None);
        assert_ne!(ours.seal(b"secret", "a").unwrap().1, sealed, "a nonce of its own each time");
    }

    #[test]
    fn a_rotated_key_still_opens() {
        let (name, sealed) = keys(&[[1; 32]]).seal(b"secret", "a").unwrap();
        let rotated = keys(&[[2; 32], [1; 32]]);
        assert_eq!(rotated.open(&name, &sealed, "a").unwrap(), b"secret");
        assert_ne!(rotated.seal(b"secret", "a").unwrap().0, name);
    }

    #[test]
    fn a_file_that_is_no_key_is_refused_without_showing_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        for (text, part) in [("", "no key"), ("MARK-too-short", "line 1"), (&"ab".repeat(31), "line 1")] {
            std::fs::write(&path, text).unwrap();
            let error = SealKeys::from_file(&path).err().unwrap().to_string();
            assert!(error.contains(part) && !error.contains("MARK"), "{error}");
        }
        std::fs::write(&path, "ab".repeat(32)).unwrap();
        assert!(SealKeys::from_file(&path).is_ok(), "hex");
    }
}
