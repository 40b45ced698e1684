//! The domain: what one notification of the CDR asks for, in the words of FHIR.

use std::fmt;

use bytes::Bytes;

use crate::verdict::Verdict;

/// A resource's type and id, both checked: they go into a signed URL as they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Key {
    resource_type: Box<str>,
    id: Box<str>,
}

/// Why a type or an id can't name a resource. Holds no part of what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("the resource type is not a name of letters that starts with a capital")]
    ResourceType,
    #[error("the id is not 1 to 64 of A-Z a-z 0-9 - .")]
    Id,
}

impl Key {
    pub fn new(resource_type: &str, id: &str) -> Result<Self, KeyError> {
        if !is_resource_type(resource_type) {
            return Err(KeyError::ResourceType);
        }
        if !is_id(id) {
            return Err(KeyError::Id);
        }
        Ok(Self { resource_type: resource_type.into(), id: id.into() })
    }

    /// Reads `Type/id`, as references and Medplum's header write it.
    pub fn parse(reference: &str) -> Result<Self, KeyError> {
        let (resource_type, id) = reference.split_once('/').ok_or(KeyError::Id)?;
        Self::new(resource_type, id)
    }

    pub fn resource_type(&self) -> &str {
        &self.resource_type
    }

    pub fn id(&self) -> &str {
        &self.id
    }
}

impl From<Key> for String {
    fn from(key: Key) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for Key {
    type Error = KeyError;

    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(&text)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.resource_type, self.id)
    }
}

/// No list of types is kept: a type that HealthLake learns tomorrow passes tomorrow.
pub fn is_resource_type(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.bytes().all(|b| b.is_ascii_alphabetic())
}

/// FHIR's `id`. `.` and `..` match its grammar but are path segments that HTTP clients resolve away.
pub fn is_id(id: &str) -> bool {
    (1..=64).contains(&id.len())
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
        && id.bytes().any(|b| b != b'.')
}

/// What the CDR says of a resource's version, as text; `order` gives it meaning.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Version {
    /// `meta.versionId`
    pub version_id: Option<Box<str>>,
    /// `meta.lastUpdated`
    pub last_updated: Option<Box<str>>,
}

impl Version {
    /// What is no id, or no instant, tells no order, and must not get into a log either.
    pub fn new(version_id: Option<&str>, last_updated: Option<&str>) -> Self {
        Self {
            version_id: version_id.filter(|id| is_id(id)).map(Into::into),
            last_updated: last_updated.filter(|at| at.parse::<jiff::Timestamp>().is_ok()).map(Into::into),
        }
    }
}

/// What the URL of a delivery says of its resource; the body must agree.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addressed {
    pub resource_type: Option<Box<str>>,
    pub id: Option<Box<str>>,
}

impl Addressed {
    pub fn to(key: &Key) -> Self {
        Self { resource_type: Some(key.resource_type.clone()), id: Some(key.id.clone()) }
    }

    pub fn key(&self) -> Option<Key> {
        Some(Key { resource_type: self.resource_type.clone()?, id: self.id.clone()? })
    }
}

/// One change of one resource.
#[derive(Clone, Debug)]
pub enum Delivery {
    /// The resource as FHIR JSON, not yet validated.
    Upsert {
        addressed: Addressed,
        json: Bytes,
        /// `json` is the body as it came: its lines and columns mean something to the sender.
        verbatim: bool,
    },
    Delete {
        key: Key,
    },
    /// A notification that names a resource without its content: the CDR has to be read.
    Changed {
        key: Key,
    },
}

/// A body that is refused before it is a `Delivery`.
pub struct Unreadable {
    pub key: Key,
    pub refused: Verdict,
    /// It came as XML.
    pub xml: bool,
    pub bytes: Bytes,
}

impl Delivery {
    pub fn interaction(&self) -> &'static str {
        match self {
            Self::Upsert { .. } => "upsert",
            Self::Delete { .. } => "delete",
            Self::Changed { .. } => "changed",
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_key_takes_every_fhir_id() {
        for id in ["1", "p-1", "A.b-C.9", &"x".repeat(64), "..a"] {
            assert_eq!(Key::new("Patient", id).unwrap().to_string(), format!("Patient/{id}"));
        }
    }

    #[test]
    fn tricks_never_become_a_key() {
        for id in ["", ".", "..", "a/b", "a%2Fb", "a b", "é", "a?b", "a#b", "a\\b", "a;b", &"x".repeat(65)] {
            assert_eq!(Key::new("Patient", id), Err(KeyError::Id), "{id}");
        }
        for resource_type in
            ["", "patient", "Pat1ent", "$everything", "_history", "Patient ", &"P".repeat(65)]
        {
            assert_eq!(Key::new(resource_type, "1"), Err(KeyError::ResourceType), "{resource_type}");
        }
    }
}
