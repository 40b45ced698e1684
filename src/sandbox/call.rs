//! A call to HealthLake, its path read.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, Method, header};

use super::answer::Answer;
use super::sigv4::percent_decode;
use super::store::Condition;
use super::types;

/// A request below one of them is to the same data store, seen through another door.
const PREFIXES: &[&str] = &["patientaccess", "provideraccess", "payertopayerdx", "priorauthservice"];

pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Strict,
    StructureOnly,
    Minimal,
}

impl Call {
    pub(super) fn new(parts: Parts, body: Bytes) -> Self {
        Self {
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().unwrap_or("").to_owned(),
            headers: parts.headers,
            body,
        }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Asks for what the sandbox does not do; to ignore it would make a test pass for nothing.
    pub(super) fn asks_too_much(&self) -> bool {
        self.headers.contains_key("if-none-exist")
            || self.header("prefer").is_some_and(|value| value.contains("respond-async"))
    }

    pub(super) fn idempotency_key(&self) -> Option<&str> {
        self.header("x-amz-fhir-idempotency-key")
    }

    /// Strong consistency: reads see the previous version while the newest is indexed, writes cost twice.
    pub(super) fn is_strong(&self) -> bool {
        self.header("x-amz-fhir-history-consistency-level") == Some("strong")
    }

    pub(super) fn is_write(&self) -> bool {
        match self.method {
            Method::PUT | Method::DELETE => true,
            Method::POST => !self.path.ends_with("/_search"),
            _ => false,
        }
    }

    pub(super) fn level(&self) -> Result<Level, Answer> {
        match self.header("x-amzn-healthlake-fhir-validation-level") {
            None | Some("strict") => Ok(Level::Strict),
            Some("structure-only") => Ok(Level::StructureOnly),
            Some("minimal") => Ok(Level::Minimal),
            Some(other) => {
                Err(Answer::bad_parameter("validationLevel", other, "strict|structure-only|minimal"))
            }
        }
    }

    pub(super) fn condition(&self) -> Condition {
        Condition {
            if_match: self.header(header::IF_MATCH.as_str()).map(etag),
            if_none_match: self
                .header(header::IF_NONE_MATCH.as_str())
                .is_some_and(|value| value.trim() == "*"),
        }
    }

    /// The data store's base as the caller sees it, for links.
    pub(super) fn base(&self) -> String {
        let host = self.header(header::HOST.as_str()).unwrap_or("localhost");
        let segments = segments(&self.path);
        let end = segments.iter().position(|segment| segment == "r4").map_or(segments.len(), |at| at + 1);
        format!("http://{host}/{}", segments[..end].join("/"))
    }
}

/// Decoded, and none of them empty: a doubled slash counts as one, as in the signature.
fn segments(path: &str) -> Vec<String> {
    path.split('/')
        .map(|segment| String::from_utf8_lossy(&percent_decode(segment)).into_owned())
        .filter(|segment| !segment.is_empty())
        .collect()
}

/// The version in `W/"3"`; None: it names none.
pub(super) fn etag(value: &str) -> Option<u64> {
    let value = value.trim();
    value.strip_prefix("W/").unwrap_or(value).trim_matches('"').parse().ok()
}

/// What a path means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The base itself: Bundles.
    Base,
    Metadata,
    Type(String),
    Search(String),
    TypeHistory(String),
    Instance(String, String),
    History(String, String),
    Version(String, String, String),
}

/// A path that is none of HealthLake's.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unroutable {
    NotHealthLake,
    BadType(String),
    BadId(String),
    /// `$everything`, `_history` of all, and so on.
    NotSupported,
}

impl Target {
    pub(super) fn of(path: &str) -> Result<Self, Unroutable> {
        let decoded = segments(path);
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let rest = match segments.as_slice() {
            ["datastore", _, "r4", rest @ ..] => rest,
            ["datastore", _, prefix, "v2", "r4", rest @ ..] if PREFIXES.contains(prefix) => rest,
            _ => return Err(Unroutable::NotHealthLake),
        };
        match rest {
            [] => Ok(Self::Base),
            ["metadata"] => Ok(Self::Metadata),
            [first, ..] if first.starts_with(['$', '_']) => Err(Unroutable::NotSupported),
            [kind, ..] if !types::is_type_name(kind) => Err(Unroutable::BadType((*kind).to_owned())),
            [kind] => Ok(Self::Type((*kind).to_owned())),
            [kind, "_search"] => Ok(Self::Search((*kind).to_owned())),
            [kind, "_history"] => Ok(Self::TypeHistory((*kind).to_owned())),
            [_, second, ..] if second.starts_with(['$', '_']) => Err(Unroutable::NotSupported),
            [_, id, ..] if !types::is_id(id) => Err(Unroutable::BadId((*id).to_owned())),
            [kind, id] => Ok(Self::Instance((*kind).to_owned(), (*id).to_owned())),
            [kind, id, "_history"] => Ok(Self::History((*kind).to_owned(), (*id).to_owned())),
            [kind, id, "_history", version] => {
                Ok(Self::Version((*kind).to_owned(), (*id).to_owned(), (*version).to_owned()))
            }
            _ => Err(Unroutable::NotSupported),
        }
    }

    /// The data store a path names.
    pub(super) fn datastore(path: &str) -> Option<String> {
        match segments(path).as_slice() {
            [first, id, ..] if first == "datastore" => Some(id.clone()),
            _ => None,
        }
    }

    pub(super) fn kind(&self) -> Option<&str> {
        match self {
            Self::Base => Some("Bundle"),
            Self::Metadata => None,
            Self::Type(kind) | Self::Search(kind) | Self::TypeHistory(kind) => Some(kind),
            Self::Instance(kind, _) | Self::History(kind, _) | Self::Version(kind, ..) => Some(kind),
        }
    }

    pub(super) fn key(&self) -> Option<String> {
        match self {
            Self::Instance(kind, id) | Self::History(kind, id) | Self::Version(kind, id, _) => {
                Some(format!("{kind}/{id}"))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_read_with_and_without_a_prefix() {
        let instance = Target::Instance("Patient".into(), "a".into());
        assert_eq!(Target::of("/datastore/d/r4/Patient/a").as_ref(), Ok(&instance));
        assert_eq!(Target::of("/datastore/d/patientaccess/v2/r4/Patient/a").as_ref(), Ok(&instance));
        assert_eq!(Target::of("/datastore/d/elsewhere/v2/r4/Patient/a"), Err(Unroutable::NotHealthLake));
        assert_eq!(Target::of("/datastore/d/r4"), Ok(Target::Base));
        assert_eq!(Target::of("/datastore/d/r4/"), Ok(Target::Base));
        assert_eq!(Target::of("/datastore/d/r4/metadata"), Ok(Target::Metadata));
        assert_eq!(Target::of("/datastore/d/r4/Patient/_search"), Ok(Target::Search("Patient".into())));
        assert_eq!(Target::of("/datastore/d/r4/Patient123"), Err(Unroutable::BadType("Patient123".into())));
        assert_eq!(Target::of("/datastore/d/r4/Patient/a%20b"), Err(Unroutable::BadId("a b".into())));
        assert_eq!(Target::of("/datastore/d/r4/Patient/a/$everything"), Err(Unroutable::NotSupported));
        assert_eq!(Target::of("/datastore/d/r4/$export"), Err(Unroutable::NotSupported));
    }

    #[test]
    fn the_data_store_is_read_as_the_rest_is() {
        for path in ["/datastore/d/r4/Patient", "//datastore//d/r4", "/datastore/%64/r4"] {
            assert_eq!(Target::datastore(path).as_deref(), Some("d"), "{path}");
        }
        assert_eq!(Target::datastore("/elsewhere/d"), None);
    }

    #[test]
    fn an_etag_is_a_version_or_nothing() {
        assert_eq!(etag("W/\"12\""), Some(12));
        assert_eq!(etag("\"12\""), Some(12));
        assert_eq!(etag("W/\"twelve\""), None);
        assert_eq!(etag("*"), None);
    }
}
