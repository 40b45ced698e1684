//! What every store has to do alike. A store's own tests call
//!
//! ```ignore
//! conformance!(fresh, Scale::LOCAL);
//! ```
//!
//! where `async fn fresh() -> Fresh` gives a store; keys are never used twice, so that one that is shared with
//! other tests will do. Time is told with each claim, so nothing here waits.
#![allow(clippy::unwrap_used)]

mod generate;
mod model;
mod semantics;
mod storm;

use std::any::Any;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use generate::{records, versions};
pub(crate) use model::agrees_with_the_model;
pub(crate) use semantics::*;
pub(crate) use storm::*;

use super::record::{Etag, Millis, Pending, Record, Write};
use super::store::{ClaimRequest, Claimed, Held, Owner, Settled, Store};
use crate::delivery::{Key, Version};

pub(crate) struct Fresh {
    pub store: Arc<dyn Store>,
    /// Whatever must live as long as the store: its directory, its emulator.
    pub keep: Box<dyn Any + Send>,
}

/// How much of it a store's speed allows.
#[derive(Clone, Copy)]
pub(crate) struct Scale {
    /// Of each task in the storm
    pub rounds: u64,
    pub keys: usize,
    /// Random sequences
    pub cases: u32,
}

impl Scale {
    /// Stores that are no network away
    pub(crate) const LOCAL: Self = Self { rounds: 100, keys: 500, cases: 100 };
}

macro_rules! conformance {
    ($fresh:path, $scale:expr) => {
        $crate::order::store_tests::conformance! {
            @each $fresh, $scale;
            an_unknown_resource_has_the_default_record
            what_was_settled_is_read_and_the_claim_is_free
            a_release_leaves_the_record
            nobody_else_gets_a_held_claim
            its_owner_gets_a_held_claim_again
            a_claim_that_ended_leaves_its_write_behind
            a_silent_end_after_a_settle_is_fenced_by_the_etag
            several_silent_ends_are_all_told
            a_stale_owner_can_neither_settle_nor_release
            a_late_settle_counts_while_nobody_claimed
            a_settle_without_a_claim_is_lost
            resources_do_not_touch_each_other
            large_keys_and_versions_come_back
            every_part_of_a_record_comes_back
            many_resources_come_back
            no_update_is_lost_in_a_storm
            a_claim_for_one_is_won_by_one
            agrees_with_the_model
        }
    };
    (@each $fresh:path, $scale:expr; $($test:ident)*) => {
        $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $test() {
            let fresh: $crate::order::store_tests::Fresh = $fresh().await;
            $crate::order::store_tests::$test(fresh.store.clone(), $scale).await;
            fresh.store.close().await.unwrap();
            drop(fresh.keep);
        })*
    };
}
pub(crate) use conformance;

/// A moment that a store's own clock agrees with, about.
pub(crate) fn now() -> Millis {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap()
}

/// A resource that nobody has spoken of.
pub(crate) fn fresh_key() -> Key {
    Key::new("Observation", &uuid::Uuid::new_v4().to_string()).unwrap()
}

pub(crate) fn fresh_owner() -> Owner {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    Owner(uuid::Uuid::new_v4().as_u128() ^ u128::from(NEXT.fetch_add(1, Ordering::Relaxed)))
}

pub(crate) fn version(number: u64) -> Version {
    Version::new(Some(&number.to_string()), Some("2026-05-01T12:34:56.789+00:00"))
}

pub(crate) fn forwarded(number: u64) -> Record {
    let mut record =
        Record { forwarded: Some(version(number)), etag: Some(Etag(number)), ..Record::default() };
    record.seen.add(number);
    record
}

/// For 10 s from `now`, and what was sent can land 5 s later.
pub(crate) fn request(owner: Owner, now: Millis, write: Write) -> ClaimRequest {
    ClaimRequest { owner, until: now + 10_000, now, write, settle: 5_000 }
}

/// The record, where the claim must be had.
pub(crate) async fn claimed(store: &dyn Store, key: &Key, request: ClaimRequest) -> Record {
    match store.claim(key, request).await.unwrap() {
        Claimed::Yes(record) => record,
        Claimed::No { until } => panic!("held until {until}"),
    }
}

/// Claims, settles and forgets the owner.
pub(crate) async fn settled(store: &dyn Store, key: &Key, now: Millis, record: Record) {
    let owner = fresh_owner();
    claimed(store, key, request(owner, now, Write::Current)).await;
    assert_eq!(store.settle(key, owner, record).await.unwrap(), Settled::Yes);
}

/// What a claimant reads, the claim given back.
pub(crate) async fn remembered(store: &dyn Store, key: &Key, now: Millis) -> Record {
    let owner = fresh_owner();
    let record = claimed(store, key, request(owner, now, Write::Current)).await;
    store.release(key, owner).await.unwrap();
    record
}
