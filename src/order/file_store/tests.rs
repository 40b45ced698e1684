#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod crash;
mod damage;
mod faults;
mod restart;
mod size;

use tempfile::TempDir;

use super::super::record::{Etag, Pending, Tombstone, Write};
use super::super::store_tests::*;
use super::*;
pub(super) use faults::{Faults, Faulty};

const SETTLE: Millis = 60_000;

fn options() -> FileOptions {
    FileOptions::new(now(), SETTLE)
}

struct Directory(TempDir);

impl Directory {
    fn new() -> Self {
        Self(TempDir::new().unwrap())
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("order.redb")
    }

    fn open(&self) -> FileStore {
        FileStore::open(&self.path(), options()).unwrap()
    }

    /// A file that holds `count` resources, closed.
    async fn with(count: u64) -> (Self, Vec<Key>) {
        let directory = Self::new();
        let store = directory.open();
        let keys = fill(&store, count).await;
        store.close().await.unwrap();
        (directory, keys)
    }
}

/// As many resources, of versions 1, 2, 3...: many at a time.
async fn fill(store: &FileStore, count: u64) -> Vec<Key> {
    let now = now();
    let keys: Vec<_> = (0..count).map(|_| fresh_key()).collect();
    for (keys, first) in keys.chunks(500).zip((1..).step_by(500)) {
        let each = keys.iter().zip(first..).map(|(key, number)| settled(store, key, now, forwarded(number)));
        futures_util::future::join_all(each).await;
    }
    keys
}

async fn fresh() -> Fresh {
    let directory = Directory::new();
    Fresh { store: Arc::new(directory.open()), keep: Box::new(directory) }
}

conformance!(fresh, Scale { cases: 50, ..Scale::LOCAL });

/// As above, but nothing stays in memory: every claim reads the file.
mod uncached {
    use super::*;

    async fn fresh() -> Fresh {
        let directory = Directory::new();
        let options = FileOptions { cache_bytes: 0, ..options() };
        let store = FileStore::open(&directory.path(), options).unwrap();
        Fresh { store: Arc::new(store), keep: Box::new(directory) }
    }

    conformance!(fresh, Scale { cases: 50, ..Scale::LOCAL });
}
