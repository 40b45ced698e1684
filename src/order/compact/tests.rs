#![allow(clippy::unwrap_used)]

use proptest::prelude::*;

use super::super::store_tests::{records, versions};
use super::*;

fn encoded(record: &Record) -> Vec<u8> {
    let mut out = Vec::new();
    encode(record, &mut out);
    out
}

proptest! {
    #[test]
    fn every_record_comes_back(record in records()) {
        prop_assert_eq!(decode(&encoded(&record)), Some(record));
    }

    #[test]
    fn every_version_comes_back(version in versions()) {
        let mut out = Vec::new();
        put_version(&version, &mut out);
        prop_assert_eq!(take_version(&mut out.as_slice()), Some(version));
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        decode(&bytes);
        standing(&bytes, 0);
    }
}

#[test]
fn instants_come_back_as_they_were_written() {
    for text in [
        "2026-05-01T12:34:56Z",
        "2026-05-01T12:34:56.7Z",
        "2026-05-01T12:34:56.789+00:00",
        "2026-05-01T12:34:56.789-05:30",
        "2026-05-01T12:34:56.789012+14:00",
        "1969-12-31T23:59:59.999999Z",
        "0001-01-01T00:00:00Z",
        "2026-05-01T00:00:00.000-00:00",
        "2026-05-01T23:59:60Z",
        "2026-05-01t12:34:56z",
        "2026-05-01T12:34:56.123456789Z",
        "2026-05-01T12:34:56,5Z",
        "2026-05-01T12:34:56+0530",
        "20260501T123456Z",
        "2026-05-01 12:34:56Z",
        "2026-05-01T12:34:56+05:30[Asia/Kolkata]",
    ] {
        let version = Version { version_id: None, last_updated: Some(text.into()) };
        let mut out = Vec::new();
        put_version(&version, &mut out);
        assert_eq!(take_version(&mut out.as_slice()), Some(version), "{text}");
    }
}

#[test]
fn a_usual_record_is_small() {
    let mut record = Record {
        forwarded: Some(Version::new(Some("17"), Some("2026-05-01T12:34:56.789+00:00"))),
        etag: Some(Etag(23)),
        ..Record::default()
    };
    (1..=17).for_each(|version| record.seen.add(version));
    assert!(encoded(&record).len() <= 20, "{}", encoded(&record).len());
    record.deleted = Some(Tombstone { at: 1_800_000_000_000 });
    assert!(encoded(&record).len() <= 26, "{}", encoded(&record).len());
}

#[test]
fn what_can_still_land_stands_before_what_may_have_and_that_before_the_rest() {
    let mut record = Record::default();
    let standing_at = |record: &Record, now| standing(&encoded(record), now);
    assert_eq!(standing_at(&record, 0), Standing::Idle);
    record.deleted = Some(Tombstone { at: 10 });
    assert_eq!(standing_at(&record, 20), Standing::Useful);
    assert_eq!(standing_at(&record, 11 + TOMBSTONE_COUNTS), Standing::Idle);
    record.pending.push(Pending { write: Write::Delete, if_match: None, until: 30 });
    assert_eq!(standing_at(&record, 29), Standing::Needed);
    assert_eq!(standing_at(&record, 30), Standing::Useful);
}
