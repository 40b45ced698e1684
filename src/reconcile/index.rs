//! What both sides had when they were last looked at, on disk: by key for the merge, by time for counts of windows,
//! and the keys that differ. In a redb file, whose pages in memory are bounded: a sweep takes the same memory
//! whatever the size of the store.
//!
//! The file is a cache of what the servers said. If it is lost, the next sweep reads everything again.

mod encoding;
mod listing;
mod merge;
mod runs;
mod suspects;

use std::path::Path;

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition,
    WriteTransaction,
};

use super::side::{At, Held, Window};
use crate::delivery::Key;

use encoding::{key, pack, suspect, time_bounds, time_key, time_of, unpack};
pub use listing::Listing;

/// redb's own pages in memory (bytes). Lists are written in the order of keys and read in it, so that more would not
/// be faster.
const PAGE_CACHE: usize = 8 << 20;
/// Raised when what is stored changes its meaning: an older file is begun anew.
const FORMAT: &str = "2";

type Bytes = TableDefinition<'static, &'static [u8], &'static [u8]>;
type Marks = TableDefinition<'static, &'static [u8], ()>;

const HELD: [Bytes; 2] = [TableDefinition::new("cdr"), TableDefinition::new("healthlake")];
const BY_TIME: [Marks; 2] = [TableDefinition::new("cdr-by-time"), TableDefinition::new("healthlake-by-time")];
const DIFFERENT: Bytes = TableDefinition::new("different");
/// Suspects that this run told of already
const TOLD: Marks = TableDefinition::new("told");
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

/// What takes a while on the disk does not hold up the deliveries of a running instance.
fn on_disk<T>(work: impl FnOnce() -> T) -> T {
    use tokio::runtime::{Handle, RuntimeFlavor};
    match Handle::try_current().map(|handle| handle.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
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
            for table in BY_TIME.into_iter().chain([TOLD]) {
                transaction.open_table(table)?;
            }
            transaction.open_table(META)?.insert("of", name.as_bytes())?;
            Ok(())
        })?;
        Ok(index)
    }

    fn forget_everything(&self) -> Result<()> {
        self.write(Durability::Immediate, |transaction| {
            let tables: Vec<_> = transaction.list_tables()?.collect();
            for table in tables {
                transaction.delete_table(table)?;
            }
            Ok(())
        })
    }

    fn write<T>(
        &self,
        durability: Durability,
        work: impl FnOnce(&WriteTransaction) -> Result<T>,
    ) -> Result<T> {
        on_disk(|| self.commit(durability, work))
    }

    fn commit<T>(
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

    /// A page of a list of what changed; whole lists go through a `Listing`. With `mark` those that differ from the
    /// other side become suspects, and those that are equal are none any more; without, `compare` will tell.
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
                if theirs.and_then(|theirs| theirs.held.expected()) == version.expected() {
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

    /// Resources of the type that were last updated in the window.
    pub fn count(&self, which: Which, kind: &str, window: Window) -> Result<u64> {
        let table = self.database.begin_read()?.open_table(BY_TIME[which as usize])?;
        let (start, end) = time_bounds(kind, window);
        on_disk(|| {
            let mut count = 0;
            for entry in table.range(start.as_slice()..end.as_slice())? {
                entry?;
                count += 1;
            }
            Ok(count)
        })
    }

    /// A time that parts the window's `known` resources into halves, where one parts them at all.
    pub fn median(&self, which: Which, kind: &str, window: Window, known: u64) -> Result<Option<At>> {
        let table = self.database.begin_read()?.open_table(BY_TIME[which as usize])?;
        let (start, end) = time_bounds(kind, window);
        on_disk(|| {
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
        })
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
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
