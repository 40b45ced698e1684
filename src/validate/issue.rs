//! What a refusal says. Nothing here ever holds a value of the payload: element names, types and rules only.

use std::borrow::Cow;

/// What the check learned about a resource that passed, as it stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facts<'a> {
    pub resource_type: Cow<'a, str>,
    pub id: Option<Cow<'a, str>>,
    pub version_id: Option<Cow<'a, str>>,
    pub last_updated: Option<Cow<'a, str>>,
}

impl Facts<'_> {
    pub fn into_owned(self) -> Facts<'static> {
        let owned = |fact: Cow<'_, str>| Cow::Owned(fact.into_owned());
        Facts {
            resource_type: owned(self.resource_type),
            id: self.id.map(owned),
            version_id: self.version_id.map(owned),
            last_updated: self.last_updated.map(owned),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issue {
    /// FHIR's IssueType: `structure`, `required`, `value`, `invariant`, `too-long`, `too-costly`, …
    pub code: &'static str,
    pub diagnostics: String,
    /// FHIRPath, such as `Patient.name[1].given[0]`.
    pub expression: Option<String>,
    /// Both from 1; the column counts characters.
    pub line: Option<u32>,
    pub column: Option<u32>,
}

/// Why a resource is not forwarded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// It does not parse at all (400); otherwise it parses and is not valid (422).
    pub malformed: bool,
    pub issues: Vec<Issue>,
}

impl Refusal {
    /// Lines and columns are those of JSON that the sender never saw: it has the paths to go by.
    pub fn without_places(mut self) -> Self {
        for issue in &mut self.issues {
            (issue.line, issue.column) = (None, None);
        }
        self
    }
}

/// More are not reported: the first ones tell what to mend.
pub(super) const ISSUE_LIMIT: usize = 20;

/// The longest part of an unknown name that is repeated to the sender.
const NAME_LIMIT: usize = 64;

/// An issue whose place is still a byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) at: usize,
    pub(super) code: &'static str,
    pub(super) text: String,
}

impl Fault {
    pub(super) fn new(at: usize, code: &'static str, text: impl Into<String>) -> Self {
        Fault { at, code, text: text.into() }
    }

    pub(super) fn too_deep(at: usize) -> Self {
        Fault::new(at, "too-costly", "nested more deeply than this server allows")
    }
}

/// An unknown name, fit to be repeated: short, and without what could garble a log.
pub(super) fn quotable(name: &[u8]) -> String {
    String::from_utf8_lossy(name).chars().filter(|c| !c.is_control()).take(NAME_LIMIT).collect()
}
