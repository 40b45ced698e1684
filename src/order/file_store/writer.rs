//! The one thread that writes: all settles that wait go into one transaction.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use redb::{Database, ReadableTable, ReadableTableMetadata};
use tokio::sync::oneshot;

use super::super::record::Record;
use super::super::store::{Held, Settled, StoreError};
use super::open;
use super::prune::Pruner;
use super::shared::{Shared, unpanicked};
use super::stored::{CLEAN, META, RECORDS, Stored};

/// Of one transaction: beyond it a settle waits for the next.
const BATCH: usize = 1024;

/// How often a file that failed is tried again, if nobody asks before.
const RETRY: Duration = Duration::from_secs(1);

pub(super) enum Job {
    Settle { key: Arc<str>, value: Vec<u8>, reply: oneshot::Sender<Result<Settled, StoreError>> },
    Close(oneshot::Sender<Result<(), StoreError>>),
}

struct Settle {
    key: Arc<str>,
    value: Vec<u8>,
    reply: oneshot::Sender<Result<Settled, StoreError>>,
}

struct Writer {
    shared: Arc<Shared>,
    pruner: Pruner,
}

/// It ends when the store is closed or dropped, and closes the file.
pub(super) fn start(shared: Arc<Shared>, jobs: Receiver<Job>) -> std::io::Result<JoinHandle<()>> {
    let mut writer = Writer { pruner: Pruner::new(&shared.options), shared };
    std::thread::Builder::new().name("order-file".into()).spawn(move || {
        writer.run(&jobs);
        close_file(&writer.shared);
    })
}

fn close_file(shared: &Shared) {
    // A reader that is not done yet closes it in our place.
    if let Some(Ok(database)) = shared.replace_database(None).map(Arc::try_unwrap)
        && let Err(error) = database.close()
    {
        tracing::warn!(file = %shared.path.display(), %error, "the order file did not close well");
    }
}

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            let first = match jobs.recv_timeout(RETRY) {
                Ok(job) => job,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = self.database();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut batch = Vec::new();
            let mut next = Some(first);
            let mut close = None;
            while let Some(job) = next {
                match job {
                    Job::Settle { key, value, reply } => batch.push(Settle { key, value, reply }),
                    Job::Close(reply) => {
                        close = Some(reply);
                        break;
                    }
                }
                next = if batch.len() < BATCH { jobs.try_recv().ok() } else { None };
            }
            self.settle(batch);
            if let Some(reply) = close {
                let outcome = self.close();
                close_file(&self.shared);
                let _ = reply.send(outcome);
                return;
            }
        }
    }

    fn settle(&mut self, batch: Vec<Settle>) {
        if batch.is_empty() {
            return;
        }
        let outcome = self.database().and_then(|database| {
            let written = unpanicked(|| self.write(&database, &batch));
            written.map_err(|error| self.failed(&error))
        });
        for Settle { key, value, reply } in batch {
            let mut shard = self.shared.shard(&key);
            let answer = match &outcome {
                Ok(()) => {
                    shard.claims.settled(&key);
                    shard.remember(&key, &value);
                    Ok(Settled::Yes)
                }
                Err(error) => {
                    // It may be in the file all the same: the file decides.
                    shard.recent.remove(&key);
                    shard.claims.not_ended(&key);
                    Err(error.clone())
                }
            };
            drop(shard);
            // Nobody waits for it any more: it is written all the same.
            let _ = reply.send(answer);
        }
    }

    fn write(&mut self, database: &Database, batch: &[Settle]) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        let (pruned, len);
        {
            let mut records = transaction.open_table(RECORDS)?;
            for Settle { key, value, .. } in batch {
                records.insert(&**key, value.as_slice())?;
            }
            let now = self.shared.now.load(Ordering::Relaxed);
            pruned =
                self.pruner.step(&mut records, now, |key| self.shared.shard(key).claims.concerns(key))?;
            len = records.len()?;
        }
        transaction.commit()?;
        for key in pruned {
            self.shared.shard(&key).recent.remove(&key);
        }
        self.shared.len.store(len, Ordering::Relaxed);
        Ok(())
    }

    /// The database; opened anew where it has failed.
    fn database(&self) -> Result<Arc<Database>, StoreError> {
        if let Some(database) = self.shared.database() {
            return Ok(database);
        }
        let database = open::check(&self.shared.path, &self.shared.options)
            .map_err(|error| self.shared.error(&error))?;
        tracing::info!(file = %self.shared.path.display(), "the order file is open again");
        self.shared.replace_database(Some(database));
        self.shared.database().ok_or_else(|| self.shared.closed())
    }

    /// redb refuses all further work after a failure, until it is opened anew.
    fn failed(&self, error: &redb::Error) -> StoreError {
        tracing::error!(file = %self.shared.path.display(), %error, "the order file failed");
        self.shared.replace_database(None);
        self.shared.error(error)
    }

    /// Writes down what the claims still held may have sent, and that nothing else is in flight.
    fn close(&self) -> Result<(), StoreError> {
        let mut unsaid = Vec::new();
        for mut shard in self.shared.shards() {
            shard.closed = true;
            unsaid.extend(shard.claims.drain());
        }
        let database = self.database()?;
        unpanicked(|| self.write_clean(&database, unsaid)).map_err(|error| self.failed(&error))
    }

    fn write_clean(
        &self,
        database: &Database,
        unsaid: Vec<(Box<str>, Vec<Held>)>,
    ) -> Result<(), redb::Error> {
        let transaction = database.begin_write()?;
        {
            let mut records = transaction.open_table(RECORDS)?;
            for (key, held) in unsaid {
                let found = records.get(&*key)?.and_then(|value| Stored::decode(value.value()));
                let mut stored = found.unwrap_or_else(|| Stored {
                    // As unknown as it was: what is suspected of it still is.
                    run: self.shared.suspicion.run.saturating_sub(1),
                    at: self.shared.now.load(Ordering::Relaxed),
                    record: Record::default(),
                });
                held.into_iter().for_each(|held| held.add_to(&mut stored.record));
                records.insert(&*key, stored.encode().as_slice())?;
            }
            transaction.open_table(META)?.insert(CLEAN, 1)?;
        }
        Ok(transaction.commit()?)
    }
}
