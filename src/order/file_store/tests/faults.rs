//! A disk that fails, and comes back.

use std::io;
use std::ops::Bound;
use std::sync::atomic::AtomicBool;

use redb::backends::FileBackend;
use redb::{BackendError, StorageBackend};

use super::*;

#[derive(Debug, Default)]
pub(in super::super) struct Faults {
    pub full: AtomicBool,
    pub unreadable: AtomicBool,
}

#[derive(Debug)]
pub(in super::super) struct Faulty {
    file: FileBackend,
    faults: Arc<Faults>,
}

impl Faulty {
    pub fn new(file: FileBackend, faults: Arc<Faults>) -> Self {
        Self { file, faults }
    }

    fn write_fault(&self) -> io::Result<()> {
        match self.faults.full.load(Ordering::SeqCst) {
            true => Err(io::ErrorKind::StorageFull.into()),
            false => Ok(()),
        }
    }
}

impl StorageBackend for Faulty {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if self.faults.unreadable.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk can't be read"));
        }
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write_fault()?;
        self.file.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.write_fault()?;
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_fault()?;
        self.file.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[tokio::test]
async fn a_full_disk_is_an_error_and_is_over_when_there_is_space() {
    let directory = Directory::new();
    let options = options();
    let (faults, now) = (options.faults.clone(), now());
    let store = FileStore::open(&directory.path(), options).unwrap();
    let keys = fill(&store, 100).await;
    let owner = fresh_owner();
    claimed(&store, &keys[0], request(owner, now, Write::Current)).await;
    for _ in 0..3 {
        faults.full.store(true, Ordering::SeqCst);
        let error = Store::settle(&store, &keys[0], owner, forwarded(50)).await.unwrap_err();
        assert!(error.to_string().contains("order.redb"), "{error}");
        // The claim is held as before.
        let other = store.claim(&keys[0], request(fresh_owner(), now, Write::Current)).await;
        assert_eq!(other.unwrap(), Claimed::No { until: now + 10_000 });
        faults.full.store(false, Ordering::SeqCst);
        settled_once_open(&store, &keys[1], now).await;
    }
    let settled = Store::settle(&store, &keys[0], owner, forwarded(51)).await;
    assert_eq!(settled.unwrap(), Settled::Yes);
    assert_eq!(remembered(&store, &keys[0], now).await, forwarded(51));
    for (number, key) in (1..).zip(&keys).skip(2) {
        assert_eq!(remembered(&store, key, now).await, forwarded(number));
    }
    store.close().await.unwrap();
    drop(store);
    assert_eq!(remembered(&directory.open(), &keys[0], now).await, forwarded(51));
}

/// A claim that has to be read from the file fails until it is open again, which the next write tries.
async fn settled_once_open(store: &FileStore, key: &Key, now: Millis) {
    let owner = fresh_owner();
    let record = claimed(store, key, request(owner, now, Write::Current)).await;
    assert_eq!(Store::settle(store, key, owner, record).await.unwrap(), Settled::Yes);
}

#[tokio::test]
async fn a_claim_that_could_not_be_read_is_not_held() {
    let directory = Directory::new();
    let options = FileOptions { cache_bytes: 0, ..options() };
    let (faults, now) = (options.faults.clone(), now());
    let store = FileStore::open(&directory.path(), options).unwrap();
    let keys = fill(&store, 100).await;
    store.close().await.unwrap();
    drop(store);

    // Opened anew, so that no page of it is in redb's own cache but those it checked.
    let options = FileOptions { cache_bytes: 0, faults: faults.clone(), ..super::options() };
    let store = FileStore::open(&directory.path(), options).unwrap();
    store.shared.replace_database(None);
    let request_of = |owner| request(owner, now, Write::Current);
    let error = store.claim(&keys[0], request_of(fresh_owner())).await.unwrap_err();
    assert!(error.to_string().contains("not open again"), "{error}");
    faults.unreadable.store(true, Ordering::SeqCst);
    let owner = fresh_owner();
    assert!(store.claim(&keys[0], request_of(owner)).await.is_err());
    faults.unreadable.store(false, Ordering::SeqCst);
    // The writer opens it again by itself.
    let record = loop {
        match store.claim(&keys[0], request_of(fresh_owner())).await {
            Ok(Claimed::Yes(record)) => break record,
            Ok(Claimed::No { until }) => panic!("held until {until}"),
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    };
    assert_eq!(record, forwarded(1));
}

#[tokio::test]
async fn a_disk_that_fails_at_the_start_is_no_damage() {
    let (directory, keys) = Directory::with(100).await;
    for unclean in [false, true] {
        for full in [false, true] {
            let options = FileOptions { on_damage: OnDamage::SetAside, ..options() };
            options.faults.full.store(full, Ordering::SeqCst);
            options.faults.unreadable.store(!full, Ordering::SeqCst);
            let opened = FileStore::open(&directory.path(), options);
            let Err(error) = opened else { panic!("opened, {full} {unclean}") };
            assert!(matches!(error, FileStoreError::Io { .. }), "{error}");
        }
        let store = directory.open();
        assert_eq!(remembered(&store, &keys[0], now() + 2 * SETTLE).await, forwarded(1));
    }
}
