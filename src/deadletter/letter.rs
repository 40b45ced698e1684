//! One refused delivery: what is known of it, and its content.

use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::delivery::{Key, Version};
use crate::verdict::Issue;

/// 16 hex digits. The same version of a resource, refused again, has the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LetterId(Box<str>);

impl LetterId {
    /// A delivery without a version has the place of the resource's last one without a version: arrival order.
    pub fn of(key: &Key, deleted: bool, version: &Version) -> Self {
        let text = |part: &Option<Box<str>>| part.clone().unwrap_or_default();
        let name = format!("{key} {deleted} {} {}", text(&version.version_id), text(&version.last_updated));
        Self(hex::encode(&Sha256::digest(name)[..8]).into())
    }

    pub fn parse(text: &str) -> Option<Self> {
        let hex = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        hex.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LetterId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is kept beside the payload. `issues` may quote the resource: they are shown on demand, never logged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Letter {
    pub id: LetterId,
    pub key: Key,
    /// `upsert` or `delete`
    pub interaction: Box<str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<Box<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_updated: Option<Box<str>>,
    /// The verdict: `invalid`, `refused-by-healthlake`, `too-large`
    pub reason: Box<str>,
    pub issues: Vec<Issue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthlake_status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthlake_request_id: Option<Box<str>>,
    /// Of the last delivery: as in lakehook's log and the answer's `x-request-id`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delivery: Option<Box<str>>,
    /// How often this version came and was refused
    pub attempts: u32,
    pub first: Timestamp,
    pub last: Timestamp,
    /// `application/fhir+json` or `application/fhir+xml`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media: Option<Box<str>>,
    /// Size of the payload (bytes)
    pub bytes: usize,
}

impl Letter {
    pub fn version(&self) -> Version {
        Version { version_id: self.version_id.clone(), last_updated: self.last_updated.clone() }
    }

    pub fn is_delete(&self) -> bool {
        &*self.interaction == "delete"
    }
}

/// A resource's bytes, which no log and no panic may show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Payload(pub Bytes);

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

/// What a store knows of a letter without opening it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    pub key: Key,
    pub id: LetterId,
    /// As stored
    pub bytes: u64,
    /// When it was last written
    pub at: SystemTime,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    pub letter: Letter,
    pub payload: Payload,
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_that_of_the_version() {
        let key = Key::new("Patient", "p1").unwrap();
        let of = |id: &str| LetterId::of(&key, false, &Version::new(Some(id), None));
        assert_eq!(of("1"), of("1"));
        assert_ne!(of("1"), of("2"));
        assert_ne!(
            LetterId::of(&key, true, &Version::default()),
            LetterId::of(&key, false, &Version::default())
        );
        assert_eq!(LetterId::parse(of("1").as_str()), Some(of("1")));
        for wrong in ["", "Patient/p1", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0"] {
            assert_eq!(LetterId::parse(wrong), None, "{wrong}");
        }
    }
}
