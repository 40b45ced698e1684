//! What may be mirrored, by resource type and by security label. A rule that denies wins over one that allows. What is
//! kept out is never silent: it has a verdict of its own, is logged and counted.
//!
//! Labels are those of the resource's own `meta.security`; what a label means, and which imply which, is the CDR's to
//! say. Labels that can't be read count as denied: nothing gets through by being malformed.

mod label;

use std::borrow::Cow;

use serde::Deserialize;

use crate::delivery::{Addressed, Key, Version};
pub use label::{Coding, Label};

/// The rule that keeps a resource out, named as its setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Not among the types that are mirrored
    Types,
    DenyTypes,
    /// None of its labels is among those of which one is needed.
    SecurityLabels,
    DenySecurityLabels,
}

impl Rule {
    pub const ALL: [Self; 4] = [Self::Types, Self::DenyTypes, Self::SecurityLabels, Self::DenySecurityLabels];

    /// The setting's name without `filter-`, in answers, logs and metrics
    pub fn name(self) -> &'static str {
        match self {
            Self::Types => "types",
            Self::DenyTypes => "deny-types",
            Self::SecurityLabels => "security-labels",
            Self::DenySecurityLabels => "deny-security-labels",
        }
    }

    pub fn is_by_type(self) -> bool {
        matches!(self, Self::Types | Self::DenyTypes)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Mirrored types; none given: all
    pub types: Vec<String>,
    pub deny_types: Vec<String>,
    /// One of these is needed; none given: none is.
    pub labels: Vec<Label>,
    pub deny_labels: Vec<Label>,
}

/// What the filter says of a resource in FHIR JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judged {
    Passes,
    Filtered {
        rule: Rule,
        key: Key,
        version: Version,
    },
    /// A Binary as the bytes that it holds: its labels stay at the CDR.
    Unlabelled {
        rule: Rule,
        key: Key,
    },
    /// It can't be read, or URL and body disagree: validation says what is wrong. Where that lets it pass, it is kept
    /// out by this rule, if by any.
    Unreadable(Option<Rule>),
}

/// The top of a resource: a member that comes twice makes it unreadable.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head<'a> {
    #[serde(borrow)]
    resource_type: Cow<'a, str>,
    #[serde(borrow, default)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    meta: Option<Meta<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta<'a> {
    #[serde(borrow)]
    version_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    last_updated: Option<Cow<'a, str>>,
    #[serde(borrow)]
    security: Option<Vec<Coding<'a>>>,
}

impl Filter {
    /// Whether nothing is kept out at all.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Labels can only be told from a resource's content.
    pub fn reads_labels(&self) -> bool {
        !(self.labels.is_empty() && self.deny_labels.is_empty())
    }

    pub fn by_type(&self, resource_type: &str) -> Option<Rule> {
        if self.deny_types.iter().any(|denied| denied == resource_type) {
            return Some(Rule::DenyTypes);
        }
        let allowed = self.types.is_empty() || self.types.iter().any(|allowed| allowed == resource_type);
        (!allowed).then_some(Rule::Types)
    }

    fn by_labels(&self, security: &[Coding<'_>]) -> Option<Rule> {
        let any = |labels: &[Label]| labels.iter().any(|label| security.iter().any(|c| label.matches(c)));
        if any(&self.deny_labels) {
            return Some(Rule::DenySecurityLabels);
        }
        (!self.labels.is_empty() && !any(&self.labels)).then_some(Rule::SecurityLabels)
    }

    /// The rule that holds where labels can't be told.
    fn without_labels(&self) -> Option<Rule> {
        if !self.deny_labels.is_empty() {
            return Some(Rule::DenySecurityLabels);
        }
        (!self.labels.is_empty()).then_some(Rule::SecurityLabels)
    }

    /// `addressed`: what the URL says, which the body has to agree with.
    pub fn judge(&self, addressed: &Addressed, json: &[u8]) -> Judged {
        if self.is_empty() {
            return Judged::Passes;
        }
        let stated = addressed.resource_type.as_deref();
        let by_type = stated.and_then(|resource_type| self.by_type(resource_type));
        if stated.is_some() && by_type.is_none() && !self.reads_labels() {
            return Judged::Passes;
        }
        let Some((key, version, meta)) = read(addressed, json) else {
            // Of a type that the URL names and that is kept out, nothing more has to be known.
            return match (by_type, addressed.key()) {
                (Some(rule), Some(key)) => Judged::Filtered { rule, key, version: Version::default() },
                _ => Judged::Unreadable(by_type.or(self.without_labels())),
            };
        };
        if let Some(rule) = self.by_type(key.resource_type()) {
            return Judged::Filtered { rule, key, version };
        }
        // From raw bytes: a version of `If-Match` at most, while a server's own JSON says when it was updated.
        if let Some(rule) = self.without_labels()
            && key.resource_type() == "Binary"
            && version.last_updated.is_none()
        {
            return Judged::Unlabelled { rule, key };
        }
        match self.by_labels(meta.security.as_deref().unwrap_or_default()) {
            Some(rule) => Judged::Filtered { rule, key, version },
            None => Judged::Passes,
        }
    }

    /// Of what the CDR itself gave: what can't be read or told is kept out.
    pub fn keeps_out(&self, json: &[u8]) -> Option<Rule> {
        match self.judge(&Addressed::default(), json) {
            Judged::Passes => None,
            Judged::Filtered { rule, .. } => Some(rule),
            // The CDR's own JSON has its labels, whether or not it has a version.
            Judged::Unlabelled { key, .. } => {
                let (_, _, meta) = read(&Addressed::to(&key), json)?;
                self.by_labels(meta.security.as_deref().unwrap_or_default())
            }
            Judged::Unreadable(rule) => rule,
        }
    }

    /// The rules in the order of `Rule::ALL`, as they were set; empty ones are left out.
    pub fn rules(&self) -> Vec<(Rule, Vec<String>)> {
        let labels = |labels: &[Label]| labels.iter().map(Label::to_string).collect::<Vec<_>>();
        let rules = [
            (Rule::Types, self.types.clone()),
            (Rule::DenyTypes, self.deny_types.clone()),
            (Rule::SecurityLabels, labels(&self.labels)),
            (Rule::DenySecurityLabels, labels(&self.deny_labels)),
        ];
        rules.into_iter().filter(|(_, values)| !values.is_empty()).collect()
    }
}

/// None: it can't be read, or disagrees with its URL.
fn read<'a>(addressed: &Addressed, json: &'a [u8]) -> Option<(Key, Version, Meta<'a>)> {
    let Head { resource_type, id, meta } = serde_json::from_slice(json).ok()?;
    let agrees =
        |stated: &Option<Box<str>>, found: &str| stated.as_deref().is_none_or(|stated| stated == found);
    let id = id?;
    if !agrees(&addressed.resource_type, &resource_type) || !agrees(&addressed.id, &id) {
        return None;
    }
    let meta = meta.unwrap_or_default();
    let version = Version::new(meta.version_id.as_deref(), meta.last_updated.as_deref());
    Some((Key::new(&resource_type, &id).ok()?, version, meta))
}

#[cfg(test)]
mod tests;
