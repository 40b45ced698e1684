//! What deliveries and the writing thread share: claims and cache in shards, and the database.

use std::fmt::Display;
use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use redb::{Database, ReadableDatabase};

use super::super::claims::Claims;
use super::super::compact::Standing;
use super::super::recent::Recent;
use super::super::record::{Millis, Pending, Record, Write};
use super::super::store::{Claimed, StoreError};
use super::FileOptions;
use super::open::Opened;
use super::stored::{RECORDS, Stored, Suspicion};

const SHARDS: usize = 16;

pub(super) struct Shared {
    pub path: PathBuf,
    pub options: FileOptions,
    pub run: u64,
    pub suspicion: Suspicion,
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
    /// None while it has failed and is not open again, and once it is closed
    database: RwLock<Option<Arc<Database>>>,
    /// Resources in the file
    pub len: AtomicU64,
    /// The latest time that a claimant told
    pub now: AtomicU64,
}

pub(super) struct Shard {
    pub claims: Claims,
    /// What is in the file too, as it stands there
    pub recent: Recent,
    pub closed: bool,
}

impl Shard {
    pub fn remember(&mut self, key: &str, value: &[u8]) {
        self.recent.put(key, value);
        self.recent.shrink(|_, _| Standing::Idle);
    }
}

impl Shared {
    pub fn new(path: &Path, options: FileOptions, opened: Opened) -> Self {
        let shard = || Shard {
            claims: Claims::default(),
            recent: Recent::new(options.cache_bytes / SHARDS),
            closed: false,
        };
        Self {
            path: path.to_owned(),
            run: opened.run,
            suspicion: opened.suspicion,
            shards: std::array::from_fn(|_| Mutex::new(shard())),
            hasher: RandomState::new(),
            database: RwLock::new(Some(Arc::new(opened.database))),
            len: AtomicU64::new(opened.len),
            now: AtomicU64::new(options.started),
            options,
        }
    }

    pub fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }

    pub fn shards(&self) -> impl Iterator<Item = MutexGuard<'_, Shard>> {
        self.shards.iter().map(lock)
    }

    pub fn database(&self) -> Option<Arc<Database>> {
        self.database.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn replace_database(&self, database: Option<Database>) -> Option<Arc<Database>> {
        let mut current = self.database.write().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *current, database.map(Arc::new))
    }

    /// Blocks, though rarely for long: most pages are in memory.
    pub fn read(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let database = self.database().ok_or_else(|| self.error(&"it is not open again after a failure"))?;
        unpanicked(|| {
            let table = database.begin_read()?.open_table(RECORDS)?;
            Ok(table.get(key)?.map(|value| value.value().to_vec()))
        })
        .map_err(|error| self.error(&error))
    }

    /// What a claimant is told, with whatever may be in flight.
    pub fn answer(
        &self,
        shard: &Shard,
        key: &str,
        value: Option<&[u8]>,
        now: Millis,
    ) -> Result<Claimed, StoreError> {
        let (run, mut record) = match value {
            Some(value) => {
                let stored = Stored::decode(value).ok_or_else(|| self.error(&"a record is damaged"))?;
                (Some(stored.run), stored.record)
            }
            None => (None, Record::default()),
        };
        shard.claims.add_left_behind(key, &mut record);
        if self.suspicion.falls_on(run, now) {
            let until = self.suspicion.until;
            record.pending.push(Pending { write: Write::Current, if_match: record.etag, until });
        }
        Ok(Claimed::Yes(record))
    }

    pub fn error(&self, reason: &dyn Display) -> StoreError {
        StoreError(format!("{}: {reason}", self.path.display()))
    }

    pub fn closed(&self) -> StoreError {
        self.error(&"it is closed")
    }
}

/// Nothing in here panics half way: what a panic elsewhere left is whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// redb may panic on pages that were damaged while it has them open.
pub(super) fn unpanicked<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, redb::Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("a page makes no sense");
        Err(redb::Error::Corrupted(text.to_owned()))
    })
}
