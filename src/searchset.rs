//! What is read of a search's Bundle, and of a resource without reading it whole: borrowed from the answer, each
//! resource as it stands there.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Searchset<'a> {
    #[serde(borrow)]
    pub resource_type: Option<Cow<'a, str>>,
    /// How many match in all, where the server says so
    pub total: Option<u64>,
    #[serde(default)]
    link: Vec<Link>,
    #[serde(borrow, default)]
    pub entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Link {
    #[serde(default)]
    relation: String,
    #[serde(default)]
    url: String,
}

#[derive(Deserialize)]
pub struct Entry<'a> {
    #[serde(borrow)]
    pub resource: Option<&'a RawValue>,
    search: Option<Search>,
}

#[derive(Deserialize)]
struct Search {
    mode: Option<String>,
}

impl Searchset<'_> {
    /// `self`, `next` and the like
    pub fn link(&self, relation: &str) -> Option<&str> {
        self.link.iter().find(|link| link.relation == relation).map(|link| link.url.as_str())
    }
}

impl Entry<'_> {
    /// Not included, and no OperationOutcome about the search
    pub fn is_match(&self) -> bool {
        let mode = self.search.as_ref().and_then(|search| search.mode.as_deref());
        matches!(mode, None | Some("match"))
    }
}

/// What names a resource and its version; empty where it is not said.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Head<'a> {
    #[serde(borrow)]
    pub resource_type: Cow<'a, str>,
    #[serde(borrow)]
    pub id: Cow<'a, str>,
    #[serde(borrow)]
    pub meta: Meta<'a>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Meta<'a> {
    #[serde(borrow)]
    pub version_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub last_updated: Option<Cow<'a, str>>,
}

impl<'a> Head<'a> {
    /// Of a resource in JSON; nothing of what is none.
    pub fn of(json: &'a [u8]) -> Self {
        serde_json::from_slice(json).unwrap_or_default()
    }
}
