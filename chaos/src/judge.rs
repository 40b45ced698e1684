//! The judge: HealthLake's history, beside what HAPI had. The mirror may lag; it may not go back, at no moment.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::balancer::Attempt;
use crate::ledger::{Ledger, Told};
use crate::sandbox::Write;

#[derive(Debug, Default, Serialize)]
pub struct History {
    pub writes: usize,
    /// Updates that do not say which version they are: only the end is judged of these
    pub unversioned: usize,
    /// An older version after a newer one, or a deletion from before that took a newer one away
    pub stale: Vec<String>,
    /// What was deleted, and is back without having been created again
    pub resurrected: Vec<String>,
    /// What nobody changed at HAPI, and types that HealthLake does not take
    pub foreign: Vec<String>,
}

/// Every write that took effect, one resource after the other.
pub fn history(ledger: &Ledger, writes: &[Write]) -> History {
    let mut judged = History { writes: writes.len(), ..History::default() };
    let mut by_key = BTreeMap::<&str, Vec<&Write>>::new();
    for write in writes {
        by_key.entry(&write.key).or_default().push(write);
    }
    for (key, writes) in by_key {
        match ledger.get(key) {
            Some(told) if !crate::kinds::UNSUPPORTED.contains(&told.kind) => {
                one(key, told, &writes, &mut judged)
            }
            _ => judged.foreign.push(format!("{key}: {} writes", writes.len())),
        }
    }
    judged
}

fn one(key: &str, told: &Told, writes: &[&Write], judged: &mut History) {
    let (mut newest, mut deleted) = (0, false);
    for write in writes {
        let seq = write.seq;
        if write.interaction == "delete" {
            // Some deletion of HAPI's must be newer than what it takes away, and asked for by then.
            let at = u64::try_from(write.at.as_millisecond()).unwrap_or_default();
            let meant =
                told.versions.iter().skip(newest).any(|version| version.deleted && version.asked <= at);
            if !meant && !deleted {
                judged
                    .stale
                    .push(format!("{key}: write {seq}: an older deletion took version {newest} away"));
            }
            deleted = true;
            continue;
        }
        let Some(version) = write.cdr_version.as_ref().and_then(|version| version.parse().ok()) else {
            judged.unversioned += 1;
            deleted = false;
            continue;
        };
        if version < newest {
            judged.stale.push(format!("{key}: write {seq}: back from version {newest} to {version}"));
        }
        if deleted && !told.deleted_between(newest, version) {
            let text =
                format!("{key}: write {seq}: version {version} is back after the deletion of {newest}");
            judged.resurrected.push(text);
        }
        (newest, deleted) = (version, false);
    }
}

/// A resource in which HealthLake differs from HAPI, and whose fault it is.
#[derive(Clone, Debug, Serialize)]
pub struct Difference {
    pub key: String,
    pub hapi: String,
    pub healthlake: &'static str,
    pub whose: Whose,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Whose {
    /// HAPI was answered that its last change is taken, and it is not there
    Lost,
    /// HAPI sent it until its minute was over, and gave up
    GivenUp,
    /// HAPI never sent it: it was lost inside HAPI, with its queue in memory
    NeverSent,
}

/// `hapi` has what is alive there now, `healthlake` likewise.
pub fn differences(
    ledger: &Ledger,
    attempts: &[Attempt],
    hapi: &BTreeMap<String, Value>,
    healthlake: &BTreeMap<String, Value>,
) -> Vec<Difference> {
    let mut sent = BTreeMap::<&str, Vec<&Attempt>>::new();
    for attempt in attempts {
        sent.entry(&attempt.key).or_default().push(attempt);
    }
    let mut found = Vec::new();
    for (key, told) in ledger.iter().filter(|(_, told)| !crate::kinds::UNSUPPORTED.contains(&told.kind)) {
        let (has, shows) = (hapi.get(key), healthlake.get(key));
        if has.map(content) == shows.map(content) {
            continue;
        }
        let sent = sent.get(key.as_str()).map_or(&[][..], Vec::as_slice);
        let last = told.versions.last().copied();
        let about = |attempt: &&&Attempt| match told.alive() {
            Some(version) => !attempt.delete && attempt.version == Some(version),
            // A DELETE that came before the last deletion was asked for is an earlier one's.
            None => attempt.delete && last.is_some_and(|last| attempt.at >= last.asked),
        };
        let about: Vec<_> = sent.iter().filter(about).collect();
        let whose = if about.is_empty() {
            Whose::NeverSent
        } else if about.iter().any(|attempt| attempt.taken()) {
            Whose::Lost
        } else {
            Whose::GivenUp
        };
        found.push(Difference {
            key: key.clone(),
            hapi: told.alive().map_or("deleted".to_owned(), |version| format!("version {version}")),
            healthlake: if shows.is_some() { "another version" } else { "nothing" },
            whose,
        });
    }
    found
}

/// Without what is each server's own.
fn content(resource: &Value) -> Value {
    let mut resource = resource.clone();
    if let Some(top) = resource.as_object_mut() {
        top.remove("meta");
    }
    resource
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::ledger::Version;

    /// `+` a version, `-` a deletion; the nth is asked for at n seconds.
    fn ledger(changes: &str) -> Ledger {
        let version = |(n, c): (usize, char)| {
            let asked = (n as u64 + 1) * 1000;
            Version { deleted: c == '-', asked }
        };
        let versions = changes.chars().enumerate().map(version).collect();
        Ledger::from([("Patient/p".to_owned(), Told { kind: "Patient", raw: false, versions })])
    }

    /// `3` a PUT of version 3, `-9` a DELETE at second 9
    fn writes(texts: &[&str]) -> Vec<Write> {
        let write = |(n, text): (usize, &&str)| {
            let delete = text.strip_prefix('-').map(|second| second.parse::<i64>().expect("seconds"));
            Write {
                seq: n as u64 + 1,
                key: "Patient/p".into(),
                interaction: if delete.is_some() { "delete" } else { "update" }.into(),
                cdr_version: delete.is_none().then(|| (*text).to_owned()),
                at: jiff::Timestamp::from_second(delete.unwrap_or(99)).expect("an instant"),
            }
        };
        texts.iter().enumerate().map(write).collect()
    }

    fn judged(changes: &str, texts: &[&str]) -> (usize, usize) {
        let judged = history(&ledger(changes), &writes(texts));
        (judged.stale.len(), judged.resurrected.len())
    }

    #[test]
    fn forward_and_again_is_right() {
        assert_eq!(judged("+++", &["1", "1", "3"]), (0, 0));
        assert_eq!(judged("+-+", &["1", "-2", "3"]), (0, 0));
        assert_eq!(judged("+-+-", &["1", "-5", "-5"]), (0, 0), "gone twice is gone");
        assert_eq!(judged("+-+", &["3"]), (0, 0), "what came between was never shown");
    }

    #[test]
    fn back_is_stale() {
        assert_eq!(judged("+++", &["2", "1"]), (1, 0));
        assert_eq!(judged("+-+", &["3", "-9"]), (1, 0), "a late DELETE took the re-creation away");
        assert_eq!(judged("+-", &["1", "-1"]), (1, 0), "before it was deleted at all");
    }

    #[test]
    fn back_from_the_dead_is_resurrected() {
        assert_eq!(judged("++-", &["2", "-9", "2"]), (0, 1));
        assert_eq!(judged("++-+", &["1", "-9", "2"]), (0, 1));
        assert_eq!(judged("++-+", &["1", "-9", "4"]), (0, 0), "a real re-creation");
    }

    #[test]
    fn what_hapi_never_had_is_foreign() {
        let mut foreign = writes(&["1"]);
        foreign[0].key = "Patient/other".into();
        assert_eq!(history(&ledger("+"), &foreign).foreign.len(), 1);
    }

    fn attempt(delete: bool, version: Option<usize>, at: u64, status: u16) -> Attempt {
        Attempt { key: "Patient/p".into(), delete, version, at, status: Some(status) }
    }

    fn whose(changes: &str, attempts: &[Attempt], hapi: bool, healthlake: bool) -> Option<Whose> {
        let side = |there: bool, n: u32| {
            there
                .then(|| ("Patient/p".to_owned(), json!({ "n": n, "meta": { "versionId": n } })))
                .into_iter()
                .collect()
        };
        differences(&ledger(changes), attempts, &side(hapi, 1), &side(healthlake, 2)).first().map(|d| d.whose)
    }

    #[test]
    fn whose_fault_it_is() {
        let taken = attempt(false, Some(2), 2500, 201);
        assert_eq!(whose("++", std::slice::from_ref(&taken), true, true), Some(Whose::Lost));
        assert_eq!(whose("++", &[attempt(false, Some(2), 2500, 503)], true, false), Some(Whose::GivenUp));
        assert_eq!(whose("++", &[attempt(false, Some(1), 1500, 201)], true, true), Some(Whose::NeverSent));
        // The DELETE of second 2 was taken, that of second 4 was not.
        let early = attempt(true, None, 2500, 204);
        assert_eq!(whose("+-+-", std::slice::from_ref(&early), false, true), Some(Whose::NeverSent));
        assert_eq!(whose("+-+-", &[early, attempt(true, None, 4001, 204)], false, true), Some(Whose::Lost));
        assert_eq!(whose("+-", &[], false, false), None);
    }

    #[test]
    fn the_servers_own_meta_does_not_count() {
        let side = |n: u32| {
            BTreeMap::from([("Patient/p".to_owned(), json!({ "id": "p", "meta": { "versionId": n } }))])
        };
        assert!(differences(&ledger("+"), &[], &side(1), &side(7)).is_empty());
    }
}
