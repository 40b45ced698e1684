//! The rule, without clock, randomness or I/O.

use std::cmp::Ordering;

use crate::delivery::Version;

/// What was last forwarded for one resource.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The newest version that HealthLake took, or refuses for good.
    pub forwarded: Option<Version>,
    /// Set once a DELETE was forwarded: `forwarded` is then what was deleted.
    pub deleted: bool,
}

impl State {
    /// What is remembered once HealthLake has an upsert of `version`.
    pub fn upserted(&mut self, version: Version) {
        self.deleted = false;
        self.forwarded = Some(version);
    }

    /// What is remembered once HealthLake has the delete: a DELETE carries no version, so the newest one
    /// that it can have deleted stands as its tombstone.
    pub fn deleted(&mut self) {
        self.deleted = true;
    }
}

/// True where an upsert of `version` must not be sent any more. An equal version is sent again (it is a
/// retry, or a re-delivery that the operator asked for), but not over its own tombstone.
pub fn is_superseded(state: &State, version: &Version) -> bool {
    let Some(forwarded) = &state.forwarded else { return false };
    match compare(version, forwarded) {
        Some(Ordering::Less) => true,
        Some(Ordering::Equal) => state.deleted,
        Some(Ordering::Greater) | None => false,
    }
}

/// `meta.versionId` where both are whole numbers, else `meta.lastUpdated` as an instant. None where that
/// tells nothing: neither is older.
fn compare(a: &Version, b: &Version) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (whole_number(a), whole_number(b)) {
        return Some(a.cmp(&b));
    }
    match instant(a)?.cmp(&instant(b)?) {
        Ordering::Equal if a.version_id != b.version_id => None,
        ordering => Some(ordering),
    }
}

fn whole_number(version: &Version) -> Option<u64> {
    let id = version.version_id.as_deref()?;
    if !id.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    id.parse().ok()
}

fn instant(version: &Version) -> Option<jiff::Timestamp> {
    version.last_updated.as_deref()?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn version(id: &str, updated: &str) -> Version {
        let some = |s: &str| (!s.is_empty()).then(|| s.into());
        Version { version_id: some(id), last_updated: some(updated) }
    }

    #[test]
    fn whole_numbers_compare_as_numbers_not_as_text() {
        assert_eq!(compare(&version("9", ""), &version("10", "")), Some(Ordering::Less));
        assert_eq!(compare(&version("10", ""), &version("10", "")), Some(Ordering::Equal));
    }

    #[test]
    fn other_version_ids_compare_by_last_updated_as_an_instant() {
        let older = version("a1", "2026-11-24T16:37:28.762+00:00");
        let newer = version("f9", "2026-11-24T17:38:00+01:00");
        assert_eq!(compare(&older, &newer), Some(Ordering::Less));
        assert_eq!(compare(&newer, &older), Some(Ordering::Greater));
    }

    #[test]
    fn same_instant_with_different_ids_tells_nothing() {
        let now = "2026-11-24T16:37:28.762Z";
        assert_eq!(compare(&version("a", now), &version("b", now)), None);
        assert_eq!(compare(&version("a", now), &version("a", now)), Some(Ordering::Equal));
        assert_eq!(compare(&version("", now), &version("", now)), Some(Ordering::Equal));
    }

    #[test]
    fn an_older_version_is_superseded_and_an_equal_one_is_a_retry() {
        let mut state = State::default();
        assert!(!is_superseded(&state, &version("1", "")));
        state.upserted(version("2", ""));
        assert!(is_superseded(&state, &version("1", "")));
        assert!(!is_superseded(&state, &version("2", "")));
        assert!(!is_superseded(&state, &version("3", "")));
        assert!(!is_superseded(&state, &version("", "")));
    }

    #[test]
    fn what_was_deleted_does_not_come_back_but_a_re_creation_does() {
        let mut state = State::default();
        state.upserted(version("2", ""));
        state.deleted();
        assert!(is_superseded(&state, &version("1", "")));
        assert!(is_superseded(&state, &version("2", "")));
        assert!(!is_superseded(&state, &version("4", "")));
        state.upserted(version("4", ""));
        assert!(!state.deleted);
    }
}
