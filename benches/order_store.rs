//! What the order stores cost: `cargo bench --bench order_store`. Prints, judges nothing.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use lakehook::delivery::{Key, Version};
use lakehook::order::file_store::{FileOptions, FileStore};
use lakehook::order::memory_store::MemoryStore;
use lakehook::order::record::{Etag, Record, Write};
use lakehook::order::store::{ClaimRequest, Claimed, Owner, Store};

const NOW: u64 = 1_800_000_000_000;

fn key(number: u64) -> Key {
    // As long as a UUID, and as far from its neighbours.
    let id = u128::from(number).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
    Key::new("Observation", &uuid::Uuid::from_u128(id).to_string()).unwrap()
}

fn record(number: u64) -> Record {
    let version = Version::new(Some(&number.to_string()), Some("2026-05-01T12:34:56.789+00:00"));
    let mut record = Record { forwarded: Some(version), etag: Some(Etag(number)), ..Record::default() };
    record.seen.add(number);
    record
}

async fn claim(store: &dyn Store, key: &Key, owner: Owner) {
    let write = Write::Upsert(record(7).forwarded.unwrap_or_default());
    let request = ClaimRequest { owner, until: NOW + 10_000, now: NOW, write, settle: 5_000 };
    assert!(matches!(store.claim(key, request).await.unwrap(), Claimed::Yes(_)));
}

/// This thread's time on a processor: others may be busy too.
fn cpu() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(stat.split(' ').next()?.parse().ok()?))
}

fn resident() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some(statm.split(' ').nth(1)?.parse::<u64>().ok()? * 4096)
}

async fn memory() {
    const RESOURCES: u64 = 1_000_000;
    let store = MemoryStore::new(1 << 30);
    let before = resident();
    for number in 0..RESOURCES {
        let key = key(number);
        claim(&store, &key, Owner(1)).await;
        store.settle(&key, Owner(1), record(number % 50 + 1)).await.unwrap();
    }
    let measured = resident().zip(before).map(|(after, before)| (after - before) / RESOURCES);
    let counted = store.bytes() as u64 / RESOURCES;
    println!("memory: {measured:?} bytes a resource as measured, {counted} as counted, of {RESOURCES}");

    for known in [RESOURCES, 2 * RESOURCES] {
        let keys: Vec<_> = (0..200_000).map(|n| key((n * 7_919) % RESOURCES + known - RESOURCES)).collect();
        let records: Vec<_> = (0..200_000).map(|n| record(n % 50 + 1)).collect();
        let (start, cpu_before) = (Instant::now(), cpu());
        for (key, record) in keys.iter().zip(records) {
            claim(&store, key, Owner(1)).await;
            store.settle(key, Owner(1), record).await.unwrap();
        }
        let what = if known == RESOURCES { "known" } else { "new" };
        let elapsed = start.elapsed() / 200_000;
        let cpu = cpu().zip(cpu_before).map(|(after, before)| (after - before) / 200_000);
        println!("memory: {elapsed:?} for claim and settle of a {what} resource, {cpu:?} of CPU");
    }
}

fn percentiles(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times[(times.len() * percent / 100).min(times.len() - 1)];
    println!("file: {what}: p50 {:?}, p90 {:?}, p99 {:?}, of {}", at(50), at(90), at(99), times.len());
}

/// Claim and settle, timed apart, so many a second.
async fn paced(store: &Arc<FileStore>, per_second: u32, first: u64, what: &str) {
    let mut tick = tokio::time::interval(Duration::from_secs(1) / per_second);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..u64::from(per_second) * 5 {
        tick.tick().await;
        let store = store.clone();
        tasks.spawn(async move {
            let (key, owner) = (key(first + number), Owner(1));
            let start = Instant::now();
            claim(&*store, &key, owner).await;
            let claimed = start.elapsed();
            Store::settle(&*store, &key, owner, record(7)).await.unwrap();
            (claimed, start.elapsed() - claimed)
        });
    }
    let (claims, settles) = tasks.join_all().await.into_iter().unzip();
    percentiles(&format!("claim at {per_second}/s, {what}"), claims);
    percentiles(&format!("settle at {per_second}/s, {what}"), settles);
}

async fn throughput(store: &Arc<FileStore>, first: u64) {
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let store = store.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while start.elapsed() < Duration::from_secs(5) {
                let key = key(first + task * 1_000_000 + done);
                claim(&*store, &key, Owner(1)).await;
                Store::settle(&*store, &key, Owner(1), record(7)).await.unwrap();
                done += 1;
            }
            done
        });
    }
    let done: u64 = tasks.join_all().await.into_iter().sum();
    println!(
        "file: {} claims and settles a second, 32 at a time",
        done as f64 / start.elapsed().as_secs_f64()
    );
}

/// What the disk itself takes: a small write and its sync.
fn disk(directory: &std::path::Path) {
    let mut file = std::fs::File::create(directory.join("sync")).unwrap();
    let times = (0..300).map(|_| {
        let start = Instant::now();
        std::io::Write::write_all(&mut file, &[1; 4096]).unwrap();
        file.sync_data().unwrap();
        start.elapsed()
    });
    percentiles("4 KiB written and synced", times.collect());
}

async fn file() {
    let directory =
        tempfile::TempDir::new_in(std::env::var_os("ORDER_BENCH_DIR").unwrap_or(".".into())).unwrap();
    disk(directory.path());
    let path = directory.path().join("order.redb");
    let store = Arc::new(FileStore::open(&path, FileOptions::new(NOW, 60_000)).unwrap());
    paced(&store, 1_000, 0, "new resources, small file").await;
    paced(&store, 1_000, 0, "known resources, small file").await;
    throughput(&store, 10_000_000).await;
    const MANY: u64 = 300_000;
    let start = Instant::now();
    let many: Vec<_> = (0..MANY).map(|number| key(2_000_000_000 + number)).collect();
    for keys in many.chunks(1024) {
        let each = keys.iter().map(|key| async {
            claim(&*store, key, Owner(1)).await;
            Store::settle(&*store, key, Owner(1), record(7)).await.unwrap();
        });
        futures_util::future::join_all(each).await;
    }
    println!("file: {:.0} a second, 1,024 at a time", MANY as f64 / start.elapsed().as_secs_f64());
    paced(&store, 1_000, 3_000_000_000, "new resources, large file").await;
    let held = Store::len(&*store).unwrap_or_default() as u64;
    store.close().await.unwrap();
    drop(store);
    let size = path.metadata().unwrap().len();
    let start = Instant::now();
    FileStore::open(&path, FileOptions::new(NOW, 60_000)).unwrap();
    println!("file: {size} bytes, {} a resource, opened and checked in {:?}", size / held, start.elapsed());
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        memory().await;
        file().await;
    });
}
