//! Many resources, large ones, and many at once.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;

use super::*;

pub(crate) async fn large_keys_and_versions_come_back(store: Arc<dyn Store>, _: Scale) {
    let now = now();
    let id = format!("{}{}", uuid::Uuid::new_v4(), "x".repeat(28));
    let key = Key::new(&"P".repeat(64), &id).unwrap();
    let version = Version {
        version_id: Some("v".repeat(64).into()),
        last_updated: Some(format!("2026-05-01T12:34:56.{}Z", "1".repeat(9)).into()),
    };
    let pending = Pending { write: Write::Upsert(version.clone()), if_match: None, until: now + 60_000 };
    let record = Record { forwarded: Some(version), pending: vec![pending; 30], ..Record::default() };
    settled(&*store, &key, now, record.clone()).await;
    assert_eq!(remembered(&*store, &key, now).await, record);
}

pub(crate) async fn every_part_of_a_record_comes_back(store: Arc<dyn Store>, scale: Scale) {
    let now = now();
    let mut runner = TestRunner::default();
    for _ in 0..scale.cases {
        let mut record = records().new_tree(&mut runner).unwrap().current();
        // A store may tidy up what can't land any more.
        record.pending.iter_mut().for_each(|pending| pending.until = pending.until.max(now + 60_000));
        let key = fresh_key();
        settled(&*store, &key, now, record.clone()).await;
        assert_eq!(remembered(&*store, &key, now).await, record);
    }
}

pub(crate) async fn many_resources_come_back(store: Arc<dyn Store>, scale: Scale) {
    let now = now();
    let keys: Vec<_> = (0..scale.keys).map(|_| fresh_key()).collect();
    for (number, key) in (1..).zip(&keys) {
        settled(&*store, key, now, forwarded(number)).await;
    }
    for (number, key) in (1..).zip(&keys) {
        assert_eq!(remembered(&*store, key, now).await, forwarded(number), "{key}");
    }
    assert!(store.len().is_none_or(|len| len >= keys.len()));
}

/// Each of 16 adds one to what it reads, again and again: what is there in the end is how often they did.
pub(crate) async fn no_update_is_lost_in_a_storm(store: Arc<dyn Store>, scale: Scale) {
    struct Contended {
        key: Key,
        held: AtomicBool,
        settles: AtomicU64,
    }
    let now = now();
    let contended: Arc<[Contended; 3]> = Arc::new(std::array::from_fn(|_| Contended {
        key: fresh_key(),
        held: AtomicBool::new(false),
        settles: AtomicU64::new(0),
    }));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..16_u64 {
        let (store, contended) = (store.clone(), contended.clone());
        tasks.spawn(async move {
            let mut done = 0;
            while done < scale.rounds {
                let one = &contended[((task + done) % 3) as usize];
                let owner = fresh_owner();
                let claim = store.claim(&one.key, request(owner, now, Write::Current)).await.unwrap();
                let Claimed::Yes(record) = claim else {
                    tokio::time::sleep(Duration::from_micros(200)).await;
                    continue;
                };
                assert!(!one.held.swap(true, Ordering::SeqCst), "two hold one claim");
                assert_eq!(record.pending, []);
                let count = record.seen.parts().0;
                tokio::task::yield_now().await;
                let give_back = done % 5 == 4;
                one.held.store(false, Ordering::SeqCst);
                if give_back {
                    store.release(&one.key, owner).await.unwrap();
                } else {
                    one.settles.fetch_add(1, Ordering::SeqCst);
                    let settled = store.settle(&one.key, owner, forwarded(count + 1)).await.unwrap();
                    assert_eq!(settled, Settled::Yes);
                }
                done += 1;
            }
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    for one in contended.iter() {
        let record = remembered(&*store, &one.key, now).await;
        assert_eq!(record, forwarded(one.settles.load(Ordering::SeqCst)));
    }
}

pub(crate) async fn a_claim_for_one_is_won_by_one(store: Arc<dyn Store>, _: Scale) {
    let (key, now) = (fresh_key(), now());
    let claims = (0..16).map(|_| {
        let (store, key) = (store.clone(), key.clone());
        tokio::spawn(async move { store.claim(&key, request(fresh_owner(), now, Write::Current)).await })
    });
    let mut won = 0;
    for claim in claims.collect::<Vec<_>>() {
        won += usize::from(matches!(claim.await.unwrap().unwrap(), Claimed::Yes(_)));
    }
    assert_eq!(won, 1);
}
