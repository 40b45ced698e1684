//! Claims of one process, for the stores that have no other to share with.

use std::collections::HashMap;

use super::record::{Millis, Pending, Record};
use super::store::{ClaimRequest, Held, Owner};

/// Writes left behind on one resource that are told apart; older ones that can't land any more go beyond it.
const LEFT_BEHIND: usize = 16;

/// How long a claim is waited for whose owner is writing the record that ends it.
const ENDING: Millis = 20;

#[derive(Default)]
struct Entry {
    held: Option<Held>,
    /// Its owner said how it went, and that is on its way to the disk.
    ending: bool,
    /// Claims that ended without a word. They stay until a settle: only then it is known what became of them.
    left: Vec<Held>,
}

#[derive(Default)]
pub(super) struct Claims {
    by_key: HashMap<Box<str>, Entry>,
    /// Look for forgotten ones again at this many.
    sweep_at: usize,
}

impl Claims {
    /// Takes the claim, or says until when another has it. A claim renewed by its owner comes back with what was
    /// held before, for `withdraw`.
    pub fn claim(&mut self, key: &str, request: ClaimRequest) -> Result<Option<Held>, Millis> {
        let ClaimRequest { owner, until, now, write, settle } = request;
        let claim = Held { owner: owner.0, until, write, settle };
        self.sweep(now);
        let Some(entry) = self.by_key.get_mut(key) else {
            self.by_key.insert(key.into(), Entry { held: Some(claim), ..Entry::default() });
            return Ok(None);
        };
        let mut renewed = None;
        if entry.ending {
            return Err(now + ENDING);
        } else if let Some(held) = &entry.held {
            if held.owner == owner.0 {
                renewed = entry.held.take();
            } else if held.until > now {
                return Err(held.until);
            } else {
                entry.left.extend(entry.held.take());
                if entry.left.len() > LEFT_BEHIND {
                    entry.left.retain(|left| left.until.saturating_add(left.settle) > now);
                }
            }
        }
        entry.held = Some(claim);
        Ok(renewed)
    }

    /// Adds to the record what earlier claims on it may have written.
    pub fn add_left_behind(&self, key: &str, record: &mut Record) {
        let Some(entry) = self.by_key.get(key) else { return };
        entry.left.iter().for_each(|left| left.clone().add_to(record));
    }

    pub fn holds(&self, key: &str, owner: Owner) -> bool {
        self.by_key.get(key).and_then(|entry| entry.held.as_ref()).is_some_and(|held| held.owner == owner.0)
    }

    /// Another has the claim that `owner` had: until then.
    pub fn taken_over(&self, key: &str, owner: Owner) -> Option<Millis> {
        match self.by_key.get(key).and_then(|entry| entry.held.as_ref()) {
            Some(held) if held.owner == owner.0 => None,
            Some(held) => Some(held.until),
            None => Some(0),
        }
    }

    /// Something may be in flight, or may have landed, that the record does not tell of.
    pub fn concerns(&self, key: &str) -> bool {
        self.by_key.contains_key(key)
    }

    /// The record is on its way to the disk: nobody else gets the claim until that went well or not.
    pub fn ending(&mut self, key: &str, owner: Owner) -> bool {
        match self.by_key.get_mut(key) {
            Some(entry) if !entry.ending && entry.held.as_ref().is_some_and(|held| held.owner == owner.0) => {
                entry.ending = true;
                true
            }
            _ => false,
        }
    }

    /// It did not get there: the claim is held as before.
    pub fn not_ended(&mut self, key: &str) {
        if let Some(entry) = self.by_key.get_mut(key) {
            entry.ending = false;
        }
    }

    pub fn settled(&mut self, key: &str) {
        self.by_key.remove(key);
    }

    pub fn release(&mut self, key: &str, owner: Owner) {
        self.withdraw(key, owner, None);
    }

    /// The owner never heard that it has the claim; `before` is what it held until then.
    pub fn withdraw(&mut self, key: &str, owner: Owner, before: Option<Held>) {
        let Some(entry) = self.by_key.get_mut(key) else { return };
        if !entry.ending && entry.held.as_ref().is_some_and(|held| held.owner == owner.0) {
            entry.held = before;
            if entry.held.is_none() && entry.left.is_empty() {
                self.by_key.remove(key);
            }
        }
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// Every claim that nobody has said the end of: what it may have written, to be kept for another process.
    pub fn drain(&mut self) -> Vec<(Box<str>, Vec<Held>)> {
        let entries = std::mem::take(&mut self.by_key);
        entries
            .into_iter()
            .map(|(key, entry)| (key, entry.left.into_iter().chain(entry.held).collect()))
            .collect()
    }

    /// Owners that vanished leave entries that nobody asks for again. They go once nothing of theirs can land.
    fn sweep(&mut self, now: Millis) {
        if self.by_key.len() <= self.sweep_at.max(1024) {
            return;
        }
        let can_land = |held: &Held| held.until.saturating_add(held.settle) > now;
        self.by_key.retain(|_, entry| entry.ending || entry.held.iter().chain(&entry.left).any(can_land));
        self.sweep_at = 2 * self.by_key.len();
    }
}

impl Held {
    /// What the next claimant of `record` has to reckon with, if it is not there already.
    pub(super) fn add_to(self, record: &mut Record) {
        let pending: Pending = self.left_behind(record);
        if !record.pending.contains(&pending) {
            record.pending.push(pending);
        }
    }
}
