//! Forgetting, a few resources with each transaction: a cursor walks the keys round and round.

use redb::{ReadableTable, ReadableTableMetadata, StorageError, Table};

use super::super::compact::{self, Standing};
use super::super::record::Millis;
use super::FileOptions;
use super::stored::split;

/// Looked at with each transaction: about a page.
const LOOK: usize = 32;

/// Looked at where there are too many, for each one that is too many,
const LOOK_EACH: u64 = 8;
/// up to here, so that a transaction stays short.
const LOOK_MOST: u64 = 512;

pub(super) struct Pruner {
    max_resources: u64,
    max_age: Millis,
    /// Where the next look begins
    cursor: String,
}

struct Candidate {
    key: String,
    standing: Standing,
    at: Millis,
}

impl Pruner {
    pub fn new(options: &FileOptions) -> Self {
        Self { max_resources: options.max_resources, max_age: options.max_age, cursor: String::new() }
    }

    /// Removes what is too old; and where there are too many, the oldest of a sample: those that can't matter
    /// any more before others, and never one that is claimed or that something can still land on.
    pub fn step(
        &mut self,
        records: &mut Table<&str, &[u8]>,
        now: Millis,
        claimed: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, StorageError> {
        let surplus = records.len()?.saturating_sub(self.max_resources);
        let look = (surplus * LOOK_EACH).min(LOOK_MOST) as usize;
        let mut candidates = self.look(records, look.max(LOOK), now)?;
        candidates.retain(|candidate| candidate.standing != Standing::Needed && !claimed(&candidate.key));
        candidates.sort_by_key(|candidate| (candidate.standing == Standing::Useful, candidate.at));
        // Of a sample no more than half, so that young ones rarely go with it.
        let most = usize::try_from(surplus).unwrap_or(usize::MAX).min(candidates.len().div_ceil(2));
        let mut removed = Vec::new();
        for (place, Candidate { key, at, .. }) in candidates.into_iter().enumerate() {
            if place < most || at.saturating_add(self.max_age) < now {
                records.remove(key.as_str())?;
                removed.push(key);
            }
        }
        Ok(removed)
    }

    fn look(
        &mut self,
        records: &Table<&str, &[u8]>,
        look: usize,
        now: Millis,
    ) -> Result<Vec<Candidate>, StorageError> {
        let mut candidates = Vec::with_capacity(look);
        let mut last = None;
        let mut left = look;
        for entry in records.range(self.cursor.as_str()..)?.take(look) {
            let (key, value) = entry?;
            let key = key.value();
            // What can't be read is left for the claim that meets it to tell.
            if let Some((_, at, record)) = split(value.value()) {
                let standing = compact::standing(record, now);
                candidates.push(Candidate { key: key.to_owned(), standing, at });
            }
            left -= 1;
            last = (left == 0).then(|| format!("{key}\0"));
        }
        // Past the end, from the beginning again.
        self.cursor = last.unwrap_or_default();
        Ok(candidates)
    }
}
