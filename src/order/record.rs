//! What is remembered of one resource, whichever store keeps it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::Version;

/// Milliseconds since the epoch: a wall clock's, since replicas share what it writes.
pub type Millis = u64;

/// A length of time; the longest there is where it does not fit.
pub fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// HealthLake's own version of a resource, from its `ETag: W/"n"`. Each write makes a larger one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Etag(pub u64);

impl Etag {
    pub fn parse(header: &str) -> Option<Self> {
        header.trim().strip_prefix("W/")?.strip_prefix('"')?.strip_suffix('"')?.parse().ok().map(Self)
    }

    /// As `If-Match` wants it.
    pub fn header(self) -> String {
        format!("W/\"{}\"", self.0)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Record {
    /// The newest version that HealthLake took.
    pub forwarded: Option<Version>,
    /// Which versions have come, forwarded or not.
    pub seen: Seen,
    /// The last write that HealthLake took was a DELETE: `forwarded` is what it can have deleted at the most. Or
    /// `Tombstone::FILTERED`.
    pub deleted: Option<Tombstone>,
    /// HealthLake's version after the last write that it took; None where that is not known.
    pub etag: Option<Etag>,
    /// Writes whose outcome is unknown: they may have landed, or may land yet.
    pub pending: Vec<Pending>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tombstone {
    /// When the DELETE came: by our clock, since it carries no time of its own
    pub at: Millis,
}

impl Tombstone {
    /// No DELETE came. The CDR has `forwarded`, which the filter keeps out, and HealthLake was seen to have nothing.
    pub const FILTERED: Self = Self { at: 0 };
}

impl Record {
    /// Of a DELETE of the CDR's.
    pub fn tombstone(&self) -> Option<Tombstone> {
        self.deleted.filter(|tombstone| *tombstone != Tombstone::FILTERED)
    }

    pub fn is_filtered(&self) -> bool {
        self.deleted == Some(Tombstone::FILTERED)
    }
}

/// What a claimant means to write.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Write {
    /// What this version calls for: a PUT, or a DELETE where the filter keeps it out
    Upsert(Version),
    Delete,
    /// What the CDR will say: it was asked under the claim.
    Current,
}

/// A write that was sent, or may have been, and nobody heard what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Pending {
    pub write: Write,
    /// It was conditional on this: it can't land once HealthLake has a newer one.
    pub if_match: Option<Etag>,
    /// It can't land any more from here on.
    pub until: Millis,
}

/// Which whole-number versions have come, as far as 64 back. Where there is no gap behind the newest, no DELETE
/// can be on its way that belongs between them: deletes take a number too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Seen {
    newest: u64,
    /// Bit n: `newest - n` has come.
    bits: u64,
}

impl Seen {
    /// The newest version that has come, and bit n for `newest - n`: for stores.
    pub(super) fn parts(self) -> (u64, u64) {
        (self.newest, self.bits)
    }

    pub(super) fn from_parts(newest: u64, bits: u64) -> Self {
        Self { newest, bits }
    }

    pub fn add(&mut self, version: u64) {
        if version == 0 {
            return;
        }
        if version > self.newest {
            let shift = version - self.newest;
            self.bits = if shift < 64 { self.bits << shift } else { 0 } | 1;
            self.newest = version;
        } else if self.newest - version < 64 {
            self.bits |= 1 << (self.newest - version);
        }
    }

    /// Every version from the first to `version` has come, as far as 64 back, and none behind it.
    pub fn whole_up_to(&self, version: u64) -> bool {
        version != 0 && version == self.newest && u64::from(self.bits.trailing_ones()) >= version.min(64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn etags_are_healthlake_s_whole_numbers() {
        assert_eq!(Etag::parse("W/\"12\""), Some(Etag(12)));
        assert_eq!(Etag(12).header(), "W/\"12\"");
        for other in ["\"12\"", "W/\"a\"", "12", ""] {
            assert_eq!(Etag::parse(other), None, "{other}");
        }
    }

    #[test]
    fn a_gap_is_seen_until_it_is_filled() {
        let mut seen = Seen::default();
        assert!(!seen.whole_up_to(0));
        seen.add(1);
        assert!(seen.whole_up_to(1));
        seen.add(3);
        assert!(!seen.whole_up_to(3));
        seen.add(2);
        assert!(seen.whole_up_to(3) && !seen.whole_up_to(2));
        for version in 4..=200 {
            seen.add(version);
            assert!(seen.whole_up_to(version), "{version}");
        }
        seen.add(300);
        assert!(!seen.whole_up_to(300));
    }

    #[test]
    fn what_started_late_is_not_whole() {
        let mut seen = Seen::default();
        seen.add(5);
        assert!(!seen.whole_up_to(5));
    }
}
