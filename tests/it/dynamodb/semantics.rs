//! The promises of the trait, on both emulators.

use lakehook::delivery::Key;
use lakehook::order::record::{Etag, Millis, Pending, Record, Seen, Tombstone, Write};
use lakehook::order::store::{Claimed, Owner, Settled, Store};

use super::bench::{Bench, NOW, claim, fresh_key, request, version};

#[tokio::test]
async fn moto_keeps_the_promises() {
    let bench = Bench::moto().await;
    all(&bench).await;
    bench.stop().await;
}

#[tokio::test]
async fn dynalite_keeps_the_promises() {
    let bench = Bench::dynalite().await;
    all(&bench).await;
    bench.stop().await;
}

async fn all(bench: &Bench) {
    bench.store().check().await.unwrap();
    a_record_comes_back_as_it_was_settled(bench, &fresh_key()).await;
    one_claim_at_a_time(bench, &fresh_key()).await;
    what_an_ended_claim_left_behind_stays_until_a_settle(bench, &fresh_key()).await;
    left_behind_writes_are_conditional_on_the_known_etag(bench, &fresh_key()).await;
    an_owner_prolongs_its_claim(bench, &fresh_key()).await;
    who_lost_its_claim_writes_nothing(bench, &fresh_key()).await;
    an_ended_claim_that_nobody_took_still_settles(bench, &fresh_key()).await;
    giving_back_what_is_not_held_does_nothing(bench, &fresh_key()).await;
    a_settle_can_be_repeated(bench, &fresh_key()).await;
    an_owner_may_come_back(bench, &fresh_key()).await;
    old_records_are_forgotten_by_our_clock(bench, &fresh_key()).await;
    endless_crashes_do_not_grow_the_item(bench, &fresh_key()).await;
}

fn a_record() -> Record {
    let mut seen = Seen::default();
    (1..=70).for_each(|number| seen.add(number));
    Record {
        forwarded: Some(version(70)),
        seen,
        deleted: Some(Tombstone { at: NOW }),
        etag: Some(Etag(u64::MAX)),
        pending: vec![
            Pending { write: Write::Delete, if_match: Some(Etag(3)), until: NOW + 5 },
            Pending { write: Write::Current, if_match: None, until: u64::MAX },
        ],
    }
}

fn left_behind(owner: u64, claimed_at: Millis, if_match: Option<Etag>) -> Pending {
    Pending { write: Write::Upsert(version(owner)), if_match, until: claimed_at + 11_000 }
}

async fn a_record_comes_back_as_it_was_settled(bench: &Bench, key: &Key) {
    let store = bench.store();
    assert_eq!(claim(&store, key, 1, NOW).await, Record::default());
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Yes));
    assert_eq!(claim(&store, key, u128::MAX, NOW).await, a_record());
    let size: usize =
        bench.item(key).await.unwrap().iter().map(|(n, v)| n.len() + format!("{v:?}").len()).sum();
    assert!(size < 1024, "an item of {size} bytes costs more than one write unit");
}

async fn one_claim_at_a_time(bench: &Bench, key: &Key) {
    let (store, other) = (bench.store(), bench.store());
    claim(&store, key, 1, NOW).await;
    for now in [NOW, NOW + 9_999] {
        let refused = other.claim(key, request(2, now)).await;
        assert_eq!(refused, Ok(Claimed::No { until: NOW + 10_000 }));
    }
    store.release(key, Owner(1)).await.unwrap();
    assert_eq!(
        claim(&other, key, 2, NOW + 1).await,
        Record::default(),
        "given back: nothing was left behind"
    );
    claim(&store, &fresh_key(), 1, NOW).await;
}

async fn what_an_ended_claim_left_behind_stays_until_a_settle(bench: &Bench, key: &Key) {
    let (store, other) = (bench.store(), bench.store());
    claim(&store, key, 1, NOW).await;
    // The first crashes, then the second, at once; the third gives back.
    let second = claim(&other, key, 2, NOW + 10_000).await;
    assert_eq!(second.pending, [left_behind(1, NOW, None)]);
    let both = [left_behind(1, NOW, None), left_behind(2, NOW + 10_000, None)];
    assert_eq!(claim(&store, key, 3, NOW + 20_000).await.pending, both);
    store.release(key, Owner(3)).await.unwrap();
    let mut fourth = claim(&other, key, 4, NOW + 20_000).await;
    assert_eq!(fourth.pending, both);
    fourth.pending.remove(0);
    other.settle(key, Owner(4), fourth.clone()).await.unwrap();
    assert_eq!(claim(&store, key, 5, NOW + 20_000).await, fourth);
}

async fn left_behind_writes_are_conditional_on_the_known_etag(bench: &Bench, key: &Key) {
    let store = bench.store();
    claim(&store, key, 1, NOW).await;
    let settled = Record { etag: Some(Etag(7)), ..a_record() };
    store.settle(key, Owner(1), settled.clone()).await.unwrap();
    claim(&store, key, 2, NOW).await;
    let mut expected = settled;
    expected.pending.push(left_behind(2, NOW, Some(Etag(7))));
    assert_eq!(claim(&store, key, 3, NOW + 10_000).await, expected);
}

async fn an_owner_prolongs_its_claim(bench: &Bench, key: &Key) {
    let (store, other) = (bench.store(), bench.store());
    claim(&store, key, 1, NOW).await;
    assert_eq!(claim(&store, key, 1, NOW + 5_000).await, Record::default());
    let refused = other.claim(key, request(2, NOW + 12_000)).await;
    assert_eq!(refused, Ok(Claimed::No { until: NOW + 15_000 }));
    assert_eq!(claim(&store, key, 1, NOW + 20_000).await, Record::default(), "ended, but nobody else's");
    let pending = claim(&other, key, 2, NOW + 30_000).await.pending;
    assert_eq!(pending, [left_behind(1, NOW + 20_000, None)]);
    assert_eq!(claim(&other, key, 2, NOW + 31_000).await.pending, pending, "prolonged, it still knows");
}

async fn who_lost_its_claim_writes_nothing(bench: &Bench, key: &Key) {
    let (store, other) = (bench.store(), bench.store());
    claim(&store, key, 1, NOW).await;
    claim(&other, key, 2, NOW + 10_000).await;
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Lost));
    store.release(key, Owner(1)).await.unwrap();
    let held = other.claim(key, request(3, NOW + 10_000)).await;
    assert_eq!(held, Ok(Claimed::No { until: NOW + 20_000 }));
    let mine = Record { etag: Some(Etag(2)), ..Record::default() };
    assert_eq!(other.settle(key, Owner(2), mine.clone()).await, Ok(Settled::Yes));
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Lost));
    assert_eq!(claim(&store, key, 3, NOW + 10_000).await, mine);
}

async fn an_ended_claim_that_nobody_took_still_settles(bench: &Bench, key: &Key) {
    let store = bench.store();
    claim(&store, key, 1, NOW).await;
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Yes));
    assert_eq!(claim(&store, key, 2, NOW + 60_000).await, a_record());
}

async fn giving_back_what_is_not_held_does_nothing(bench: &Bench, key: &Key) {
    let store = bench.store();
    store.release(key, Owner(1)).await.unwrap();
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Lost));
    assert_eq!(bench.item(key).await, None);
    claim(&store, key, 1, NOW).await;
    store.release(key, Owner(1)).await.unwrap();
    store.release(key, Owner(1)).await.unwrap();
    assert_eq!(store.settle(key, Owner(1), Record::default()).await, Ok(Settled::Lost));
}

/// The SDK repeats a request whose answer was lost.
async fn a_settle_can_be_repeated(bench: &Bench, key: &Key) {
    let (store, other) = (bench.store(), bench.store());
    claim(&store, key, 1, NOW).await;
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Yes));
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Yes));
    assert_eq!(store.settle(key, Owner(1), Record::default()).await, Ok(Settled::Lost));
    claim(&other, key, 2, NOW).await;
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Yes), "the second stands on it");
    let next = Record { etag: Some(Etag(2)), ..Record::default() };
    other.settle(key, Owner(2), next).await.unwrap();
    assert_eq!(store.settle(key, Owner(1), a_record()).await, Ok(Settled::Lost));
}

async fn an_owner_may_come_back(bench: &Bench, key: &Key) {
    let store = bench.store();
    claim(&store, key, 1, NOW).await;
    store.settle(key, Owner(1), a_record()).await.unwrap();
    assert_eq!(claim(&store, key, 1, NOW + 1).await, a_record());
    store.release(key, Owner(1)).await.unwrap();
    assert_eq!(claim(&store, key, 1, NOW + 2).await, a_record());
    store.release(key, Owner(1)).await.unwrap();
    claim(&store, key, 2, NOW + 3).await;
    let record = claim(&store, key, 1, NOW + 20_000).await;
    assert_eq!(record.pending.last(), Some(&left_behind(2, NOW + 3, Some(Etag(u64::MAX)))));
}

async fn old_records_are_forgotten_by_our_clock(bench: &Bench, key: &Key) {
    const DAY: Millis = 24 * 60 * 60 * 1000;
    let store = bench.store();
    claim(&store, key, 1, NOW).await;
    store.settle(key, Owner(1), a_record()).await.unwrap();
    let expires = bench.item(key).await.unwrap()["expires"].as_n().unwrap().clone();
    assert_eq!(expires, ((NOW + 90 * DAY) / 1000).to_string(), "seconds, as TTL reads them");
    assert_eq!(claim(&store, key, 2, NOW + 89 * DAY).await, a_record());
    store.release(key, Owner(2)).await.unwrap();
    assert_eq!(claim(&store, key, 3, NOW + 178 * DAY).await, a_record(), "the last claim counts");
    store.release(key, Owner(3)).await.unwrap();
    assert_eq!(claim(&store, key, 4, NOW + 268 * DAY).await, Record::default());
}

async fn endless_crashes_do_not_grow_the_item(bench: &Bench, key: &Key) {
    let store = bench.store();
    let mut most = 0;
    for round in 1..=200_u64 {
        // A claim an hour, none of them closed
        let now = NOW + round * 3_600_000;
        let pending = claim(&store, key, round.into(), now).await.pending;
        let last = (round > 1).then(|| left_behind(round - 1, now - 3_600_000, None));
        assert_eq!(pending.last(), last.as_ref());
        most = most.max(bench.item(key).await.unwrap()["left_behind"].as_l().unwrap().len());
    }
    assert!(most <= 32, "{most}");
}
