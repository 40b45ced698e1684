//! Synthetic patients in the style of Synthea: US Core profiles, extensions in extensions, claims with money.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::corpus::note;
use crate::validate::{Mode, Validator};

#[derive(Deserialize)]
struct Bundle<'a> {
    #[serde(borrow)]
    entry: Vec<Entry<'a>>,
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: &'a RawValue,
}

/// Every Bundle of a folder as a whole, and every resource in it by itself, as a CDR would deliver it.
fn judge(folder: PathBuf) -> (usize, usize) {
    let validator = Validator::new(Mode::Strict, 64);
    let (mut bundles, mut resources, mut wrong) = (0, BTreeMap::<String, usize>::new(), Vec::new());
    for entry in std::fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().path();
        if file.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let bytes = std::fs::read(&file).unwrap();
        let mut judge = |json: &[u8]| match validator.json(json) {
            Ok(facts) => *resources.entry(facts.resource_type.into_owned()).or_default() += 1,
            Err(refusal) => wrong.push((file.clone(), refusal)),
        };
        judge(&bytes);
        bundles += 1;
        for entry in serde_json::from_slice::<Bundle<'_>>(&bytes).unwrap().entry {
            judge(entry.resource.get().as_bytes());
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
    let resources: usize = resources.values().sum::<usize>() - bundles;
    note(&format!("Synthea: {bundles} Bundles and {resources} resources in them, none refused"));
    (bundles, resources)
}

#[test]
fn a_small_patient_passes() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/synthea");
    let (bundles, resources) = judge(folder);
    assert!(bundles > 0 && resources >= 8);
}

/// The folder that Synthea wrote its Bundles to, where somebody ran it.
#[test]
fn every_generated_patient_passes() {
    match std::env::var_os("LAKEHOOK_SYNTHEA") {
        Some(folder) => assert!(judge(folder.into()).0 > 0),
        None => note("skipped: LAKEHOOK_SYNTHEA names no folder of Synthea's Bundles"),
    }
}
