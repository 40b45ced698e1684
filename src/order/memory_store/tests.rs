#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::sync::Arc;

use super::super::record::{Pending, Tombstone, Write};
use super::super::store_tests::*;
use super::*;

async fn fresh() -> Fresh {
    Fresh { store: Arc::new(MemoryStore::new(64 << 20)), keep: Box::new(()) }
}

conformance!(fresh, Scale::LOCAL);

async fn fill(store: &MemoryStore, count: u64) {
    for number in 0..count {
        settled(store, &fresh_key(), now(), forwarded(number)).await;
    }
}

#[tokio::test]
async fn it_is_bounded_by_bytes() {
    let store = MemoryStore::new(1 << 20);
    fill(&store, 30_000).await;
    assert!(store.bytes() <= 1 << 20, "{}", store.bytes());
    let each = (1 << 20) / store.len().unwrap();
    println!("{each} bytes a remembered resource by the store's own count");
    assert!(each <= 200, "{each}");
}

#[tokio::test]
async fn what_is_claimed_or_can_still_land_is_never_forgotten() {
    let now = now();
    let store = MemoryStore::new(64 << 10);
    let (held, left, unknown) = (fresh_key(), fresh_key(), fresh_key());
    let owner = fresh_owner();
    for key in [&held, &left] {
        settled(&store, key, now, forwarded(5)).await;
    }
    claimed(&store, &held, request(owner, now, Write::Current)).await;
    claimed(&store, &left, request(fresh_owner(), now - 10_000, Write::Delete)).await;
    remembered(&store, &left, now).await;
    let pending = vec![Pending { write: Write::Delete, if_match: None, until: now + 1 }];
    settled(&store, &unknown, now, Record { pending: pending.clone(), ..forwarded(5) }).await;
    fill(&store, 5_000).await;

    assert!(store.len().unwrap() < 1_000);
    assert_eq!(claimed(&store, &held, request(owner, now, Write::Current)).await, forwarded(5));
    assert_eq!(remembered(&store, &left, now).await.pending.len(), 1);
    assert_eq!(remembered(&store, &unknown, now).await.pending, pending);
}

#[tokio::test]
async fn a_young_tombstone_outlives_live_ones() {
    let store = MemoryStore::new(64 << 10);
    let (key, now) = (fresh_key(), now());
    let deleted = Record { deleted: Some(Tombstone { at: now }), ..forwarded(5) };
    settled(&store, &key, now, deleted.clone()).await;
    fill(&store, 5_000).await;
    assert_eq!(remembered(&store, &key, now).await, deleted);
}

#[tokio::test]
async fn owners_that_vanish_do_not_pile_up() {
    let store = MemoryStore::new(64 << 10);
    let now = now();
    for n in 0..100_000 {
        claimed(&store, &fresh_key(), request(fresh_owner(), now + n * 100, Write::Delete)).await;
    }
    let claims: usize = store.shards.iter().map(|shard| lock(shard).claims.len()).sum();
    assert!(claims <= 2 * 1024 * SHARDS, "{claims}");
}
