//! The keys that differ, or may.

use std::collections::BTreeMap;
use std::ops::Bound;

use redb::{Durability, ReadableDatabase, ReadableTable};

use super::encoding::{key, suspect};
use super::{DIFFERENT, Index, Result, Suspect, TOLD};
use crate::delivery::Key;
use crate::reconcile::side::At;

impl Index {
    /// Suspects behind `from`, in the order of their keys, at most `most`.
    pub fn suspects(&self, from: Option<&Key>, most: usize) -> Result<Vec<(Key, Suspect)>> {
        let table = self.database.begin_read()?.open_table(DIFFERENT)?;
        let from = from.map(|from| key(from.resource_type(), from.id()));
        let start = from.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = Vec::new();
        for entry in table.range::<&[u8]>((start, Bound::Unbounded))?.take(most) {
            let (key, value) = entry?;
            let text = String::from_utf8_lossy(key.value()).replacen('\0', "/", 1);
            if let (Ok(key), Ok(suspect)) = (Key::parse(&text), serde_json::from_slice(value.value())) {
                found.push((key, suspect));
            }
        }
        Ok(found)
    }

    /// Makes it one, unless it is one already.
    pub fn suspect(&self, at: &Key, new: &Suspect) -> Result<()> {
        self.write(Durability::None, |transaction| {
            let mut table = transaction.open_table(DIFFERENT)?;
            let key = key(at.resource_type(), at.id());
            if table.get(key.as_slice())?.is_none() {
                table.insert(key.as_slice(), suspect(new).as_slice())?;
            }
            Ok(())
        })
    }

    pub fn set_suspect(&self, at: &Key, state: Option<&Suspect>) -> Result<()> {
        self.write(Durability::None, |transaction| {
            let mut table = transaction.open_table(DIFFERENT)?;
            let key = key(at.resource_type(), at.id());
            match state {
                Some(state) => table.insert(key.as_slice(), suspect(state).as_slice())?,
                None => table.remove(key.as_slice())?,
            };
            Ok(())
        })
    }

    /// No suspect was told of yet.
    pub fn begin_to_tell(&self) -> Result<()> {
        self.write(Durability::None, |transaction| {
            transaction.delete_table(TOLD)?;
            transaction.open_table(TOLD)?;
            Ok(())
        })
    }

    /// These were told of.
    pub fn tell(&self, keys: &[Key]) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            let mut table = transaction.open_table(TOLD)?;
            for told in keys {
                table.insert(key(told.resource_type(), told.id()).as_slice(), ())?;
            }
            Ok(())
        })
    }

    pub fn is_told(&self, of: &Key) -> Result<bool> {
        let table = self.database.begin_read()?.open_table(TOLD)?;
        Ok(table.get(key(of.resource_type(), of.id()).as_slice())?.is_some())
    }

    /// Suspects by type, and since when the oldest one is.
    pub fn open_differences(&self) -> Result<(BTreeMap<String, u64>, Option<At>)> {
        let (mut by_type, mut oldest, mut from) = (BTreeMap::new(), None, None);
        loop {
            let batch = self.suspects(from.as_ref(), 1024)?;
            let Some((last, _)) = batch.last() else { return Ok((by_type, oldest)) };
            from = Some(last.clone());
            for (key, suspect) in batch {
                *by_type.entry(key.resource_type().to_owned()).or_default() += 1;
                oldest = Some(oldest.map_or(suspect.since, |at: At| at.min(suspect.since)));
            }
        }
    }
}
