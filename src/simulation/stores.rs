//! The three stores as they are, each as its replicas have it.

use std::sync::{Arc, Mutex};
use std::time::UNIX_EPOCH;

use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::network::DynamoDb;
use super::replica::Common;
use super::world::{Kept, Without, World};
use crate::delivery::Key;
use crate::healthlake::Clock;
use crate::order::dynamodb::DynamoStore;
use crate::order::dynamodb::simulated::Table;
use crate::order::file_store::{FileOptions, FileStore};
use crate::order::memory_store::MemoryStore;
use crate::order::record::{Record, millis};
use crate::order::store::{Answer, ClaimRequest, Claimed, Owner, Settled, Store};

/// What outlives a replica.
#[derive(Clone)]
pub(super) enum Shared {
    Memory,
    File { directory: Arc<TempDir>, open: Arc<Mutex<Option<Arc<FileStore>>>> },
    Table(Arc<Table>),
}

impl Shared {
    pub fn new(kept: Kept) -> Self {
        match kept {
            Kept::Memory => Self::Memory,
            Kept::File => Self::File { directory: Arc::new(TempDir::new().unwrap()), open: Arc::default() },
            Kept::DynamoDb => Self::Table(Arc::default()),
        }
    }

    /// The store of a process that starts.
    pub async fn open(&self, world: &Arc<World>, clock: &Clock, common: &Common) -> Arc<dyn Store> {
        let store: Arc<dyn Store> = match self {
            Self::Memory => Arc::new(MemoryStore::new(64 << 20)),
            Self::File { directory, open } => {
                let before = open.lock().unwrap().take();
                if let Some(before) = before {
                    crashed(before).await;
                }
                let started = millis(clock().duration_since(UNIX_EPOCH).unwrap());
                let protocol = world.knobs.protocol();
                let mut options = FileOptions::new(started, protocol.settle);
                options.repeats = if protocol.has_cdr { protocol.horizon } else { 0 };
                let store = Arc::new(FileStore::open(&directory.path().join("order.redb"), options).unwrap());
                *open.lock().unwrap() = Some(store.clone());
                Arc::new(Blocking(store))
            }
            Self::Table(table) => {
                let service = DynamoDb { world: world.clone(), table: table.clone() };
                Arc::new(DynamoStore::simulated(Arc::new(service), common.dynamodb.clone()))
            }
        };
        match world.knobs.without {
            Some(without) => Arc::new(Lessened { store, without }),
            None => store,
        }
    }
}

/// Dropped without `close`, once nothing of the killed process is left in it.
async fn crashed(mut store: Arc<FileStore>) {
    loop {
        match Arc::try_unwrap(store) {
            Ok(store) => return drop(store),
            Err(still_used) => store = still_used,
        }
        let _ = spawn_blocking(|| std::thread::sleep(std::time::Duration::from_millis(1))).await;
    }
}

/// The file is written by a thread, which simulated time does not wait for; it waits for blocking tasks.
struct Blocking(Arc<FileStore>);

impl Store for Blocking {
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed> {
        let (store, key) = (self.0.clone(), key.clone());
        let claim = move || Handle::current().block_on(Store::claim(&*store, &key, request));
        Box::pin(async { spawn_blocking(claim).await.unwrap() })
    }

    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled> {
        let (store, key) = (self.0.clone(), key.clone());
        let settle = move || Handle::current().block_on(Store::settle(&*store, &key, owner, record));
        Box::pin(async { spawn_blocking(settle).await.unwrap() })
    }

    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()> {
        self.0.release(key, owner)
    }

    fn len(&self) -> Option<usize> {
        Store::len(&*self.0)
    }

    fn name(&self) -> &'static str {
        self.0.name()
    }
}

/// A store that forgets a part of what it was told.
struct Lessened {
    store: Arc<dyn Store>,
    without: Without,
}

impl Store for Lessened {
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed> {
        Box::pin(async move {
            let mut claimed = self.store.claim(key, request).await?;
            if let Claimed::Yes(record) = &mut claimed {
                match self.without {
                    Without::Versions => record.forwarded = None,
                    Without::Tombstones => record.deleted = None,
                    Without::Withdrawals if record.is_filtered() => *record = Record::default(),
                    Without::Fences => (record.etag, record.pending) = (None, Vec::new()),
                    _ => {}
                }
            }
            Ok(claimed)
        })
    }

    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled> {
        self.store.settle(key, owner, record)
    }

    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()> {
        self.store.release(key, owner)
    }

    fn len(&self) -> Option<usize> {
        self.store.len()
    }

    fn name(&self) -> &'static str {
        self.store.name()
    }
}
