//! What was forwarded, in one file that survives a restart: for one instance.
//!
//! - **One process.** The file is locked while it is open; claims are held in memory, since nobody else can ask.
//! - **Durable.** A record is on the disk before `settle` returns. One thread writes, and takes all that wait
//!   into one transaction, so that they share its fsync. A claim is answered from a bounded cache or from the
//!   file; a release writes nothing.
//! - **After a crash.** `close` marks the file clean. One that is not marked was left by a crash, and anything
//!   may have been in flight: what the CDR said then can land for `FileOptions::settle` after the start. Until
//!   that has passed, a resource that was not settled since the start comes with a pending write
//!   (`Write::Current`) under its ETag where that is known: the protocol then fences its own write, or waits.
//! - **Damage.** Every page is checked when the file is opened. A damaged or foreign file is refused with an
//!   error that names it; `OnDamage::SetAside` renames a damaged one and starts anew, as after a crash.
//! - **Bounded.** Resources that were not heard of for long, or beyond a number, are forgotten a few at a time,
//!   with each transaction; never one that something can still land on. A file that is mostly air is compacted
//!   when it is opened.
//! - **Failures.** A full disk is a `StoreError`, the record stays what it was and the claim held; the file is
//!   opened anew until that works again.

mod error;
mod open;
mod prune;
mod shared;
mod stored;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use super::record::{Millis, Record};
use super::store::{Answer, ClaimRequest, Claimed, Held, Owner, Settled, Store, StoreError};
use crate::delivery::Key;
pub use error::FileStoreError;
use shared::Shared;
use stored::Stored;
use writer::Job;

#[derive(Clone, Debug)]
pub struct FileOptions {
    /// The clock's time now: the store has none of its own.
    pub started: Millis,
    /// What was sent before a crash can land this much after the start (milliseconds).
    pub settle: Millis,
    /// After that, what was not heard of may still be repeated this long, older versions first: the CDR is asked
    /// (milliseconds).
    pub repeats: Millis,
    /// What the records kept in memory may take.
    pub cache_bytes: usize,
    /// Beyond this many, those not heard of for longest are forgotten, about.
    pub max_resources: u64,
    /// Those not heard of for this long are forgotten (milliseconds).
    pub max_age: Millis,
    pub on_damage: OnDamage,
    #[cfg(test)]
    faults: Arc<tests::Faults>,
}

/// Whether the file can be opened now. It is closed again and says what it said before; for that moment nobody
/// else can open it.
pub fn probe(path: &Path) -> Result<(), FileStoreError> {
    open::check(path, &FileOptions::new(0, 0)).map(drop)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDamage {
    Refuse,
    /// Rename the file and start a new one.
    SetAside,
}

impl FileOptions {
    pub fn new(started: Millis, settle: Millis) -> Self {
        Self {
            started,
            settle,
            repeats: 0,
            cache_bytes: 16 << 20,
            max_resources: 2_000_000,
            max_age: 90 * 24 * 60 * 60 * 1000,
            on_damage: OnDamage::Refuse,
            #[cfg(test)]
            faults: Arc::default(),
        }
    }
}

pub struct FileStore {
    shared: Arc<Shared>,
    jobs: Option<Sender<Job>>,
    writer: Option<JoinHandle<()>>,
    set_aside: Option<PathBuf>,
}

impl FileStore {
    /// Opens the file, or creates it (and its directory) for this user only. Reads all of it: blocking.
    pub fn open(path: &Path, options: FileOptions) -> Result<Self, FileStoreError> {
        let opened = open::open_or_create(path, &options)?;
        let (jobs, waiting) = std::sync::mpsc::channel();
        let set_aside = opened.set_aside.clone();
        let shared = Arc::new(Shared::new(path, options, opened));
        let writer = writer::start(shared.clone(), waiting)
            .map_err(|source| FileStoreError::Io { path: path.to_owned(), source })?;
        Ok(Self { shared, jobs: Some(jobs), writer: Some(writer), set_aside })
    }

    /// Where the damaged file went that was found.
    pub fn set_aside(&self) -> Option<&Path> {
        self.set_aside.as_deref()
    }

    /// It was left by a crash: until then, resources are handed out with what may have been in flight.
    pub fn suspect_until(&self) -> Option<Millis> {
        self.shared.suspicion.until()
    }

    async fn claim(&self, key: &Key, request: ClaimRequest) -> Result<Claimed, StoreError> {
        let key: Arc<str> = key.to_string().into();
        let (owner, now) = (request.owner, request.now);
        self.shared.now.fetch_max(now, Ordering::Relaxed);
        let before = {
            let mut shard = self.shared.shard(&key);
            if shard.closed {
                return Err(self.shared.closed());
            }
            let before = match shard.claims.claim(&key, request) {
                Ok(before) => before,
                Err(until) => return Ok(Claimed::No { until }),
            };
            if let Some(value) = shard.recent.get(&key).map(<[u8]>::to_vec) {
                return self.shared.answer(&shard, &key, Some(&value), now);
            }
            before
        };
        let mut taking = Taking { shared: &self.shared, key: &key, owner, before, told: false };
        let value = {
            let (shared, key) = (self.shared.clone(), key.clone());
            tokio::task::spawn_blocking(move || shared.read(&key)).await
        };
        let value = value.map_err(|error| self.shared.error(&error))??;
        let mut shard = self.shared.shard(&key);
        if let Some(until) = shard.claims.taken_over(&key, owner) {
            taking.told = true;
            return Ok(Claimed::No { until });
        }
        let claimed = self.shared.answer(&shard, &key, value.as_deref(), now);
        taking.told = claimed.is_ok();
        if let (Some(value), true) = (value, taking.told) {
            shard.remember(&key, &value);
        }
        claimed
    }

    async fn settle(&self, key: &Key, owner: Owner, record: Record) -> Result<Settled, StoreError> {
        let key: Arc<str> = key.to_string().into();
        if !self.shared.shard(&key).claims.ending(&key, owner) {
            return Ok(Settled::Lost);
        }
        let at = self.shared.now.load(Ordering::Relaxed);
        let value = Stored { run: self.shared.run, at, record }.encode();
        let (reply, answer) = oneshot::channel();
        let job = Job::Settle { key: key.clone(), value, reply };
        if self.jobs.as_ref().is_none_or(|jobs| jobs.send(job).is_err()) {
            self.shared.shard(&key).claims.not_ended(&key);
            return Err(self.shared.closed());
        }
        answer.await.unwrap_or_else(|_| Err(self.shared.closed()))
    }
}

/// A claim whose claimant has not heard of it yet, and does not where its future is dropped or the file can't
/// be read: it then never was.
struct Taking<'a> {
    shared: &'a Shared,
    key: &'a str,
    owner: Owner,
    before: Option<Held>,
    told: bool,
}

impl Drop for Taking<'_> {
    fn drop(&mut self) {
        if !self.told {
            self.shared.shard(self.key).claims.withdraw(self.key, self.owner, self.before.take());
        }
    }
}

impl Store for FileStore {
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed> {
        Box::pin(self.claim(key, request))
    }

    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled> {
        Box::pin(self.settle(key, owner, record))
    }

    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()> {
        Box::pin(async move {
            let key = key.to_string();
            self.shared.shard(&key).claims.release(&key, owner);
            Ok(())
        })
    }

    fn len(&self) -> Option<usize> {
        usize::try_from(self.shared.len.load(Ordering::Relaxed)).ok()
    }

    fn name(&self) -> &'static str {
        "file"
    }

    /// Claims still held are written down as what they may have sent. Nothing can be claimed afterwards.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            match self.jobs.as_ref().map(|jobs| jobs.send(Job::Close(reply))) {
                Some(Ok(())) => answer.await.unwrap_or(Ok(())),
                // It is closed already.
                _ => Ok(()),
            }
        })
    }
}

impl Drop for FileStore {
    /// Waits for what is being written, so that the file can be opened again.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
    }
}

#[cfg(test)]
mod tests;
