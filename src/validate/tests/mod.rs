//! Tests of the whole room.
#![allow(clippy::unwrap_used)]

mod corpus;
mod fixtures;
mod generate;
mod model;
mod narrative;
mod negatives;
mod positives;
mod primitives;
mod properties;
mod synthea;
mod xml;
mod xml_refusals;
mod xml_writer;

use super::{Facts, Issue, Mode, Refusal, Validator};

fn strict(json: &str) -> Result<Facts<'_>, Refusal> {
    Validator::new(Mode::Strict, 64).json(json.as_bytes())
}

fn refused(json: &str) -> Refusal {
    match strict(json) {
        Err(refusal) => refusal,
        Ok(facts) => panic!("passed as {facts:?}: {json}"),
    }
}

/// The only issue of a document that has one.
fn only_issue(json: &str) -> Issue {
    let refusal = refused(json);
    assert_eq!(refusal.issues.len(), 1, "{refusal:?}");
    refusal.issues.into_iter().next().unwrap()
}
