//! What the data store holds: every resource with its versions, and the log of the writes that took effect.

use std::collections::{BTreeMap, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::resource::{Draft, Origin, instant};

/// Older versions of one resource beyond this many are forgotten, so that a long run does not fill the memory.
const VERSIONS_KEPT: usize = 50;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interaction {
    /// A POST: HealthLake chose the id.
    Create,
    /// A PUT, whether the id was new or not.
    Update,
    Delete,
}

/// One write that took effect: a line of `/_sandbox/history`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// From 1, without gaps, in the order the writes took effect.
    pub seq: u64,
    /// `Patient/123`
    pub key: String,
    pub interaction: Interaction,
    /// `meta.versionId` of the body as it was sent, before HealthLake replaced it.
    pub cdr_version: Option<String>,
    /// `meta.lastUpdated` of the body as it was sent.
    pub cdr_last_updated: Option<String>,
    /// HealthLake's own version, counted from 1; a deletion counts.
    pub version: u64,
    #[serde(serialize_with = "as_instant")]
    pub at: Timestamp,
}

fn as_instant<S: serde::Serializer>(at: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant(*at))
}

/// A resource that is alive.
#[derive(Clone, Debug)]
pub struct Resource {
    pub key: String,
    pub version: u64,
    pub last_updated: Timestamp,
    /// The stored JSON; numbers are spelt as the sender spelt them.
    pub json: Arc<RawValue>,
}

#[derive(Clone, Debug)]
pub(super) struct Version {
    pub(super) number: u64,
    pub(super) at: Timestamp,
    pub(super) interaction: Interaction,
    /// None: this version is the deletion.
    pub(super) json: Option<Arc<RawValue>>,
}

/// All versions of one id, the newest last; never empty.
#[derive(Clone, Debug)]
pub(super) struct Entry(Vec<Version>);

impl Entry {
    pub(super) fn versions(&self) -> &[Version] {
        &self.0
    }

    pub(super) fn newest(&self) -> &Version {
        &self.0[self.0.len() - 1]
    }
}

/// What `If-Match` and `If-None-Match` ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Condition {
    /// HealthLake's version; None inside: a value that is no version and so matches nothing.
    pub(super) if_match: Option<Option<u64>>,
    pub(super) if_none_match: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Precondition,
    Unknown,
    Deleted,
}

/// A write that took effect, as its answer needs it.
#[derive(Clone, Debug)]
pub(super) struct Written {
    pub(super) created: bool,
    pub(super) version: u64,
    pub(super) at: Timestamp,
    pub(super) json: Option<Arc<RawValue>>,
}

#[derive(Default)]
pub(super) struct Store {
    types: BTreeMap<String, BTreeMap<String, Entry>>,
    history: Vec<Write>,
    /// What each idempotency key of a POST created.
    pub(super) created: HashMap<String, String>,
    /// Reset counts this up, and so makes writes that were to take effect later void.
    pub(super) epoch: u64,
    /// Within `atomically`: what each changed entry was before.
    undo: Option<Vec<(String, String, Option<Entry>)>>,
}

impl Store {
    pub(super) fn get(&self, kind: &str, id: &str) -> Option<&Entry> {
        self.types.get(kind)?.get(id)
    }

    /// By id, from this one on.
    pub(super) fn of_type(&self, kind: &str, from: &str) -> impl Iterator<Item = (&String, &Entry)> {
        let from = (Bound::Included(from), Bound::Unbounded);
        self.types.get(kind).into_iter().flat_map(move |entries| entries.range::<str, _>(from))
    }

    pub(super) fn history(&self) -> &[Write] {
        &self.history
    }

    pub(super) fn alive(&self) -> impl Iterator<Item = Resource> + '_ {
        self.types.iter().flat_map(|(kind, entries)| {
            entries.iter().filter_map(move |(id, entry)| {
                let newest = entry.newest();
                Some(Resource {
                    key: format!("{kind}/{id}"),
                    version: newest.number,
                    last_updated: newest.at,
                    json: newest.json.clone()?,
                })
            })
        })
    }

    pub(super) fn reset(&mut self) {
        *self = Self { epoch: self.epoch + 1, ..Self::default() };
    }

    /// PUT, and with `Interaction::Create` POST. Every call makes a version, an identical body too.
    pub(super) fn put(
        &mut self,
        (kind, id): (&str, &str),
        draft: &Draft,
        interaction: Interaction,
        condition: &Condition,
        now: Timestamp,
    ) -> Result<Written, Refused> {
        let entry = self.get(kind, id);
        let alive = entry.is_some_and(|entry| entry.newest().json.is_some());
        // A deleted id stays taken.
        if condition.if_none_match && entry.is_some() {
            return Err(Refused::Precondition);
        }
        let current = entry.map(|entry| entry.newest().number);
        if let Some(asked) = condition.if_match
            && (!alive || asked != current)
        {
            return Err(Refused::Precondition);
        }
        let at = self.time_for(kind, id, now);
        let number = current.unwrap_or(0) + 1;
        let json = draft.stamped(id, number, at);
        self.add(
            (kind, id),
            Version { number, at, interaction, json: Some(json.clone()) },
            draft.origin.clone(),
        );
        Ok(Written { created: !alive, version: number, at, json: Some(json) })
    }

    pub(super) fn delete(
        &mut self,
        (kind, id): (&str, &str),
        condition: &Condition,
        now: Timestamp,
    ) -> Result<Written, Refused> {
        let newest = self.get(kind, id).ok_or(Refused::Unknown)?.newest();
        if newest.json.is_none() {
            return Err(Refused::Deleted);
        }
        if condition.if_match.is_some_and(|asked| asked != Some(newest.number)) {
            return Err(Refused::Precondition);
        }
        let number = newest.number + 1;
        let at = self.time_for(kind, id, now);
        self.add(
            (kind, id),
            Version { number, at, interaction: Interaction::Delete, json: None },
            Origin::default(),
        );
        Ok(Written { created: false, version: number, at, json: None })
    }

    /// All of `work`, or nothing of it.
    pub(super) fn atomically<T, E>(&mut self, work: impl FnOnce(&mut Self) -> Result<T, E>) -> Result<T, E> {
        let length = self.history.len();
        self.undo = Some(Vec::new());
        let result = work(self);
        let changed = self.undo.take().unwrap_or_default();
        if result.is_err() {
            self.history.truncate(length);
            for (kind, id, before) in changed.into_iter().rev() {
                let entries = self.types.entry(kind).or_default();
                match before {
                    Some(entry) => entries.insert(id, entry),
                    None => entries.remove(&id),
                };
            }
        }
        result
    }

    /// A resource's `lastUpdated` grows with its version, whatever the clock does.
    fn time_for(&self, kind: &str, id: &str, now: Timestamp) -> Timestamp {
        let now = Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now);
        let step = std::time::Duration::from_millis(1);
        self.get(kind, id).map_or(now, |entry| now.max(entry.newest().at + step))
    }

    fn add(&mut self, (kind, id): (&str, &str), version: Version, origin: Origin) {
        self.history.push(Write {
            seq: self.history.len() as u64 + 1,
            key: format!("{kind}/{id}"),
            interaction: version.interaction,
            cdr_version: origin.version,
            cdr_last_updated: origin.last_updated,
            version: version.number,
            at: version.at,
        });
        let before = self.undo.is_some().then(|| self.get(kind, id).cloned());
        if let (Some(undo), Some(before)) = (&mut self.undo, before) {
            undo.push((kind.to_owned(), id.to_owned(), before));
        }
        let entries = self.types.entry(kind.to_owned()).or_default();
        let Entry(versions) = entries.entry(id.to_owned()).or_insert_with(|| Entry(Vec::new()));
        versions.push(version);
        if versions.len() > VERSIONS_KEPT {
            versions.remove(0);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::resource::Expected;
    use super::*;

    const KEY: (&str, &str) = ("Patient", "a");

    fn draft() -> Draft {
        let expected = Expected { kind: "Patient", id: Some("a"), known_profiles_only: true };
        Draft::read(br#"{"resourceType":"Patient","id":"a"}"#, &expected).unwrap()
    }

    fn put(store: &mut Store, condition: &Condition) -> Result<Written, Refused> {
        store.put(KEY, &draft(), Interaction::Update, condition, Timestamp::UNIX_EPOCH)
    }

    fn if_match(version: u64) -> Condition {
        Condition { if_match: Some(Some(version)), ..Condition::default() }
    }

    #[test]
    fn versions_count_deletions_and_survive_them() {
        let mut store = Store::default();
        assert_eq!(put(&mut store, &Condition::default()).unwrap().version, 1);
        assert_eq!(put(&mut store, &Condition::default()).unwrap().version, 2);
        assert_eq!(store.delete(KEY, &Condition::default(), Timestamp::UNIX_EPOCH).unwrap().version, 3);
        let again = put(&mut store, &Condition::default()).unwrap();
        assert!(again.created);
        assert_eq!(again.version, 4);
        assert_eq!(store.history().iter().map(|write| write.seq).collect::<Vec<_>>(), [1, 2, 3, 4]);
        assert!(store.get("Patient", "a").unwrap().versions().is_sorted_by(|a, b| a.at < b.at));
    }

    #[test]
    fn conditions_hold_for_put_and_delete() {
        let mut store = Store::default();
        let none_match = Condition { if_none_match: true, ..Condition::default() };
        assert_eq!(put(&mut store, &if_match(1)).unwrap_err(), Refused::Precondition);
        assert!(put(&mut store, &none_match).is_ok());
        assert_eq!(put(&mut store, &none_match).unwrap_err(), Refused::Precondition);
        assert!(put(&mut store, &if_match(1)).is_ok());
        assert_eq!(put(&mut store, &if_match(1)).unwrap_err(), Refused::Precondition);
        assert_eq!(
            store.delete(KEY, &if_match(1), Timestamp::UNIX_EPOCH).unwrap_err(),
            Refused::Precondition
        );
        assert!(store.delete(KEY, &if_match(2), Timestamp::UNIX_EPOCH).is_ok());
        assert_eq!(
            put(&mut store, &none_match).unwrap_err(),
            Refused::Precondition,
            "a deleted id stays taken"
        );
        assert_eq!(put(&mut store, &if_match(3)).unwrap_err(), Refused::Precondition);
        assert_eq!(
            store.delete(KEY, &Condition::default(), Timestamp::UNIX_EPOCH).unwrap_err(),
            Refused::Deleted
        );
    }

    #[test]
    fn a_failed_unit_leaves_no_trace() {
        let mut store = Store::default();
        let _ = put(&mut store, &Condition::default());
        let failed: Result<(), ()> = store.atomically(|store| {
            let _ = put(store, &Condition::default());
            Err(())
        });
        assert_eq!(failed, Err(()));
        assert_eq!(store.history().len(), 1);
        assert_eq!(store.get("Patient", "a").unwrap().newest().number, 1);
    }

    #[test]
    fn old_versions_are_forgotten_beyond_a_bound() {
        let mut store = Store::default();
        for _ in 0..VERSIONS_KEPT + 5 {
            let _ = put(&mut store, &Condition::default());
        }
        let entry = store.get("Patient", "a").unwrap();
        assert_eq!(entry.versions().len(), VERSIONS_KEPT);
        assert_eq!(entry.newest().number, VERSIONS_KEPT as u64 + 5);
    }
}
