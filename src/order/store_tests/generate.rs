//! Records as they may come, and some that never should.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::{Etag, Pending, Record, Write};
use crate::delivery::Version;
use crate::order::record::{Seen, Tombstone};

pub(crate) fn versions() -> impl Strategy<Value = Version> {
    let id = prop_oneof![
        any::<u64>().prop_map(|id| id.to_string()),
        (1..50_u64).prop_map(|id| id.to_string()),
        "[A-Za-z0-9.-]{1,64}",
        "0[0-9]{1,20}",
    ];
    let updated = prop_oneof![
        "20[0-9]{2}-0[1-9]-[12][0-9]T1[0-9]:[0-5][0-9]:[0-5][0-9]([.][0-9]{1,9})?(Z|[+-](0[0-9]|1[0-4]):[0-5][0-9])",
        "[ -~]{0,80}",
    ];
    (option::of(id), option::of(updated)).prop_map(|(id, updated)| Version {
        version_id: id.map(Into::into),
        last_updated: updated.map(Into::into),
    })
}

pub(crate) fn writes() -> impl Strategy<Value = Write> {
    prop_oneof![versions().prop_map(Write::Upsert), Just(Write::Delete), Just(Write::Current)]
}

fn etags() -> impl Strategy<Value = Option<Etag>> {
    option::of((0..u64::MAX / 2).prop_map(Etag))
}

pub(crate) fn records() -> impl Strategy<Value = Record> {
    let pending = (writes(), etags(), any::<u64>()).prop_map(|(write, if_match, until)| Pending {
        write,
        if_match,
        until,
    });
    let numbers = prop_oneof![vec(1..80_u64, 0..80), vec(any::<u64>(), 0..3)];
    (option::of(versions()), numbers, option::of(any::<u64>()), etags(), vec(pending, 0..4)).prop_map(
        |(forwarded, numbers, deleted, etag, pending)| {
            let mut seen = Seen::default();
            let id = forwarded.as_ref().and_then(|version| version.version_id.as_deref()?.parse().ok());
            numbers.into_iter().chain(id).for_each(|number| seen.add(number));
            Record { forwarded, seen, deleted: deleted.map(|at| Tombstone { at }), etag, pending }
        },
    )
}
