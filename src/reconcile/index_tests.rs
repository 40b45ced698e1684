#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;
use crate::reconcile::canonical::Digest;
use crate::reconcile::side::At;

fn held(content: u8, updated: At) -> Held {
    Held { version: "1".into(), updated, digest: Digest([content; 16]) }
}

fn index() -> (tempfile::TempDir, Index) {
    let folder = tempfile::tempdir().unwrap();
    let index = Index::open(&folder.path().join("i.redb"), "a").unwrap();
    (folder, index)
}

fn suspects(index: &Index) -> BTreeSet<String> {
    index.suspects(None, usize::MAX).unwrap().into_iter().map(|(key, _)| key.to_string()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// The merge of both sides against the same by hand, whether marked while listing or compared afterwards.
    #[test]
    fn what_differs_is_suspected_and_nothing_else(
        ours in prop::collection::btree_map("[a-c]{1,3}", 0_u8..3, 0..30),
        theirs in prop::collection::btree_map("[a-c]{1,3}", 0_u8..3, 0..30),
        mark in any::<bool>(),
    ) {
        let (_folder, index) = index();
        let page = |side: &BTreeMap<String, u8>| -> Vec<(String, Held)> {
            side.iter().map(|(id, content)| (id.clone(), held(*content, 1000))).collect()
        };
        index.add(Which::Cdr, "Patient", &page(&ours), 1, 1, mark).unwrap();
        // Types whose names begin alike do not meet.
        index.add(Which::Cdr, "PatientX", &page(&theirs), 1, 1, false).unwrap();
        index.add(Which::HealthLake, "Patient", &page(&theirs), 1, 1, mark).unwrap();
        let all: BTreeSet<&String> = ours.keys().chain(theirs.keys()).collect();
        let different: BTreeSet<String> = all
            .iter()
            .filter(|id| ours.get(**id) != theirs.get(**id))
            .map(|id| format!("Patient/{id}"))
            .collect();
        if !mark {
            let (compared, suspects) = index.compare("Patient", 1, 5).unwrap();
            prop_assert_eq!((compared, suspects), (all.len() as u64, different.len() as u64));
        }
        prop_assert_eq!(suspects(&index), different);
    }
}

/// Ids, contents, times; several runs.
type Lists = Vec<Vec<(String, u8, i64)>>;

fn lists() -> impl Strategy<Value = Lists> {
    let entry = ("[a-d]{1,2}", 0_u8..3, 1000_i64..1010);
    prop::collection::vec(prop::collection::vec(entry, 0..12), 0..5)
}

fn list(index: &Index, lists: &Lists, sweep: u32) {
    for list in lists {
        let mut listing = index.listing(Which::Cdr, sweep);
        for (id, content, updated) in list {
            listing.add("Patient", id, &held(*content, *updated), 7);
            // Types whose names begin alike do not meet.
            listing.add("PatientX", id, &held(9, 9), 7);
        }
        listing.end().unwrap();
    }
}

fn take_in(index: &Index, sweep: u32) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(index.take_in(Which::Cdr, "Patient", sweep)).unwrap();
}

fn check(index: &Index, model: &BTreeMap<String, (u8, i64)>) -> std::result::Result<(), TestCaseError> {
    for id in ["a", "b", "c", "d", "aa", "ab", "ac", "ad", "bb", "dd"] {
        let known = index.get(Which::Cdr, &Key::new("Patient", id).unwrap()).unwrap();
        let expected = model.get(id).map(|(content, updated)| held(*content, *updated));
        prop_assert_eq!(known.map(|known| known.held), expected, "{}", id);
    }
    for at in 999..1011 {
        let window = Window { from: Some(at), to: Some(at + 1) };
        let expected: Vec<String> =
            model.iter().filter(|(_, (_, updated))| *updated == at).map(|(id, _)| id.clone()).collect();
        prop_assert_eq!(index.ids(Which::Cdr, "Patient", window).unwrap(), expected, "{}", at);
    }
    prop_assert_eq!(index.len(Which::Cdr).unwrap(), model.len() as u64);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    /// In any order, with resources that are listed twice, taken in once or again: what came last counts, and the times
    /// are those of what is there.
    #[test]
    fn whole_lists_are_taken_in_whatever_their_order(first in lists(), second in lists(), again in any::<bool>()) {
        let (_folder, index) = index();
        let mut model = BTreeMap::new();
        for (sweep, lists) in [(1, &first), (2, &second)] {
            list(&index, lists, sweep);
            model.extend(lists.iter().flatten().map(|(id, content, at)| (id.clone(), (*content, *at))));
            take_in(&index, sweep);
            if again {
                // A run that was interrupted lists and takes in once more.
                list(&index, lists, sweep);
                take_in(&index, sweep);
            }
            check(&index, &model)?;
        }
        let listed: BTreeSet<&String> = second.iter().flatten().map(|(id, ..)| id).collect();
        let (compared, suspects) = index.compare("Patient", 2, 5).unwrap();
        prop_assert_eq!((compared, suspects), (model.len() as u64, model.len() as u64));
        prop_assert_eq!(index.len(Which::Cdr).unwrap(), listed.len() as u64, "what was not seen is forgotten");
    }
}

#[test]
fn a_list_that_is_dropped_goes_on_behind_what_it_brought() {
    let (_folder, index) = index();
    let mut listing = index.listing(Which::Cdr, 1);
    listing.add("Patient", "p", &held(1, 1), 1);
    listing.page(Some(("next", Some("page 2".into())))).unwrap();
    assert_eq!(index.text("next").unwrap(), None, "nothing is written for a page");
    drop(listing);
    assert_eq!(index.text("next").unwrap().as_deref(), Some("page 2"));
    take_in(&index, 1);
    assert_eq!(index.len(Which::Cdr).unwrap(), 1);
}

#[test]
fn a_side_s_times_follow_its_resources() {
    let (_folder, index) = index();
    let page: Vec<_> = (0..10).map(|n| (format!("p{n}"), held(1, 1000 + n))).collect();
    index.add(Which::Cdr, "Patient", &page, 1, 1, false).unwrap();
    let count = |from, to| index.count(Which::Cdr, "Patient", Window { from, to }).unwrap();
    assert_eq!((count(None, None), count(Some(1003), Some(1005)), count(Some(1009), None)), (10, 2, 1));
    index.add(Which::Cdr, "Patient", &[("p3".into(), held(2, 2000))], 1, 1, false).unwrap();
    assert_eq!((count(None, None), count(Some(1003), Some(1005)), count(Some(2000), None)), (10, 1, 1));
    let key = Key::new("Patient", "p4").unwrap();
    index.set(Which::Cdr, &key, None, 1, 1).unwrap();
    assert_eq!((count(None, None), count(Some(1003), Some(1005))), (9, 0));
    assert_eq!(index.get(Which::Cdr, &key).unwrap(), None);
    let middle = index.median(Which::Cdr, "Patient", Window::default(), 9).unwrap().unwrap();
    assert_eq!(count(None, Some(middle)), 4);
    let one = Window { from: Some(1000), to: Some(1001) };
    assert_eq!(index.median(Which::Cdr, "Patient", one, 1).unwrap(), None);
    assert_eq!(index.ids(Which::Cdr, "Patient", one).unwrap(), ["p0"]);
}

#[test]
fn what_a_sweep_did_not_see_is_suspected() {
    let (_folder, index) = index();
    let page = |sweep, ids: &[&str]| {
        let page: Vec<_> = ids.iter().map(|id| ((*id).to_owned(), held(1, 1))).collect();
        for which in Which::BOTH {
            index.add(which, "Patient", &page, 1, sweep, false).unwrap();
        }
    };
    page(1, &["a", "b"]);
    assert_eq!(index.compare("Patient", 1, 1).unwrap(), (2, 0));
    page(2, &["a"]);
    assert_eq!(index.compare("Patient", 2, 1).unwrap(), (2, 1));
    assert_eq!(suspects(&index), BTreeSet::from(["Patient/b".to_owned()]));
}

#[test]
fn another_pair_of_servers_begins_anew_and_a_second_process_waits_outside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("i.redb");
    let index = Index::open(&path, "a").unwrap();
    index.add(Which::Cdr, "Patient", &[("p".into(), held(1, 1))], 1, 1, true).unwrap();
    index.keep().unwrap();
    assert!(matches!(Index::open(&path, "a"), Err(IndexError::Locked)));
    drop(index);
    let index = Index::open(&path, "a").unwrap();
    assert_eq!((index.len(Which::Cdr).unwrap(), suspects(&index).len()), (1, 1));
    drop(index);
    let index = Index::open(&path, "b").unwrap();
    assert_eq!((index.len(Which::Cdr).unwrap(), suspects(&index).len()), (0, 0));
    drop(index);
    std::fs::write(&path, b"no database").unwrap();
    assert!(Index::open(&path, "b").is_ok(), "what can't be read is read anew from the servers");
}
