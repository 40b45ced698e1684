//! What both sides had when they were last looked at, on disk: by key for the merge, by time for counts of windows,
//! and the keys that differ. In a redb file, whose pages in memory are bounded: a sweep takes the same memory
//! whatever the size of the store.
//!
//! The file is a cache of what the servers said. If it is lost, the next sweep reads everything again.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::canonical::Digest;
use super::side::{At, Held, Window};
use crate::delivery::Key;

/// redb's own pages in memory (bytes).
const PAGE_CACHE: usize = 48 << 20;
/// Raised when what is stored changes its meaning: an older file is begun anew.
const FORMAT: &str = "1";

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Marks = TableDefinition<'static, &'static [u8], ()>;

const HELD: [Bytes; 2] = [TableDefinition::new("cdr"), TableDefinition::new("healthlake")];
const BY_TIME: [Marks; 2] = [TableDefinition::new("cdr-by-time"), TableDefinition::new("healthlake-by-time")];
const DIFFERENT: Bytes = TableDefinition::new("different");
const META: TableDefinition<'static, &'static str, &'static [u8]> = TableDefinition::new("meta");

/// Which of the two servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Cdr,
    HealthLake,
}

impl Which {
    pub const BOTH: [Self; 2] = [Self::Cdr, Self::HealthLake];

    pub fn name(self) -> &'static str {
        match self {
            Self::Cdr => "cdr",
            Self::HealthLake => "healthlake",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::Cdr => Self::HealthLake,
            Self::HealthLake => Self::Cdr,
        }
    }
}

/// A version, and when it was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    pub held: Held,
    /// By our clock
    pub seen: At,
    /// Of the sweep of everything that saw it last
    pub sweep: u32,
}

/// A key that differs, or may.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Suspect {
    /// When it was first found to differ
    pub since: At,
    /// The CDR's state at an earlier look
    pub look: Option<Look>,
    /// Repaired in this state before, and it did not help: digests of both sides in hex
    pub tried: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Look {
    pub at: At,
    /// `meta.versionId`; None: the CDR did not have it, or numbers no versions.
    pub version: Option<String>,
    /// HealthLake's, which tells more where there is none of the CDR's
    pub healthlake: Option<String>,
}

#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    #[error("another process has the state of reconcile open: a running instance, or another run")]
    Locked,
    #[error("the state of reconcile on disk: {0}; it can be deleted, the next run reads everything again")]
    Disk(String),
}

impl<E: Into<redb::Error>> From<E> for IndexError {
    fn from(error: E) -> Self {
        Self::Disk(error.into().to_string())
    }
}

type Result<T> = std::result::Result<T, IndexError>;

pub struct Index {
    database: Database,
}

impl Index {
    /// Opened for this process alone, or made; `of` names the two servers: what was seen of others is forgotten.
    pub fn open(path: &Path, of: &str) -> Result<Self> {
        let open = || Database::builder().set_cache_size(PAGE_CACHE).create(path);
        let database = match open() {
            Ok(database) => database,
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => {
                return Err(IndexError::Locked);
            }
            Err(_) => {
                let _ = std::fs::remove_file(path);
                open()?
            }
        };
        let index = Self { database };
        let name = format!("{FORMAT} {of}");
        if index.text("of")?.is_some_and(|found| found != name) {
            index.forget_everything()?;
        }
        index.write(Durability::Immediate, |transaction| {
            for table in HELD.into_iter().chain([DIFFERENT]) {
                transaction.open_table(table)?;
            }
            for table in BY_TIME {
                transaction.open_table(table)?;
            }
            transaction.open_table(META)?.insert("of", name.as_bytes())?;
            Ok(())
        })?;
        Ok(index)
    }

    fn forget_everything(&self) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            for table in HELD.into_iter().chain([DIFFERENT]) {
                transaction.delete_table(table)?;
            }
            for table in BY_TIME {
                transaction.delete_table(table)?;
            }
            transaction.delete_table(META)?;
            Ok(())
        })
    }

    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T>,
    ) -> Result<T> {
        let mut transaction = self.database.begin_write()?;
        transaction.set_durability(durability)?;
        let outcome = work(&transaction)?;
        transaction.commit()?;
        Ok(outcome)
    }

    /// What was written so far survives the process.
    pub fn keep(&self) -> Result<()> {
        self.write(Durability::Immediate, |_| Ok(()))
    }

    pub fn text(&self, name: &str) -> Result<Option<String>> {
        let transaction = self.database.begin_read()?;
        let table = match transaction.open_table(META) {
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            table => table?,
        };
        Ok(table.get(name)?.map(|value| String::from_utf8_lossy(value.value()).into_owned()))
    }

    pub fn set_text(&self, name: &str, value: Option<&str>) -> Result<()> {
        self.write(Durability::None, |transaction| {
            let mut table = transaction.open_table(META)?;
            match value {
                Some(value) => table.insert(name, value.as_bytes())?,
                None => table.remove(name)?,
            };
            Ok(())
        })
    }

    /// A page of a list. With `mark` those that differ from the other side become suspects, and those that are equal
    /// are none any more; without, `compare` will tell.
    pub fn add(
        &self,
        which: Which,
        kind: &str,
        page: &[(String, Held)],
        seen: At,
        sweep: u32,
        mark: bool,
    ) -> Result<()> {
        self.write(Durability::None, |transaction| {
            let mut held = transaction.open_table(HELD[which as usize])?;
            let mut times = transaction.open_table(BY_TIME[which as usize])?;
            let other = transaction.open_table(HELD[which.other() as usize])?;
            let mut different = transaction.open_table(DIFFERENT)?;
            for (id, version) in page {
                let key = key(kind, id);
                let before = held.get(key.as_slice())?.and_then(|value| unpack(value.value()));
                if let Some(before) = &before
                    && before.held.updated != version.updated
                {
                    times.remove(time_key(kind, before.held.updated, id).as_slice())?;
                }
                times.insert(time_key(kind, version.updated, id).as_slice(), ())?;
                // The same version was there since it was first seen.
                let seen = match &before {
                    Some(before) if before.held == *version => before.seen,
                    _ => seen,
                };
                held.insert(key.as_slice(), pack(version, seen, sweep).as_slice())?;
                if !mark {
                    continue;
                }
                let theirs = other.get(key.as_slice())?.and_then(|value| unpack(value.value()));
                if theirs.is_some_and(|theirs| theirs.held.digest == version.digest) {
                    different.remove(key.as_slice())?;
                } else if different.get(key.as_slice())?.is_none() {
                    different.insert(
                        key.as_slice(),
                        suspect(&Suspect { since: seen, ..Suspect::default() }).as_slice(),
                    )?;
                }
            }
            Ok(())
        })
    }

    /// What a read found.
    pub fn set(&self, which: Which, at: &Key, found: Option<&Held>, seen: At, sweep: u32) -> Result<()> {
        if let Some(found) = found {
            let page = [(at.id().to_owned(), found.clone())];
            return self.add(which, at.resource_type(), &page, seen, sweep, false);
        }
        self.write(Durability::None, |transaction| {
            let mut held = transaction.open_table(HELD[which as usize])?;
            let key = key(at.resource_type(), at.id());
            let before = held.remove(key.as_slice())?.and_then(|value| unpack(value.value()));
            if let Some(before) = before {
                let mut times = transaction.open_table(BY_TIME[which as usize])?;
                times.remove(time_key(at.resource_type(), before.held.updated, at.id()).as_slice())?;
            }
            Ok(())
        })
    }

    pub fn get(&self, which: Which, at: &Key) -> Result<Option<Known>> {
        let table = self.database.begin_read()?.open_table(HELD[which as usize])?;
        let found = table.get(key(at.resource_type(), at.id()).as_slice())?;
        Ok(found.and_then(|value| unpack(value.value())))
    }

    /// Merges both sides of a type in the order of their ids. What one side lacks, what `sweep` did not see, and what
    /// has another digest becomes a suspect; what is equal is none any more. Gives how many were compared and how many
    /// are suspects.
    pub fn compare(&self, kind: &str, sweep: u32, now: At) -> Result<(u64, u64)> {
        let (mut compared, mut suspects) = (0, 0);
        let mut from: Option<Vec<u8>> = None;
        loop {
            let (batch, last) = self.compare_from(kind, sweep, from.as_deref())?;
            compared += batch.len() as u64;
            self.write(Durability::None, |transaction| {
                let mut different = transaction.open_table(DIFFERENT)?;
                for Compared { key, equal, unseen } in &batch {
                    // What this sweep did not see is not there any more, or so it seems.
                    for (which, updated) in Which::BOTH.into_iter().zip(unseen) {
                        let Some(updated) = updated else { continue };
                        let id = String::from_utf8_lossy(key.get(kind.len() + 1..).unwrap_or_default());
                        transaction.open_table(HELD[which as usize])?.remove(key.as_slice())?;
                        let time = time_key(kind, *updated, &id);
                        transaction.open_table(BY_TIME[which as usize])?.remove(time.as_slice())?;
                    }
                    if *equal {
                        different.remove(key.as_slice())?;
                        continue;
                    }
                    suspects += 1;
                    if different.get(key.as_slice())?.is_none() {
                        let new = Suspect { since: now, ..Suspect::default() };
                        different.insert(key.as_slice(), suspect(&new).as_slice())?;
                    }
                }
                Ok(())
            })?;
            match last {
                Some(last) => from = Some(last),
                None => return Ok((compared, suspects)),
            }
        }
    }

    /// At most so many keys behind `from`, in the order of the merge, and the last one where there are more.
    fn compare_from(
        &self,
        kind: &str,
        sweep: u32,
        from: Option<&[u8]>,
    ) -> Result<(Vec<Compared>, Option<Vec<u8>>)> {
        const BATCH: usize = 4096;
        let transaction = self.database.begin_read()?;
        let (start, end) = (key(kind, ""), after_kind(kind));
        let bounds = (
            from.map_or(Bound::Included(start.as_slice()), Bound::Excluded),
            Bound::Excluded(end.as_slice()),
        );
        let [cdr, healthlake] = HELD;
        let (cdr, healthlake) = (transaction.open_table(cdr)?, transaction.open_table(healthlake)?);
        let (mut ours, mut theirs) = (cdr.range::<&[u8]>(bounds)?, healthlake.range::<&[u8]>(bounds)?);
        let (mut a, mut b) = (entry(ours.next())?, entry(theirs.next())?);
        let mut batch = Vec::new();
        while a.is_some() || b.is_some() {
            if batch.len() == BATCH {
                let last = batch.last().map(|last: &Compared| last.key.clone());
                return Ok((batch, last));
            }
            let order = match (&a, &b) {
                (Some((x, _)), Some((y, _))) => x.cmp(y),
                (Some(_), None) => std::cmp::Ordering::Less,
                _ => std::cmp::Ordering::Greater,
            };
            let x = if order.is_le() { std::mem::replace(&mut a, entry(ours.next())?) } else { None };
            let y = if order.is_ge() { std::mem::replace(&mut b, entry(theirs.next())?) } else { None };
            let here = |found: &Option<(Vec<u8>, Known)>| {
                found.as_ref().filter(|(_, known)| known.sweep >= sweep).map(|(_, known)| known.held.digest)
            };
            let unseen = |found: &Option<(Vec<u8>, Known)>| {
                found.as_ref().filter(|(_, known)| known.sweep < sweep).map(|(_, known)| known.held.updated)
            };
            let equal = here(&x) == here(&y) && here(&x).is_some();
            let unseen = [unseen(&x), unseen(&y)];
            if let Some((key, _)) = x.or(y) {
                batch.push(Compared { key, equal, unseen });
            }
        }
        Ok((batch, None))
    }

    /// Resources of the type that were last updated in the window.
    pub fn count(&self, which: Which, kind: &str, window: Window) -> Result<u64> {
        let table = self.database.begin_read()?.open_table(BY_TIME[which as usize])?;
        let (start, end) = time_bounds(kind, window);
        let mut count = 0;
        for entry in table.range(start.as_slice()..end.as_slice())? {
            entry?;
            count += 1;
        }
        Ok(count)
    }

    /// A time that parts the window's `known` resources into halves, where one parts them at all.
    pub fn median(&self, which: Which, kind: &str, window: Window, known: u64) -> Result<Option<At>> {
        let table = self.database.begin_read()?.open_table(BY_TIME[which as usize])?;
        let (start, end) = time_bounds(kind, window);
        let mut first = None;
        for (n, entry) in table.range(start.as_slice()..end.as_slice())?.enumerate() {
            let (key, _) = entry?;
            let at = time_of(kind, key.value());
            first = first.or(at);
            if n as u64 >= known / 2 && at > first {
                return Ok(at);
            }
        }
        Ok(None)
    }

    /// Ids of a window; for small ones.
    pub fn ids(&self, which: Which, kind: &str, window: Window) -> Result<Vec<String>> {
        let table = self.database.begin_read()?.open_table(BY_TIME[which as usize])?;
        let (start, end) = time_bounds(kind, window);
        let mut ids = Vec::new();
        for entry in table.range(start.as_slice()..end.as_slice())? {
            let (key, _) = entry?;
            let id = key.value().get(kind.len() + 9..).unwrap_or_default();
            ids.push(String::from_utf8_lossy(id).into_owned());
        }
        Ok(ids)
    }

    /// How many resources are known of a side.
    pub fn len(&self, which: Which) -> Result<u64> {
        Ok(self.database.begin_read()?.open_table(HELD[which as usize])?.len()?)
    }

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

/// A key of the merge.
struct Compared {
    key: Vec<u8>,
    equal: bool,
    /// When what the sweep did not see had been updated, of each side
    unseen: [Option<At>; 2],
}

/// An entry of a range, copied out of its page.
type Taken<'a> = Option<
    std::result::Result<
        (redb::AccessGuard<'a, &'static [u8]>, redb::AccessGuard<'a, &'static [u8]>),
        redb::StorageError,
    >,
>;

fn entry(entry: Taken<'_>) -> Result<Option<(Vec<u8>, Known)>> {
    let Some((key, value)) = entry.transpose()? else { return Ok(None) };
    let known = unpack(value.value()).ok_or_else(|| IndexError::Disk("an entry makes no sense".into()))?;
    Ok(Some((key.value().to_vec(), known)))
}

fn key(kind: &str, id: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", id.as_bytes()].concat()
}

/// Behind all keys of the type.
fn after_kind(kind: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\x01"].concat()
}

fn time_key(kind: &str, at: At, id: &str) -> Vec<u8> {
    [kind.as_bytes(), b"\0", &at.max(0).to_be_bytes(), id.as_bytes()].concat()
}

fn time_bounds(kind: &str, window: Window) -> (Vec<u8>, Vec<u8>) {
    let end = window.to.map_or_else(|| after_kind(kind), |to| time_key(kind, to, ""));
    (time_key(kind, window.from.unwrap_or(0), ""), end)
}

fn time_of(kind: &str, key: &[u8]) -> Option<At> {
    let bytes = key.get(kind.len() + 1..kind.len() + 9)?;
    Some(At::from_be_bytes(bytes.try_into().ok()?))
}

fn pack(held: &Held, seen: At, sweep: u32) -> Vec<u8> {
    let Held { version, updated, digest } = held;
    [&sweep.to_le_bytes()[..], &seen.to_le_bytes(), &updated.to_le_bytes(), &digest.0, version.as_bytes()]
        .concat()
}

fn unpack(bytes: &[u8]) -> Option<Known> {
    let (sweep, rest) = bytes.split_first_chunk()?;
    let (seen, rest) = rest.split_first_chunk()?;
    let (updated, rest) = rest.split_first_chunk()?;
    let (digest, version) = rest.split_first_chunk()?;
    let held = Held {
        version: String::from_utf8_lossy(version).into_owned(),
        updated: At::from_le_bytes(*updated),
        digest: Digest(*digest),
    };
    Some(Known { held, seen: At::from_le_bytes(*seen), sweep: u32::from_le_bytes(*sweep) })
}

fn suspect(suspect: &Suspect) -> Vec<u8> {
    serde_json::to_vec(suspect).unwrap_or_default()
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
