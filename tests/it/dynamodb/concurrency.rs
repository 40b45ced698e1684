//! Many replicas on few resources.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lakehook::delivery::Key;
use lakehook::order::record::Etag;
use lakehook::order::store::{Claimed, Owner, Settled, Store};
use tokio::task::JoinSet;

use super::bench::{Bench, NOW, claim, fresh_key, request, store_at};
use super::relay::Relay;

const REPLICAS: u64 = 16;
const KEYS: usize = 3;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn moto_under_sixteen() {
    let bench = Bench::moto().await;
    nobody_shares_a_resource(&bench, 6).await;
    crashes_lose_no_update(&bench, 8).await;
    bench.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynalite_under_sixteen() {
    let bench = Bench::dynalite().await;
    nobody_shares_a_resource(&bench, 20).await;
    crashes_lose_no_update(&bench, 30).await;
    bench.stop().await;
}

#[derive(Default)]
struct Watched {
    held: AtomicBool,
    settled: AtomicU64,
}

/// Each replica adds one to the record of a resource under a claim that outlasts the test.
async fn nobody_shares_a_resource(bench: &Bench, times: u64) {
    let keys: [Key; KEYS] = std::array::from_fn(|_| fresh_key());
    let watched: Arc<[Watched; KEYS]> = Arc::default();
    let mut replicas = JoinSet::new();
    for replica in 1..=REPLICAS {
        let (store, keys, watched) = (bench.store(), keys.clone(), watched.clone());
        replicas.spawn(async move {
            for round in 0..times {
                let at = ((replica + round) % KEYS as u64) as usize;
                let owner = u128::from(replica * 1_000_000 + round);
                let mut record = loop {
                    match store.claim(&keys[at], request(owner, NOW)).await.unwrap() {
                        Claimed::Yes(record) => break record,
                        Claimed::No { .. } => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                };
                assert!(!watched[at].held.swap(true, Ordering::SeqCst), "two hold one resource");
                assert_eq!(record.pending, [], "nobody crashed");
                record.etag = Some(Etag(record.etag.map_or(1, |etag| etag.0 + 1)));
                tokio::task::yield_now().await;
                // Before the settle is sent: others may have the claim before we have the answer.
                watched[at].held.store(false, Ordering::SeqCst);
                assert_eq!(store.settle(&keys[at], Owner(owner), record).await, Ok(Settled::Yes));
                watched[at].settled.fetch_add(1, Ordering::SeqCst);
            }
        });
    }
    finish(replicas).await;
    compare(bench, &keys, &watched, NOW).await;
}

/// The same while claims end early and some replicas never come back. Time is a counter.
async fn crashes_lose_no_update(bench: &Bench, times: u64) {
    let keys: [Key; KEYS] = std::array::from_fn(|_| fresh_key());
    let watched: Arc<[Watched; KEYS]> = Arc::default();
    let clock = Arc::new(AtomicU64::new(NOW));
    let mut replicas = JoinSet::new();
    for replica in 1..=REPLICAS {
        let (store, keys, watched, clock) = (bench.store(), keys.clone(), watched.clone(), clock.clone());
        replicas.spawn(async move {
            for round in 0..times {
                let at = ((replica + round) % KEYS as u64) as usize;
                let owner = u128::from(replica * 1_000_000 + round);
                let now = clock.fetch_add(700, Ordering::SeqCst);
                let claimed = store.claim(&keys[at], request(owner, now)).await.unwrap();
                let Claimed::Yes(mut record) = claimed else { continue };
                record.etag = Some(Etag(record.etag.map_or(1, |etag| etag.0 + 1)));
                record.pending.clear();
                match (replica + round) % 5 {
                    0 => continue,
                    1 => store.release(&keys[at], Owner(owner)).await.unwrap(),
                    _ => {
                        if store.settle(&keys[at], Owner(owner), record).await == Ok(Settled::Yes) {
                            watched[at].settled.fetch_add(1, Ordering::SeqCst);
                        }
                    }
                }
            }
        });
    }
    finish(replicas).await;
    compare(bench, &keys, &watched, clock.load(Ordering::SeqCst) + 10_000).await;
}

async fn finish(mut replicas: JoinSet<()>) {
    while let Some(replica) = replicas.join_next().await {
        replica.unwrap();
    }
}

async fn compare(bench: &Bench, keys: &[Key; KEYS], watched: &[Watched; KEYS], now: u64) {
    let store = bench.store();
    for (key, watched) in keys.iter().zip(watched) {
        let settled = watched.settled.load(Ordering::SeqCst);
        let record = claim(&store, key, 9, now).await;
        assert_eq!(record.etag.map_or(0, |etag| etag.0), settled, "updates were lost");
        assert!(settled > 0);
    }
}

#[tokio::test]
#[allow(clippy::print_stdout)]
async fn a_delivery_costs_two_round_trips() {
    for bench in [Bench::dynalite().await, Bench::moto().await] {
        let relay = Relay::before(bench.endpoint_url()).await;
        let (store, key) = (store_at(&relay.endpoint_url), fresh_key());
        for round in 1..=3 {
            let record = claim(&store, &key, round, NOW).await;
            assert_eq!(relay.operations(), ["UpdateItem"], "before HealthLake is asked");
            store.settle(&key, Owner(round), record).await.unwrap();
            assert_eq!(relay.operations(), ["UpdateItem"], "after it answered");
        }
        claim(&store, &key, 8, NOW).await;
        assert_eq!(claim(&store, &key, 9, NOW + 10_000).await.pending.len(), 1);
        assert_eq!(relay.operations().len(), 2, "nor does it cost more to take over");
        store.claim(&key, request(10, NOW + 10_000)).await.unwrap();
        let contended = relay.operations();
        println!("a claim that is refused: {contended:?}");
        assert!(contended.len() <= 2);
        bench.stop().await;
    }
}

/// Prints; the machine decides.
#[tokio::test]
#[allow(clippy::print_stdout)]
async fn latency() {
    let bench = Bench::dynalite().await;
    let store = bench.store();
    let (mut claims, mut settles) = (Vec::new(), Vec::new());
    for round in 0..300 {
        let key = fresh_key();
        let start = Instant::now();
        let record = claim(&store, &key, round, NOW).await;
        claims.push(start.elapsed());
        let start = Instant::now();
        store.settle(&key, Owner(round), record).await.unwrap();
        settles.push(start.elapsed());
    }
    for (name, mut times) in [("claim", claims), ("settle", settles)] {
        times.sort();
        let at = |share: f64| times[(times.len() as f64 * share) as usize];
        println!("dynalite, {name}: p50 {:?}, p90 {:?}, p99 {:?}", at(0.5), at(0.9), at(0.99));
    }
    bench.stop().await;
}
