//! What stands in the file.

use redb::TableDefinition;

use super::super::compact;
use super::super::record::{Millis, Record};

/// `Type/id` → `Stored`
pub(super) const RECORDS: TableDefinition<&str, &[u8]> = TableDefinition::new("records");

/// What is known of the file as a whole: the names are below.
pub(super) const META: TableDefinition<&str, u64> = TableDefinition::new("lakehook-order");

pub(super) const FORMAT: &str = "format";
/// Counts the openings.
pub(super) const RUN: &str = "run";
/// 1 while nothing is in flight: from `close` to the next opening.
pub(super) const CLEAN: &str = "clean";
/// Records of earlier runs than this are suspect,
pub(super) const SUSPECT_RUN: &str = "suspect-run";
/// until then.
pub(super) const SUSPECT_UNTIL: &str = "suspect-until";

pub(super) const KNOWN_FORMAT: u64 = 1;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// In which it was settled
    pub run: u64,
    /// When: in the file to the second
    pub at: Millis,
    pub record: Record,
}

impl Stored {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64);
        compact::put(self.run, &mut out);
        compact::put(self.at / 1000, &mut out);
        compact::encode(&self.record, &mut out);
        out
    }

    pub fn decode(value: &[u8]) -> Option<Self> {
        let (run, at, record) = split(value)?;
        Some(Self { run, at, record: compact::decode(record)? })
    }
}

/// The run, the time, and the record's bytes.
pub(super) fn split(value: &[u8]) -> Option<(u64, Millis, &[u8])> {
    let mut rest = value;
    let run = compact::take_number(&mut rest)?;
    let at = compact::take_number(&mut rest)?.saturating_mul(1000);
    Some((run, at, rest))
}

/// After a crash: what may have been in flight, and until when that can land.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Suspicion {
    pub run: u64,
    pub until: Millis,
    /// After that, which versions landed is still not known, and older ones may be repeated (milliseconds).
    pub repeats: Millis,
}

impl Suspicion {
    /// A resource settled since then is known again; one that has no record never was.
    pub fn falls_on(self, run: Option<u64>, now: Millis) -> bool {
        self.until > 0
            && now < self.until.saturating_add(self.repeats)
            && run.is_none_or(|run| run < self.run)
    }

    pub fn until(self) -> Option<Millis> {
        (self.until > 0).then_some(self.until)
    }
}
