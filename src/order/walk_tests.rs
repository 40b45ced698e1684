//! Single ways, step by step.

#![allow(clippy::unwrap_used)]

use super::*;

const NOW: Millis = 1_800_000_000_000;
const DEADLINE: Millis = NOW + 8_000;

fn v(number: u64) -> Version {
    Version { version_id: Some(number.to_string().into()), last_updated: None }
}

fn protocol(has_cdr: bool) -> Protocol {
    Protocol {
        has_cdr,
        settle: 20_000,
        horizon: 120_000,
        clock_skew: 50,
        belated: false,
        looks_again: false,
        on_store_failure: OnStoreFailure::Refuse,
    }
}

fn walk(want: Want, has_cdr: bool) -> Walk {
    Walk::new(want, protocol(has_cdr), DEADLINE)
}

fn alive(versions: &[u64], etag: Option<u64>) -> Record {
    let mut record = Record { etag: etag.map(Etag), ..Record::default() };
    for number in versions {
        record.seen.add(*number);
        record.forwarded = Some(v(*number));
    }
    record
}

fn settled(action: Action) -> Record {
    match action {
        Action::Settle(record) => record,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_upsert_is_claimed_sent_and_settled() {
    let mut walk = walk(Want::Upsert(v(1)), false);
    assert_eq!(walk.apply(Event::Begin, NOW), Action::Claim { write: Write::Upsert(v(1)) });
    let put = walk.apply(Event::Claimed(Record::default()), NOW);
    assert_eq!(put, Action::Put { if_match: None, current: false });
    let record = settled(walk.apply(Event::Took { etag: Some(Etag(1)), earlier: false }, NOW));
    assert_eq!(record, alive(&[1], Some(1)));
    assert_eq!(walk.apply(Event::Settled, NOW), Action::Done(End::Answered));
}

#[test]
fn the_next_one_is_conditional_on_healthlake_s_version() {
    let mut walk = walk(Want::Upsert(v(2)), false);
    walk.apply(Event::Begin, NOW);
    let put = walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    assert_eq!(put, Action::Put { if_match: Some(Etag(7)), current: false });
}

#[test]
fn an_older_one_is_released_as_superseded() {
    let mut walk = walk(Want::Upsert(v(1)), false);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(alive(&[1, 2], Some(7))), NOW), Action::Release);
    assert_eq!(walk.apply(Event::Released, NOW), Action::Done(End::Superseded));
}

/// v2 timed out under a condition; then v1 is repeated. Whether v2 landed is HealthLake's to say.
#[test]
fn rule_6_an_unknown_outcome_is_told_by_the_condition() {
    let mut walk = walk(Want::Upsert(v(2)), false);
    walk.apply(Event::Begin, NOW);
    walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    let record = settled(walk.apply(Event::Unknown, NOW));
    assert_eq!(record.pending.len(), 1);
    assert_eq!(record.forwarded, Some(v(1)));

    let mut older = Walk::new(Want::Upsert(v(1)), protocol(false), DEADLINE);
    older.apply(Event::Begin, NOW);
    let put = older.apply(Event::Claimed(record.clone()), NOW);
    assert_eq!(put, Action::Put { if_match: Some(Etag(7)), current: false });
    // It did land.
    let mut landed = older.clone();
    assert!(
        matches!(landed.apply(Event::Precondition { earlier: false }, NOW), Action::Claim { .. }),
        "does the claim still hold?"
    );
    assert_eq!(landed.apply(Event::Claimed(record.clone()), NOW), Action::ReadHealthLake);
    let record = settled(landed.apply(Event::AtHealthLake(Some(Etag(8))), NOW));
    assert_eq!((record.forwarded, record.etag), (Some(v(2)), Some(Etag(8))));
    assert_eq!(landed.apply(Event::Settled, NOW), Action::Done(End::Superseded));
    // It did not, and can't any more.
    let record = settled(older.apply(Event::Took { etag: Some(Etag(8)), earlier: false }, NOW));
    assert_eq!((record.forwarded, record.pending.len()), (Some(v(1)), 0));
}

#[test]
fn rule_6_an_unconditional_write_is_waited_for_but_not_by_its_own_retry() {
    let mut first = walk(Want::Upsert(v(1)), false);
    first.apply(Event::Begin, NOW);
    first.apply(Event::Claimed(Record::default()), NOW);
    let record = settled(first.apply(Event::Unknown, NOW));

    let mut retry = walk(Want::Upsert(v(1)), false);
    retry.apply(Event::Begin, NOW + 1000);
    let put = retry.apply(Event::Claimed(record.clone()), NOW + 1000);
    assert_eq!(put, Action::Put { if_match: None, current: false });
    let record = settled(retry.apply(Event::Took { etag: Some(Etag(1)), earlier: false }, NOW + 1000));
    assert_eq!(record.pending.len(), 1, "the first copy may land yet");

    // No time to wait: come again.
    let mut hurried = walk(Want::Upsert(v(2)), false);
    hurried.apply(Event::Begin, NOW + 2000);
    assert!(matches!(hurried.apply(Event::Claimed(record.clone()), NOW + 2000), Action::Settle(_)));
    assert_eq!(hurried.apply(Event::Settled, NOW + 2000), Action::Done(End::Unsettled));
    // Time enough.
    let mut patient = Walk::new(Want::Upsert(v(2)), protocol(false), NOW + 30_000);
    patient.apply(Event::Begin, NOW + 15_000);
    let wait = patient.apply(Event::Claimed(record.clone()), NOW + 15_000);
    assert_eq!(wait, Action::Wait { until: NOW + 20_000 });
    assert!(matches!(patient.apply(Event::Woke, NOW + 20_000), Action::Claim { .. }));
    let put = patient.apply(Event::Claimed(record), NOW + 20_000);
    assert_eq!(put, Action::Put { if_match: Some(Etag(1)), current: false });
}

/// Rule 5: the DELETE of a re-creation comes last.
#[test]
fn rule_3_a_late_delete_does_not_take_a_re_creation_away_where_the_cdr_is_asked() {
    let mut walk = walk(Want::Delete, true);
    assert_eq!(walk.apply(Event::Begin, NOW), Action::Claim { write: Write::Current });
    assert_eq!(walk.apply(Event::Claimed(alive(&[1, 3], Some(2))), NOW), Action::AskCdr);
    assert_eq!(walk.apply(Event::CdrHas(v(3)), NOW), Action::Release);
    assert_eq!(walk.apply(Event::Released, NOW), Action::Done(End::Superseded));
    assert!(walk.asked_cdr && !walk.in_doubt);
}

/// A dead letter is sent long after it came: what it says may be long overtaken.
#[test]
fn what_is_belated_is_not_sent_where_nothing_tells() {
    let belated = Protocol { belated: true, ..protocol(false) };
    let long_ago = Tombstone { at: NOW - 10 * belated.horizon };
    for (want, record) in [
        (Want::Delete, alive(&[1, 3], Some(2))),
        (Want::Upsert(v(3)), Record { deleted: Some(long_ago), ..alive(&[1], Some(2)) }),
        (Want::Upsert(Version::default()), Record { deleted: Some(long_ago), ..alive(&[1], Some(2)) }),
    ] {
        let mut walk = Walk::new(want.clone(), belated, NOW + 8_000);
        walk.apply(Event::Begin, NOW);
        assert!(
            !matches!(walk.apply(Event::Claimed(record), NOW), Action::Put { .. } | Action::Delete { .. }),
            "{want:?}"
        );
        assert!(walk.in_doubt, "{want:?}");
    }
    // What is proven is sent.
    for (want, record) in
        [(Want::Delete, alive(&[1, 2], Some(2))), (Want::Upsert(v(3)), alive(&[1], Some(2)))]
    {
        let mut walk = Walk::new(want.clone(), belated, NOW + 8_000);
        walk.apply(Event::Begin, NOW);
        let sent = walk.apply(Event::Claimed(record), NOW);
        assert!(matches!(sent, Action::Put { .. } | Action::Delete { .. }), "{want:?}");
    }
}

#[test]
fn rule_4_without_a_cdr_a_doubtful_delete_is_sent_and_counted() {
    let mut walk = walk(Want::Delete, false);
    walk.apply(Event::Begin, NOW);
    let delete = walk.apply(Event::Claimed(alive(&[1, 3], Some(2))), NOW);
    assert_eq!(delete, Action::Delete { if_match: Some(Etag(2)) });
    assert!(walk.in_doubt);
    let record = settled(walk.apply(Event::Gone { earlier: false }, NOW));
    assert_eq!((record.deleted, record.etag), (Some(Tombstone { at: NOW }), None));
}

#[test]
fn rule_4_a_doubtful_upsert_sends_what_the_cdr_has_now() {
    let mut deleted = alive(&[1], None);
    deleted.deleted = Some(Tombstone { at: NOW - 1000 });
    let mut walk = walk(Want::Upsert(v(3)), true);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(deleted.clone()), NOW), Action::Claim { write: Write::Current });
    assert_eq!(walk.apply(Event::Claimed(deleted.clone()), NOW), Action::AskCdr);
    let put = walk.clone().apply(Event::CdrHas(v(5)), NOW);
    assert_eq!(put, Action::Put { if_match: None, current: true });
    // Or it is gone for good: nothing comes back.
    assert!(matches!(walk.clone().apply(Event::CdrGone, NOW), Action::Settle(_)));
    // Or it can't be asked: the sender repeats it.
    walk.apply(Event::CdrFailed, NOW);
    assert_eq!(walk.apply(Event::Settled, NOW), Action::Done(End::CdrFailed));
}

#[test]
fn a_failed_store_refuses_or_forwards_as_set() {
    let mut refusing = walk(Want::Upsert(v(1)), false);
    refusing.apply(Event::Begin, NOW);
    assert_eq!(refusing.apply(Event::StoreFailed, NOW), Action::Done(End::StoreFailed));
    let forward = Protocol { on_store_failure: OnStoreFailure::Forward, ..protocol(false) };
    let mut forwarding = Walk::new(Want::Upsert(v(1)), forward, DEADLINE);
    forwarding.apply(Event::Begin, NOW);
    let put = forwarding.apply(Event::StoreFailed, NOW);
    assert_eq!(put, Action::Put { if_match: None, current: false });
    let done = forwarding.apply(Event::Took { etag: None, earlier: false }, NOW);
    assert_eq!(done, Action::Done(End::Answered));
}

#[test]
fn a_claim_that_another_replica_holds_is_looked_at_until_the_deadline() {
    let mut walk = walk(Want::Delete, false);
    walk.apply(Event::Begin, NOW);
    let wait = walk.apply(Event::Held { until: NOW + 10_000 }, NOW);
    assert_eq!(wait, Action::Wait { until: NOW + POLL });
    let end = walk.apply(Event::Held { until: NOW + 10_000 }, DEADLINE - 1);
    assert_eq!(end, Action::Done(End::Unsettled));
}

#[test]
fn a_lost_claim_is_noticed_and_the_sender_repeats() {
    let mut walk = walk(Want::Upsert(v(2)), true);
    walk.apply(Event::Begin, NOW);
    walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    walk.apply(Event::Took { etag: Some(Etag(8)), earlier: false }, NOW);
    assert_eq!(walk.apply(Event::Lost, NOW), Action::Done(End::Unsettled));
}

#[test]
fn what_is_learned_after_the_deadline_is_not_written() {
    let mut walk = walk(Want::Upsert(v(1)), false);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(Record::default()), DEADLINE), Action::Release);
    assert_eq!(walk.apply(Event::Released, DEADLINE), Action::Done(End::Unsettled));
}

/// Whoever asked the CDR and then crashed has written something that is not known by its version.
#[test]
fn what_a_crashed_asker_left_behind_is_asked_again() {
    let mut record = alive(&[1], None);
    record.pending = vec![Pending { write: Write::Current, if_match: None, until: NOW - 1 }];
    let mut walk = walk(Want::Upsert(v(2)), true);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(record.clone()), NOW), Action::Claim { write: Write::Current });
    assert_eq!(walk.apply(Event::Claimed(record), NOW), Action::AskCdr);
    let put = walk.apply(Event::CdrHas(v(2)), NOW);
    assert_eq!(put, Action::Put { if_match: None, current: true });
    let record = settled(walk.apply(Event::Took { etag: Some(Etag(1)), earlier: false }, NOW));
    assert!(record.pending.is_empty());
}

/// Found by the storm: the first attempt of v3 landed and was cut, the second met a 412, the third got lost. v2 must
/// not follow.
#[test]
fn rule_6_a_cut_attempt_that_landed_counts_as_forwarded() {
    let mut walk = walk(Want::Upsert(v(3)), false);
    walk.apply(Event::Begin, NOW);
    walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    assert!(matches!(walk.apply(Event::Precondition { earlier: true }, NOW), Action::Claim { .. }));
    assert_eq!(walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW), Action::ReadHealthLake);
    let put = walk.apply(Event::AtHealthLake(Some(Etag(8))), NOW);
    assert_eq!(put, Action::Put { if_match: Some(Etag(8)), current: false });
    let record = settled(walk.apply(Event::Unknown, NOW));
    assert_eq!((record.forwarded.clone(), record.etag), (Some(v(3)), Some(Etag(8))));
    let mut older = Walk::new(Want::Upsert(v(2)), protocol(false), DEADLINE);
    older.apply(Event::Begin, NOW);
    assert!(matches!(older.apply(Event::Claimed(record), NOW), Action::Settle(_)));
    assert_eq!(older.apply(Event::Settled, NOW), Action::Done(End::Superseded));
}

/// Found by a seeded storm: the first attempt took a re-creation away, seconds after the second was answered 404.
#[test]
fn a_cut_delete_whose_repetition_met_nothing_may_land_yet() {
    let mut walk = walk(Want::Delete, true);
    walk.apply(Event::Begin, NOW);
    let gone = Record { deleted: Some(Tombstone { at: NOW }), ..Record::default() };
    let delete = walk.apply(Event::Claimed(gone), NOW);
    assert_eq!(delete, Action::Delete { if_match: None });
    let record = settled(walk.apply(Event::Gone { earlier: true }, NOW));
    let pending = Pending { write: Write::Delete, if_match: None, until: NOW + 20_000 };
    assert_eq!(record.pending, [pending]);
}

/// Found by a seeded storm: the CDR failed when it was asked again, and what had landed was forgotten.
#[test]
fn what_the_cdr_said_and_landed_unheard_stays_in_doubt_until_the_cdr_says_more() {
    let unheard = Pending { write: Write::Current, if_match: Some(Etag(2)), until: NOW + 20_000 };
    let record = Record { pending: vec![unheard.clone()], ..alive(&[1, 2], Some(2)) };
    let mut walk = walk(Want::Upsert(v(4)), true);
    walk.apply(Event::Begin, NOW);
    walk.apply(Event::Claimed(record.clone()), NOW);
    assert_eq!(walk.apply(Event::Claimed(record.clone()), NOW), Action::AskCdr);
    let put = walk.apply(Event::CdrHas(v(9)), NOW);
    assert_eq!(put, Action::Put { if_match: Some(Etag(2)), current: true });
    walk.apply(Event::Precondition { earlier: false }, NOW);
    assert_eq!(walk.apply(Event::Claimed(record), NOW), Action::ReadHealthLake);
    assert_eq!(walk.apply(Event::AtHealthLake(Some(Etag(3))), NOW), Action::AskCdr);
    let record = settled(walk.apply(Event::CdrFailed, NOW));
    assert_eq!((record.pending, record.etag), (vec![unheard], Some(Etag(3))));
}

/// Found by a seeded storm: the first of two attempts had landed, and a claim too late let it be forgotten.
#[test]
fn a_cut_attempt_is_remembered_where_the_deadline_passes_meanwhile() {
    for late in [NOW, DEADLINE] {
        let mut walk = walk(Want::Upsert(v(3)), true);
        walk.apply(Event::Begin, NOW);
        walk.apply(Event::Claimed(alive(&[1, 2], Some(2))), NOW);
        walk.apply(Event::Precondition { earlier: true }, NOW);
        let mut action = walk.apply(Event::Claimed(alive(&[1, 2], Some(2))), late);
        if action == Action::ReadHealthLake {
            action = walk.apply(Event::AtHealthLake(Some(Etag(3))), DEADLINE);
        }
        let record = settled(action);
        let cut = Pending { write: Write::Upsert(v(3)), if_match: Some(Etag(2)), until: NOW + 20_000 };
        assert_eq!((record.pending, record.etag), (vec![cut], Some(Etag(2))));
        assert_eq!(walk.apply(Event::Settled, DEADLINE), Action::Done(End::Unsettled));
    }
}

/// Found by a seeded storm: the older tombstone took an update from before the deletion for a re-creation.
#[test]
fn a_delete_that_waited_does_not_set_the_tombstone_back() {
    let mut walk = walk(Want::Delete, true);
    walk.apply(Event::Begin, NOW);
    let later = Some(Tombstone { at: NOW + 500 });
    let gone = Record { deleted: later, ..alive(&[1], None) };
    walk.apply(Event::Claimed(gone), NOW + 1000);
    let record = settled(walk.apply(Event::Gone { earlier: false }, NOW + 1100));
    assert_eq!(record.deleted, later);
}

#[path = "walk/withdraw_tests.rs"]
mod withdraw;
