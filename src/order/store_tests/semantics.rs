//! Claim, settle and release, one rule a function.

use super::*;

type Any = Arc<dyn Store>;

pub(crate) async fn an_unknown_resource_has_the_default_record(store: Any, _: Scale) {
    assert_eq!(remembered(&*store, &fresh_key(), now()).await, Record::default());
}

pub(crate) async fn what_was_settled_is_read_and_the_claim_is_free(store: Any, _: Scale) {
    let (key, now) = (fresh_key(), now());
    for number in 1..5 {
        settled(&*store, &key, now, forwarded(number)).await;
        assert_eq!(remembered(&*store, &key, now).await, forwarded(number));
    }
}

pub(crate) async fn a_release_leaves_the_record(store: Any, _: Scale) {
    let (key, now) = (fresh_key(), now());
    settled(&*store, &key, now, forwarded(3)).await;
    for _ in 0..3 {
        assert_eq!(remembered(&*store, &key, now).await, forwarded(3));
    }
    // What was never claimed, or is not any more, is released without a word.
    store.release(&key, fresh_owner()).await.unwrap();
    store.release(&fresh_key(), fresh_owner()).await.unwrap();
    assert_eq!(remembered(&*store, &key, now).await, forwarded(3));
}

pub(crate) async fn nobody_else_gets_a_held_claim(store: Any, _: Scale) {
    let (key, now, owner) = (fresh_key(), now(), fresh_owner());
    claimed(&*store, &key, request(owner, now, Write::Delete)).await;
    for later in [0, 1, 9_999] {
        let other = request(fresh_owner(), now + later, Write::Current);
        assert_eq!(store.claim(&key, other).await.unwrap(), Claimed::No { until: now + 10_000 });
    }
    store.release(&key, fresh_owner()).await.unwrap();
    let other = request(fresh_owner(), now, Write::Current);
    assert_eq!(store.claim(&key, other).await.unwrap(), Claimed::No { until: now + 10_000 });
    assert_eq!(store.settle(&key, owner, forwarded(1)).await.unwrap(), Settled::Yes);
    assert_eq!(remembered(&*store, &key, now).await, forwarded(1));
}

pub(crate) async fn its_owner_gets_a_held_claim_again(store: Any, _: Scale) {
    let (key, now, owner) = (fresh_key(), now(), fresh_owner());
    claimed(&*store, &key, request(owner, now, Write::Delete)).await;
    let record = claimed(&*store, &key, request(owner, now + 5_000, Write::Delete)).await;
    assert_eq!(record, Record::default());
    // It was renewed: its new end counts.
    let other = request(fresh_owner(), now + 11_000, Write::Current);
    assert_eq!(store.claim(&key, other).await.unwrap(), Claimed::No { until: now + 15_000 });
    assert_eq!(store.settle(&key, owner, forwarded(1)).await.unwrap(), Settled::Yes);
    assert_eq!(remembered(&*store, &key, now).await, forwarded(1));
}

pub(crate) async fn a_claim_that_ended_leaves_its_write_behind(store: Any, _: Scale) {
    let (key, now) = (fresh_key(), now());
    let write = Write::Upsert(version(7));
    claimed(&*store, &key, request(fresh_owner(), now, write.clone())).await;
    let left = vec![Pending { write, if_match: None, until: now + 15_000 }];
    // Again and again, until a settle says what became of it.
    for later in [10_000, 10_001, 12_000] {
        assert_eq!(remembered(&*store, &key, now + later).await.pending, left, "{later}");
    }
    settled(&*store, &key, now + 12_000, forwarded(7)).await;
    assert_eq!(remembered(&*store, &key, now + 12_000).await, forwarded(7));
}

pub(crate) async fn a_silent_end_after_a_settle_is_fenced_by_the_etag(store: Any, _: Scale) {
    let (key, now) = (fresh_key(), now());
    settled(&*store, &key, now, forwarded(3)).await;
    claimed(&*store, &key, request(fresh_owner(), now, Write::Delete)).await;
    let record = remembered(&*store, &key, now + 10_000).await;
    let left = Pending { write: Write::Delete, if_match: Some(Etag(3)), until: now + 15_000 };
    assert_eq!(record, Record { pending: vec![left], ..forwarded(3) });
}

pub(crate) async fn several_silent_ends_are_all_told(store: Any, _: Scale) {
    let (key, now) = (fresh_key(), now());
    claimed(&*store, &key, request(fresh_owner(), now, Write::Delete)).await;
    claimed(&*store, &key, request(fresh_owner(), now + 10_000, Write::Current)).await;
    // A settle that keeps one of them is taken at its word.
    let owner = fresh_owner();
    let mut record = claimed(&*store, &key, request(owner, now + 20_000, Write::Delete)).await;
    record.pending.sort_by_key(|pending| pending.until);
    let left = |write, until| Pending { write, if_match: None, until };
    let current = left(Write::Current, now + 25_000);
    // The first can't land any more; whether it is still told does not matter.
    record.pending.retain(|pending| pending.until > now + 20_000);
    assert_eq!(record.pending, std::slice::from_ref(&current));
    let kept = Record { pending: vec![current], ..forwarded(9) };
    assert_eq!(store.settle(&key, owner, kept.clone()).await.unwrap(), Settled::Yes);
    assert_eq!(remembered(&*store, &key, now + 20_000).await, kept);
}

pub(crate) async fn a_stale_owner_can_neither_settle_nor_release(store: Any, _: Scale) {
    let (key, now) = (fresh_key(), now());
    let (stale, holder) = (fresh_owner(), fresh_owner());
    claimed(&*store, &key, request(stale, now, Write::Delete)).await;
    claimed(&*store, &key, request(holder, now + 10_000, Write::Current)).await;
    assert_eq!(store.settle(&key, stale, forwarded(1)).await.unwrap(), Settled::Lost);
    store.release(&key, stale).await.unwrap();
    let other = request(fresh_owner(), now + 11_000, Write::Current);
    assert_eq!(store.claim(&key, other).await.unwrap(), Claimed::No { until: now + 20_000 });
    assert_eq!(store.settle(&key, holder, forwarded(2)).await.unwrap(), Settled::Yes);
    assert_eq!(store.settle(&key, holder, forwarded(3)).await.unwrap(), Settled::Lost);
    assert_eq!(remembered(&*store, &key, now + 11_000).await, forwarded(2));
}

pub(crate) async fn a_late_settle_counts_while_nobody_claimed(store: Any, _: Scale) {
    let (key, now, owner) = (fresh_key(), now(), fresh_owner());
    let past = ClaimRequest { until: now - 60_000, now: now - 70_000, ..request(owner, now, Write::Delete) };
    claimed(&*store, &key, past).await;
    assert_eq!(store.settle(&key, owner, forwarded(1)).await.unwrap(), Settled::Yes);
    assert_eq!(remembered(&*store, &key, now).await, forwarded(1));
}

pub(crate) async fn a_settle_without_a_claim_is_lost(store: Any, _: Scale) {
    let (key, now, owner) = (fresh_key(), now(), fresh_owner());
    assert_eq!(store.settle(&key, owner, forwarded(1)).await.unwrap(), Settled::Lost);
    claimed(&*store, &key, request(owner, now, Write::Delete)).await;
    store.release(&key, owner).await.unwrap();
    assert_eq!(store.settle(&key, owner, forwarded(1)).await.unwrap(), Settled::Lost);
    assert_eq!(remembered(&*store, &key, now).await, Record::default());
}

pub(crate) async fn resources_do_not_touch_each_other(store: Any, _: Scale) {
    let now = now();
    let id = uuid::Uuid::new_v4().to_string();
    let keys = ["Patient", "PatientX", "Observation"].map(|kind| Key::new(kind, &id).unwrap());
    for (number, key) in (1..).zip(&keys) {
        settled(&*store, key, now, forwarded(number)).await;
    }
    claimed(&*store, &keys[0], request(fresh_owner(), now, Write::Delete)).await;
    assert_eq!(remembered(&*store, &keys[1], now).await, forwarded(2));
    assert_eq!(remembered(&*store, &keys[2], now).await, forwarded(3));
}
