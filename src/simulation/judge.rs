//! The verdict on a run: HealthLake's log of the writes that took effect, beside what the CDR did.

use super::world::{Kept, World, key};
use crate::sandbox::Interaction;

/// What is wrong, in a sentence.
pub(super) fn judge(world: &World) -> Result<(), String> {
    for resource in 0..world.knobs.resources {
        never_went_back(world, resource)?;
        // Without a CDR too nothing may be left of what is kept out in the end.
        let kept_out = world.changes(resource).last().is_some_and(|change| change.filtered);
        if world.knobs.has_cdr || kept_out && world.knobs.kept != Kept::File {
            ends_equal(world, resource)?;
        }
    }
    Ok(())
}

/// The versions that HealthLake showed: none older than one before, and after a deletion only one that the CDR wrote
/// after a deletion of its own. Where there is a CDR to be asked, no deletion takes away what is newer than it.
fn never_went_back(world: &World, resource: usize) -> Result<(), String> {
    let changes = world.changes(resource);
    // By version, counted from 1
    let deletions = |from: u64, to: u64| {
        let between = (from + 1..to).map(|version| changes[version as usize - 1]);
        // What the filter keeps out is taken away too.
        between.filter(|change| change.deleted || change.filtered)
    };
    let (mut newest, mut deleted, mut newest_at) = (0, false, 0);
    let key = key(resource).to_string();
    for write in world.sandbox.history().into_iter().filter(|write| write.key == key) {
        let at = write.at.as_millisecond() as u64;
        let Some(version) = write.cdr_version.as_deref() else {
            assert_eq!(write.interaction, Interaction::Delete);
            let told = deletions(newest, changes.len() as u64 + 1).any(|change| change.at <= at);
            if world.knobs.has_cdr && !told {
                return Err(format!("{key}: a deletion from before took version {newest} away"));
            }
            // Without a CDR a late DELETE may take a re-creation away, and HealthLake's log does not tell which one it
            // was. What is newer than a re-creation that was taken away is no resurrection.
            deleted = told && (world.knobs.has_cdr || deletions(0, newest).next().is_none());
            continue;
        };
        let version: u64 = version.trim_start_matches('v').parse().unwrap();
        if changes[version as usize - 1].filtered {
            return Err(format!("{key}: version {version} is there, and the filter keeps it out"));
        }
        // The file does not know what was under way at a kill, and without a CDR nobody can tell: an older version that
        // is repeated may follow, until the newer one is repeated too.
        let unheard =
            world.knobs.kept == Kept::File && !world.knobs.has_cdr && world.maybe_unheard(newest_at);
        if version < newest && !unheard {
            return Err(format!("{key} went back from version {newest} to {version}"));
        }
        if deleted && deletions(newest, version).next().is_none() {
            return Err(format!("{key}: version {version} is back after the deletion of {newest}"));
        }
        (newest, deleted, newest_at) = (version, false, at);
    }
    Ok(())
}

fn ends_equal(world: &World, resource: usize) -> Result<(), String> {
    let key = key(resource).to_string();
    let shown = world.sandbox.resources().into_iter().find(|shown| shown.key == key);
    let shown = shown.map(|shown| {
        let patient: serde_json::Value = serde_json::from_str(shown.json.get()).unwrap();
        patient["name"][0]["family"].as_str().unwrap().to_owned()
    });
    let mirrored = |version: &u64| !world.changes(resource)[*version as usize - 1].filtered;
    let current = world.current(resource).filter(mirrored).map(|version| format!("F{version}"));
    if shown == current {
        return Ok(());
    }
    Err(format!("{key}: HealthLake ends with {shown:?}, the CDR with {current:?}"))
}

/// How much happened, so that a run in which nothing did is noticed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub changes: usize,
    pub writes: usize,
    pub simulated_seconds: u64,
}

impl Tally {
    pub fn of(world: &World, seconds: u64) -> Self {
        Self {
            changes: world.knobs.changes,
            writes: world.sandbox.history().len(),
            simulated_seconds: seconds,
        }
    }
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.changes += other.changes;
        self.writes += other.writes;
        self.simulated_seconds += other.simulated_seconds;
    }
}

/// As it is named in messages and variables.
pub(super) fn name(kept: Kept) -> &'static str {
    match kept {
        Kept::Memory => "memory",
        Kept::File => "file",
        Kept::DynamoDb => "dynamodb",
    }
}
