//! Which of two versions is older.

use std::cmp::Ordering;

use crate::delivery::Version;

/// `meta.versionId` where both are whole numbers, else `meta.lastUpdated` as an instant. None where that
/// tells nothing: neither is older.
pub fn compare(a: &Version, b: &Version) -> Option<Ordering> {
    if let (Some(a), Some(b)) = (whole_number(a), whole_number(b)) {
        return Some(a.cmp(&b));
    }
    match instant(a)?.cmp(&instant(b)?) {
        Ordering::Equal if a.version_id != b.version_id => None,
        ordering => Some(ordering),
    }
}

pub fn whole_number(version: &Version) -> Option<u64> {
    let id = version.version_id.as_deref()?;
    if !id.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    id.parse().ok()
}

fn instant(version: &Version) -> Option<jiff::Timestamp> {
    version.last_updated.as_deref()?.parse().ok()
}

/// `meta.lastUpdated` in milliseconds since the epoch.
pub fn instant_millis(version: &Version) -> Option<u64> {
    u64::try_from(instant(version)?.as_millisecond()).ok()
}

/// The newer of the two; `b` where neither is older.
pub fn newest(a: Option<Version>, b: &Version) -> Version {
    match a {
        Some(a) if compare(b, &a) == Some(Ordering::Less) => a,
        _ => b.clone(),
    }
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
}
