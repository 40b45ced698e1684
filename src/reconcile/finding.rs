//! What was found, without a word of a resource's content.

use serde::Serialize;

use super::side::At;
use crate::delivery::Key;

/// How the mirror differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// At the CDR, not at HealthLake
    Missing,
    /// At HealthLake, and not at the CDR, or kept out by the filter: its delete was lost, it was brought back by a late
    /// write, or somebody wrote it
    Extra,
    /// HealthLake has an older version of the CDR's
    Stale,
    /// HealthLake has a content that is none of the CDR's latest versions, written after the CDR's last update
    Altered,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Missing, Self::Extra, Self::Stale, Self::Altered];

    pub fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Stale => "stale",
            Self::Altered => "altered",
        }
    }
}

/// What became of it where it was to be repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Repair {
    /// Read back, and equal
    Repaired,
    /// Sent and taken, and still different: HealthLake changes it itself, or somebody else writes it
    Persisting,
    /// Refused for good: the finding's `verdict` says why
    Refused,
    /// Not settled; the next run tries again
    Unsettled,
}

/// One resource that differs.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    #[serde(serialize_with = "as_text")]
    pub key: Key,
    pub kind: Kind,
    /// `meta.versionId` at the CDR
    pub cdr_version: Option<String>,
    #[serde(serialize_with = "as_instant")]
    pub cdr_last_updated: Option<At>,
    /// HealthLake's own, which counts its writes
    pub healthlake_version: Option<String>,
    #[serde(serialize_with = "as_instant")]
    pub healthlake_last_updated: Option<At>,
    /// The CDR's version that HealthLake holds, where it is stale and that version was found
    pub holds_version: Option<u64>,
    /// When a sweep first found it to differ
    #[serde(serialize_with = "as_instant")]
    pub since: Option<At>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repair: Option<Repair>,
    /// Of the repair's delivery: `Verdict::name`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<String>,
}

impl Finding {
    /// When it came to differ, as far as the servers tell.
    pub fn at(&self) -> Option<At> {
        match self.kind {
            Kind::Missing | Kind::Stale => self.cdr_last_updated,
            Kind::Extra | Kind::Altered => self.healthlake_last_updated,
        }
        .filter(|at| *at > 0)
    }
}

fn as_text<S: serde::Serializer>(key: &Key, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(key)
}

pub(super) fn as_instant<S: serde::Serializer>(at: &Option<At>, serializer: S) -> Result<S::Ok, S::Error> {
    let at = at.filter(|at| *at > 0).and_then(|at| jiff::Timestamp::from_millisecond(at).ok());
    match at {
        Some(at) => serializer.collect_str(&at),
        None => serializer.serialize_none(),
    }
}
