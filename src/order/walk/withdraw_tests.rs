//! What the filter keeps out, step by step.

use super::*;

fn withdrawn(version: u64) -> Want {
    Want::Withdraw { version: v(version), look: true }
}

fn filtered(version: u64) -> Record {
    Record { deleted: Some(Tombstone::FILTERED), etag: None, ..alive(&[version], None) }
}

#[test]
fn what_gets_a_denied_label_is_deleted_under_a_condition_and_an_older_version_does_not_come_back() {
    let mut walk = walk(withdrawn(2), false);
    assert_eq!(walk.apply(Event::Begin, NOW), Action::Claim { write: Write::Upsert(v(2)) });
    let delete = walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    assert_eq!(delete, Action::Delete { if_match: Some(Etag(7)) });
    let record = settled(walk.apply(Event::Took { etag: None, earlier: false }, NOW));
    assert_eq!((&record.forwarded, record.is_filtered(), record.etag), (&Some(v(2)), true, None));
    assert_eq!(walk.apply(Event::Settled, NOW), Action::Done(End::Filtered));

    let mut older = Walk::new(Want::Upsert(v(1)), protocol(false), DEADLINE);
    older.apply(Event::Begin, NOW);
    assert_eq!(older.apply(Event::Claimed(record.clone()), NOW), Action::Release);
    assert_eq!(older.apply(Event::Released, NOW), Action::Done(End::Superseded));
    // Its repetition asks nobody, and the next version is an update like any other.
    let mut again = Walk::new(withdrawn(2), protocol(false), DEADLINE);
    again.apply(Event::Begin, NOW);
    assert_eq!(again.apply(Event::Claimed(record.clone()), NOW), Action::Release);
    assert_eq!(again.apply(Event::Released, NOW), Action::Done(End::Filtered));
    let mut next = Walk::new(Want::Upsert(v(3)), protocol(false), DEADLINE);
    next.apply(Event::Begin, NOW);
    let put = next.apply(Event::Claimed(record), NOW);
    assert_eq!(put, Action::Put { if_match: None, current: false });
    let record = settled(next.apply(Event::Took { etag: Some(Etag(9)), earlier: false }, NOW));
    assert_eq!((record.deleted, record.etag), (None, Some(Etag(9))));
}

#[test]
fn where_nothing_is_remembered_healthlake_is_looked_at() {
    let mut walk = walk(withdrawn(1), false);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(Record::default()), NOW), Action::ReadHealthLake);
    // Nothing there: nothing is sent.
    let record = settled(walk.clone().apply(Event::AtHealthLake(None), NOW));
    assert_eq!(record, filtered(1));
    // Something there, from before the memory was lost.
    let delete = walk.apply(Event::AtHealthLake(Some(Etag(4))), NOW);
    assert_eq!(delete, Action::Delete { if_match: Some(Etag(4)) });
    assert_eq!(settled(walk.apply(Event::Gone { earlier: false }, NOW)), filtered(1));
}

#[test]
fn a_type_that_is_kept_out_asks_nobody_and_leaves_no_trace_unless_something_was_mirrored() {
    let want = || Want::Withdraw { version: v(2), look: false };
    let mut never = walk(want(), false);
    never.apply(Event::Begin, NOW);
    assert_eq!(never.apply(Event::Claimed(Record::default()), NOW), Action::Release);
    assert_eq!(never.apply(Event::Released, NOW), Action::Done(End::Filtered));

    let mut before = walk(want(), false);
    before.apply(Event::Begin, NOW);
    let delete = before.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    assert_eq!(delete, Action::Delete { if_match: Some(Etag(7)) });
}

/// v1 was let through and its answer not heard; then it is withdrawn: what may land is waited for.
#[test]
fn a_put_that_may_land_is_waited_for_before_it_is_withdrawn() {
    let until = NOW + 20_000;
    let pending = vec![Pending { write: Write::Upsert(v(1)), if_match: None, until }];
    let record = Record { pending, ..Record::default() };
    for version in [1, 2] {
        let mut walk = Walk::new(withdrawn(version), protocol(false), NOW + 30_000);
        walk.apply(Event::Begin, NOW);
        assert_eq!(walk.apply(Event::Claimed(record.clone()), NOW), Action::Wait { until });
        walk.apply(Event::Woke, until);
        assert_eq!(
            walk.apply(Event::Claimed(record.clone()), until),
            Action::ReadHealthLake,
            "it may have landed"
        );
    }
}

/// The DELETE was not heard of; then the version before it is repeated.
#[test]
fn a_withdrawal_that_may_have_landed_is_not_overtaken_by_an_older_version() {
    let mut walk = walk(withdrawn(2), false);
    walk.apply(Event::Begin, NOW);
    walk.apply(Event::Claimed(alive(&[1], Some(7))), NOW);
    let record = settled(walk.apply(Event::Unknown, NOW));

    let mut older = Walk::new(Want::Upsert(v(1)), protocol(false), DEADLINE);
    older.apply(Event::Begin, NOW);
    let put = older.apply(Event::Claimed(record.clone()), NOW);
    assert_eq!(put, Action::Put { if_match: Some(Etag(7)), current: false });
    older.apply(Event::Precondition { earlier: false }, NOW);
    assert_eq!(older.apply(Event::Claimed(record), NOW), Action::ReadHealthLake);
    let record = settled(older.apply(Event::AtHealthLake(None), NOW));
    assert_eq!(record.forwarded, Some(v(2)));
    assert_eq!(older.apply(Event::Settled, NOW), Action::Done(End::Superseded));
}

#[test]
fn in_doubt_the_cdr_s_label_decides() {
    let mut walk = walk(Want::Delete, true);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(alive(&[1, 3], Some(7))), NOW), Action::AskCdr);
    let delete = walk.apply(Event::CdrHasFiltered(v(4)), NOW);
    assert_eq!(delete, Action::Delete { if_match: Some(Etag(7)) });
    let record = settled(walk.apply(Event::Took { etag: None, earlier: false }, NOW));
    assert!(record.is_filtered(), "the CDR has it");
    // Its real deletion leaves a tombstone, so that no older version comes back.
    let mut gone = Walk::new(Want::Current, protocol(true), DEADLINE);
    gone.apply(Event::Begin, NOW);
    gone.apply(Event::Claimed(record), NOW);
    assert_eq!(gone.apply(Event::CdrGone, NOW), Action::Delete { if_match: None });
}

#[test]
fn what_was_seen_there_is_looked_at_whatever_the_memory_says() {
    let protocol = Protocol { looks_again: true, ..protocol(true) };
    let mut walk = Walk::new(Want::Current, protocol, DEADLINE);
    walk.apply(Event::Begin, NOW);
    assert_eq!(walk.apply(Event::Claimed(filtered(2)), NOW), Action::AskCdr);
    assert_eq!(walk.apply(Event::CdrHasFiltered(v(2)), NOW), Action::ReadHealthLake);
    let delete = walk.apply(Event::AtHealthLake(Some(Etag(5))), NOW);
    assert_eq!(delete, Action::Delete { if_match: Some(Etag(5)) });
}
