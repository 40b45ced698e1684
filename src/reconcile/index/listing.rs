//! What a list brings, on its way into the index. Lists come in orders of their own: HAPI's by time, HealthLake's by
//! id, an export's as it likes. A B-tree that is filled out of its order rewrites a page for nearly every key once it
//! outgrows its cache. So entries are gathered, sorted, and written as runs, each one behind the last; `runs` merges
//! them.

use redb::{Durability, ReadableTable, Table, TableDefinition, TableHandle};

use super::encoding::{key, pack};
use super::{Index, META, Result, Which, on_disk};
use crate::reconcile::side::{At, Held};

/// Entries of a run, held in memory until it is written: about 6 MB.
const RUN: usize = 32_768;

/// Keys begin with the run's number. By side and type.
pub(super) type Runs<'a> = TableDefinition<'a, &'static [u8], &'static [u8]>;

pub(super) fn listed(which: Which, kind: &str) -> String {
    format!("listed {} {kind}", which.name())
}

pub(super) fn run_key(run: u32, rest: &[u8]) -> Vec<u8> {
    [&run.to_be_bytes()[..], rest].concat()
}

/// A key's run, and the rest of it.
pub(super) fn split(key: &[u8]) -> Option<(u32, &[u8])> {
    let (run, rest) = key.split_first_chunk()?;
    Some((u32::from_be_bytes(*run), rest))
}

/// Of what was written already, so that a run is an append.
pub(super) fn next_run(table: &Table<'_, &'static [u8], &'static [u8]>) -> Result<u32> {
    let last = table.last()?;
    Ok(last.and_then(|(key, _)| split(key.value()).map(|(run, _)| run + 1)).unwrap_or(0))
}

/// A list under way. What was gathered is written when it is dropped too, so that an interrupted run goes on behind
/// it.
pub struct Listing<'a> {
    index: &'a Index,
    which: Which,
    sweep: u32,
    /// Keys and values as the index has them
    entries: Vec<(Vec<u8>, Vec<u8>)>,
    /// The name under which it is kept where the list goes on, and where that is
    goes_on: Option<(String, Option<String>)>,
}

impl Index {
    pub fn listing(&self, which: Which, sweep: u32) -> Listing<'_> {
        Listing { index: self, which, sweep, entries: Vec::new(), goes_on: None }
    }

    /// What was listed of a type, or of all, and not taken in yet.
    pub fn forget_listed(&self, which: Which, kind: Option<&str>) -> Result<()> {
        let name = listed(which, kind.unwrap_or_default());
        self.write(Durability::None, |transaction| {
            let tables: Vec<_> = transaction.list_tables()?.collect();
            let is = |found: &str| if kind.is_some() { found == name } else { found.starts_with(&name) };
            for table in tables.into_iter().filter(|table| is(table.name())) {
                transaction.delete_table(table)?;
            }
            Ok(())
        })
    }
}

impl Listing<'_> {
    pub fn add(&mut self, kind: &str, id: &str, held: &Held, seen: At) {
        self.entries.push((key(kind, id), pack(held, seen, self.sweep)));
    }

    /// What was added so far may be written; with the name of a text and the text that says where the list goes on
    /// behind it.
    pub fn page(&mut self, goes_on: Option<(&str, Option<String>)>) -> Result<()> {
        if let Some((name, place)) = goes_on {
            self.goes_on = Some((name.to_owned(), place));
        }
        if self.entries.len() < RUN { Ok(()) } else { on_disk(|| self.write()) }
    }

    /// All of it is on disk.
    pub fn end(mut self) -> Result<()> {
        on_disk(|| self.write())
    }

    fn write(&mut self) -> Result<()> {
        let (mut entries, goes_on) = (std::mem::take(&mut self.entries), self.goes_on.take());
        if entries.is_empty() && goes_on.is_none() {
            return Ok(());
        }
        // Of entries with one key the last one counts: it stays behind the others, and is written over them.
        entries.sort_by(|(one, _), (other, _)| one.cmp(other));
        let kind = |key: &[u8]| key.iter().position(|byte| *byte == 0).unwrap_or(key.len());
        // Not by `write`: a runtime that ends may be what drops a listing.
        self.index.commit(Durability::Immediate, |transaction| {
            for of_kind in entries.chunk_by(|(one, _), (other, _)| one[..kind(one)] == other[..kind(other)]) {
                let Some((first, _)) = of_kind.first() else { continue };
                let length = kind(first);
                let name = listed(self.which, &String::from_utf8_lossy(&first[..length]));
                let mut table = transaction.open_table(Runs::new(&name))?;
                let run = next_run(&table)?;
                for (key, value) in of_kind {
                    table.insert(run_key(run, &key[length + 1..]).as_slice(), value.as_slice())?;
                }
            }
            if let Some((name, place)) = &goes_on {
                let mut table = transaction.open_table(META)?;
                match place {
                    Some(place) => table.insert(name.as_str(), place.as_bytes())?,
                    None => table.remove(name.as_str())?,
                };
            }
            Ok(())
        })
    }
}

impl Drop for Listing<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking()
            && let Err(error) = self.write()
        {
            tracing::warn!(%error, "what was listed last is listed again by the next run");
        }
    }
}
