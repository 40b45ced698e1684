//! What may be sent, given what is remembered: contract, section Order, rules 2 to 4. Plain functions: no clock,
//! no I/O.

use std::cmp::Ordering;

use super::record::{Millis, Record};
use super::version::{compare, instant_millis, whole_number};
use crate::delivery::Version;

/// What a rule says of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    Send,
    /// Older than what was forwarded.
    Superseded,
    /// The deliveries do not tell. The CDR knows; without it, `without_cdr` is done and counted.
    InDoubt {
        without_cdr: Fallback,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Fallback {
    Send,
    Supersede,
}

/// An upsert of `version`. `horizon`: after so long a sender has stopped repeating old deliveries. `clock_skew`: a CDR's
/// clock may be ahead of ours by this much, and by the time that its DELETE was on its way, before a
/// `meta.lastUpdated` proves too much.
pub fn upsert(record: &Record, version: &Version, now: Millis, horizon: Millis, clock_skew: Millis) -> Rule {
    let order = record.forwarded.as_ref().and_then(|forwarded| compare(version, forwarded));
    let updated = instant_millis(version);
    let Some(tombstone) = record.tombstone() else {
        let before = record.forwarded.as_ref().and_then(instant_millis);
        // Numbers and clock disagree: versions have begun anew, in a CDR that was restored from a backup. Which of the
        // two is from before that?
        let disagree = match (order, updated, before) {
            (Some(Ordering::Less), Some(updated), Some(before)) => {
                updated > before.saturating_add(clock_skew)
            }
            (Some(Ordering::Greater), Some(updated), Some(before)) => {
                before > updated.saturating_add(clock_skew)
            }
            _ => false,
        };
        return match order {
            Some(Ordering::Less) if disagree => Rule::InDoubt { without_cdr: Fallback::Supersede },
            Some(Ordering::Less) => Rule::Superseded,
            _ if disagree => Rule::InDoubt { without_cdr: Fallback::Send },
            _ => Rule::Send,
        };
    };
    let since = updated.is_some_and(|updated| updated > tombstone.at.saturating_add(clock_skew));
    if matches!(order, Some(Ordering::Less | Ordering::Equal)) {
        // Not newer than what was deleted, and written after the deletion: the same.
        return if since { Rule::InDoubt { without_cdr: Fallback::Supersede } } else { Rule::Superseded };
    }
    // Written at the CDR after the DELETE had already come: a re-creation. Nothing but the clock tells: the next but one
    // after the deleted version may be the re-creation, or the last update before a DELETE that overtook it.
    if since {
        return Rule::Send;
    }
    // A raw Binary without If-Match says nothing of its version: arrival order is all there is.
    if *version == Version::default() {
        return Rule::InDoubt { without_cdr: Fallback::Send };
    }
    // A re-creation, or an update from before the delete that was overtaken by it. Safe against resurrection
    // first, as long as the sender may still be repeating such an update.
    let late = now <= tombstone.at + horizon;
    Rule::InDoubt { without_cdr: if late { Fallback::Supersede } else { Fallback::Send } }
}

/// A DELETE: it carries no version. Where every version up to the newest has come, none of them can have been a
/// deletion, so that this one is newer than all. Otherwise it may be a late one, from before a re-creation.
pub fn delete(record: &Record) -> Rule {
    let newest = record.forwarded.as_ref().and_then(whole_number);
    if record.tombstone().is_some() || newest.is_some_and(|newest| record.seen.whole_up_to(newest)) {
        return Rule::Send;
    }
    Rule::InDoubt { without_cdr: Fallback::Send }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::record::Tombstone;
    use super::*;

    const NOW: Millis = 1_800_000_000_000;
    const HORIZON: Millis = 120_000;
    const CLOCK_SKEW: Millis = 50;

    fn v(number: u32) -> Version {
        Version { version_id: Some(number.to_string().into()), last_updated: None }
    }

    fn at(number: u32, millis: Millis) -> Version {
        let instant = jiff::Timestamp::from_millisecond(millis as i64).unwrap();
        Version { last_updated: Some(instant.to_string().into()), ..v(number) }
    }

    fn record(versions: &[u32], deleted: Option<Millis>) -> Record {
        let mut record = Record { deleted: deleted.map(|at| Tombstone { at }), ..Record::default() };
        for number in versions {
            record.seen.add((*number).into());
            record.forwarded = Some(v(*number));
        }
        record
    }

    fn up(record: &Record, version: &Version) -> Rule {
        upsert(record, version, NOW, HORIZON, CLOCK_SKEW)
    }

    const DOUBT_SUPERSEDE: Rule = Rule::InDoubt { without_cdr: Fallback::Supersede };
    const DOUBT_SEND: Rule = Rule::InDoubt { without_cdr: Fallback::Send };

    #[test]
    fn rule_2_older_is_superseded_equal_and_newer_are_sent() {
        let record = record(&[1, 2], None);
        assert_eq!(up(&record, &v(1)), Rule::Superseded);
        assert_eq!(up(&record, &v(2)), Rule::Send);
        assert_eq!(up(&record, &v(3)), Rule::Send);
        assert_eq!(up(&record, &Version::default()), Rule::Send, "arrival order");
        assert_eq!(up(&Record::default(), &v(1)), Rule::Send);
    }

    #[test]
    fn rule_3_what_was_deleted_stays_deleted() {
        let record = record(&[1, 2], Some(NOW - 1000));
        assert_eq!(up(&record, &v(1)), Rule::Superseded);
        assert_eq!(up(&record, &v(2)), Rule::Superseded);
        // 3 may be the update before the delete, 4 the re-creation after it: the numbers alone don't tell.
        assert_eq!(up(&record, &v(3)), DOUBT_SUPERSEDE);
        assert_eq!(up(&record, &v(4)), DOUBT_SUPERSEDE);
        assert_eq!(up(&record, &Version::default()), DOUBT_SEND, "arrival order");
    }

    #[test]
    fn rule_3_a_re_creation_written_after_the_delete_came_is_sent() {
        let record = record(&[1], Some(NOW - 100_000));
        assert_eq!(up(&record, &at(5, NOW)), Rule::Send);
        assert_eq!(up(&record, &at(5, NOW - 100_000 + CLOCK_SKEW)), DOUBT_SUPERSEDE, "the clocks may differ");
    }

    #[test]
    fn rule_4_numbers_that_begin_anew_are_in_doubt_where_the_clock_tells() {
        let mut alive = record(&[1, 2, 3], None);
        alive.forwarded = Some(at(3, NOW - 1000));
        assert_eq!(up(&alive, &at(2, NOW - 1000 + CLOCK_SKEW)), Rule::Superseded);
        assert_eq!(up(&alive, &at(2, NOW)), DOUBT_SUPERSEDE);
        assert_eq!(up(&alive, &at(3, NOW)), Rule::Send);
        // The other way round: a late delivery from before the restore.
        assert_eq!(up(&alive, &at(9, NOW - 5000)), DOUBT_SEND);
        assert_eq!(up(&alive, &at(4, NOW - 1000 - CLOCK_SKEW)), Rule::Send);
        let deleted = Record { deleted: Some(Tombstone { at: NOW - 500 }), ..alive };
        assert_eq!(up(&deleted, &at(1, NOW)), DOUBT_SUPERSEDE);
        assert_eq!(up(&deleted, &at(3, NOW - 1000)), Rule::Superseded);
    }

    /// Found by a seeded storm: 1 is there, 2, 3 and the deletion (4) are made at once, and the DELETE comes first, with
    /// lakehook's clock behind the CDR's.
    #[test]
    fn rule_3_a_number_that_fits_is_no_proof_of_a_re_creation() {
        let mut record = record(&[1], Some(NOW - 1000));
        record.seen.add(3);
        assert_eq!(up(&record, &at(3, NOW - 980)), DOUBT_SUPERSEDE);
        assert_eq!(up(&record, &at(3, NOW - 1000 + CLOCK_SKEW + 1)), Rule::Send);
    }

    /// No DELETE came: the CDR has 2, and HealthLake nothing.
    #[test]
    fn what_is_filtered_is_alive_at_the_cdr() {
        let mut record = record(&[1, 2], None);
        record.deleted = Some(Tombstone::FILTERED);
        assert_eq!(up(&record, &v(1)), Rule::Superseded);
        assert_eq!(up(&record, &v(2)), Rule::Send);
        assert_eq!(up(&record, &v(3)), Rule::Send, "no re-creation: an update");
        assert_eq!(delete(&record), Rule::Send);
        record.seen.add(4);
        assert_eq!(delete(&record), DOUBT_SEND);
    }

    #[test]
    fn beyond_the_sender_s_retries_a_doubtful_upsert_is_sent() {
        let record = record(&[1], Some(NOW - HORIZON - 1));
        assert_eq!(up(&record, &v(3)), DOUBT_SEND);
        assert_eq!(up(&record, &v(1)), Rule::Superseded);
    }

    #[test]
    fn rule_3_a_delete_is_sent_where_no_version_is_missing() {
        assert_eq!(delete(&record(&[1, 2, 3], None)), Rule::Send);
        assert_eq!(delete(&record(&[1], Some(NOW))), Rule::Send, "a repeated delete");
    }

    #[test]
    fn rule_3_a_delete_may_be_a_late_one_where_a_version_is_missing() {
        // 2 may be the deletion that this DELETE tells of, and 3 the re-creation.
        assert_eq!(delete(&record(&[1, 3], None)), DOUBT_SEND);
        assert_eq!(delete(&record(&[7], None)), DOUBT_SEND);
        assert_eq!(delete(&Record::default()), DOUBT_SEND);
    }
}
