//! Everything outside the walks, as small as it can be.

use super::Budget;
use crate::delivery::Version;
use crate::order::record::{Etag, Millis, Pending, Record, Write};
use crate::order::store::Held;
use crate::order::walk::{Action, OnStoreFailure, Protocol, Walk, Want};

/// What the CDR does to its resource, in this order. A delete takes a version number too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    Put(u64),
    /// A version that the filter keeps out
    Filtered(u64),
    Delete,
}

pub(super) type Script = &'static [Change];

/// A rule taken out, to see that it is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// Rule 1: two deliveries of a resource race.
    Claims,
    /// Rule 2: what was forwarded is not remembered.
    Versions,
    /// Rule 3: a DELETE leaves no tombstone.
    Tombstones,
    /// Rule 6: writes are unconditional, and nobody waits.
    Fences,
    /// An ended claim leaves nothing behind.
    LeftBehind,
    /// A claim that fails is given back, though something was sent under it.
    KeptClaims,
    /// One round trip: nothing is written down before the write, only the outcome after it.
    ClaimsBeforehand,
    /// One round trip: the claim is written down, and never the outcome.
    Outcomes,
    /// The sender is answered before the outcome is written down.
    OutcomesBeforeAnswers,
}

pub(super) const START: Millis = 1_800_000_000_000;
pub(super) const SETTLE: Millis = 20_000;
const DEADLINE: Millis = 8_000;
/// Beyond every claim and every write that may land.
pub(super) const TICK: Millis = 60_000;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct World {
    pub script: Script,
    /// So many changes of the script have been made.
    pub made: usize,
    /// Deliveries not answered for good yet; the sender repeats each until it is. By position in the script.
    pub undelivered: Vec<usize>,
    pub replicas: [Option<Running>; 2],
    pub record: Record,
    pub claim: Option<Held>,
    /// HealthLake's own version; 0: never written.
    pub etag: u64,
    /// The change that HealthLake shows, by position in the script.
    pub shows: Option<usize>,
    pub late: Vec<Late>,
    pub now: Millis,
    pub faults: u8,
    pub ticks: u8,
    pub copies: u8,
    pub went_back: bool,
    pub reappeared: bool,
    pub taken_away: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Running {
    pub change: usize,
    pub walk: Walk,
    pub action: Action,
    pub owner: u128,
    pub claimed_until: Millis,
    /// What the CDR showed this walk last.
    pub current: Option<usize>,
    /// HealthLake's answer settles the delivery.
    pub answered: bool,
    /// A write was sent under the claim.
    pub sent: bool,
    /// The record as it was, where nothing holds it.
    pub read: Record,
}

/// A write that HealthLake has not carried out yet, though its sender has given up.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Late {
    pub write: usize,
    pub if_match: Option<Etag>,
    pub until: Millis,
}

impl World {
    pub fn new(script: &Script, budget: Budget) -> Self {
        Self {
            script,
            made: 0,
            undelivered: Vec::new(),
            replicas: [None, None],
            record: Record::default(),
            claim: None,
            etag: 0,
            shows: None,
            late: Vec::new(),
            now: START,
            faults: budget.faults,
            ticks: budget.ticks,
            copies: budget.copies,
            went_back: false,
            reappeared: false,
            taken_away: false,
        }
    }

    pub fn version(&self, change: usize) -> Option<Version> {
        match self.script[change] {
            Change::Put(number) | Change::Filtered(number) => {
                Some(Version { version_id: Some(number.to_string().into()), last_updated: None })
            }
            Change::Delete => None,
        }
    }

    /// The CDR's last change; None: it never had the resource.
    pub fn cdr(&self) -> Option<usize> {
        self.made.checked_sub(1)
    }

    /// Whether it leaves HealthLake with nothing.
    pub fn is_delete(&self, change: usize) -> bool {
        matches!(self.script[change], Change::Delete | Change::Filtered(_))
    }

    pub fn is_filtered(&self, change: usize) -> bool {
        matches!(self.script[change], Change::Filtered(_))
    }

    pub fn has_deletes(&self) -> bool {
        self.script.contains(&Change::Delete)
    }

    pub fn alive(&self) -> bool {
        self.shows.is_some_and(|change| !self.is_delete(change))
    }

    pub fn start(&self, change: usize, has_cdr: bool, owner: u128) -> Running {
        let want = match self.version(change) {
            Some(version) if self.is_filtered(change) => Want::Withdraw { version, look: true },
            Some(version) => Want::Upsert(version),
            None => Want::Delete,
        };
        let protocol = Protocol {
            has_cdr,
            settle: SETTLE,
            horizon: 10 * TICK,
            clock_skew: 0,
            belated: false,
            looks_again: false,
            on_store_failure: OnStoreFailure::Refuse,
        };
        let mut walk = Walk::new(want, protocol, self.now + DEADLINE);
        let action = walk.apply(crate::order::walk::Event::Begin, self.now);
        Running {
            change,
            walk,
            action,
            owner,
            claimed_until: 0,
            current: None,
            answered: false,
            sent: false,
            read: Record::default(),
        }
    }

    /// A write takes effect, or meets another version than it wants. What an observer sees is judged here.
    pub fn land(&mut self, change: usize, if_match: Option<Etag>) -> Landed {
        if if_match.is_some_and(|etag| etag.0 != self.etag || !self.alive()) {
            return Landed::Precondition;
        }
        if self.is_delete(change) && !self.alive() {
            return Landed::Gone;
        }
        if let Some(shown) = self.shows {
            self.went_back |= change < shown && !self.is_delete(change);
            self.reappeared |= self.is_delete(shown) && change < shown && !self.is_delete(change);
            self.taken_away |= self.is_delete(change) && change < shown;
        }
        self.etag += 1;
        self.shows = Some(change);
        Landed::Took
    }

    pub fn claim(&mut self, running: &mut Running, write: &Write, without: Option<Without>) -> Claim {
        let owner = running.owner;
        if without == Some(Without::ClaimsBeforehand) {
            running.claimed_until = self.now + DEADLINE + 2_000;
            running.read = self.record.clone();
            return Claim::Yes(self.record.clone());
        }
        if let Some(held) = self.claim.take() {
            if held.owner != owner && held.until > self.now && without != Some(Without::Claims) {
                let until = held.until;
                self.claim = Some(held);
                return Claim::Held(until);
            }
            if held.owner != owner && without != Some(Without::LeftBehind) {
                let pending: Pending = held.left_behind(&self.record);
                self.record.pending.push(pending);
            }
        }
        running.claimed_until = self.now + DEADLINE + 2_000;
        let until = running.claimed_until;
        self.claim = Some(Held { owner, until, write: write.clone(), settle: SETTLE });
        let mut record = self.record.clone();
        match without {
            Some(Without::Versions) => record.forwarded = None,
            Some(Without::Tombstones) => record.deleted = None,
            Some(Without::Fences) => (record.etag, record.pending) = (None, Vec::new()),
            _ => {}
        }
        Claim::Yes(record)
    }

    /// Gives the claim back, with the record where there is one to write; false where it is another's by now.
    pub fn settle(&mut self, running: &Running, record: Option<Record>, without: Option<Without>) -> bool {
        let owner = running.owner;
        match without {
            Some(Without::ClaimsBeforehand) if self.record != running.read => return false,
            Some(Without::ClaimsBeforehand) => {
                self.record = record.unwrap_or_else(|| self.record.clone());
                return true;
            }
            Some(Without::Outcomes) if record.is_some() => return true,
            _ => {}
        }
        if self.claim.as_ref().is_none_or(|held| held.owner != owner) {
            return false;
        }
        self.claim = None;
        self.record = record.unwrap_or_else(|| self.record.clone());
        true
    }

    pub fn quiet(&self) -> bool {
        self.made == self.script.len()
            && self.undelivered.is_empty()
            && self.late.is_empty()
            && self.replicas.iter().all(Option::is_none)
    }

    pub fn equal(&self) -> bool {
        match self.cdr() {
            Some(change) if self.is_delete(change) => !self.alive(),
            Some(change) => self.shows == Some(change),
            None => self.shows.is_none(),
        }
    }
}

pub(super) enum Landed {
    Took,
    Gone,
    Precondition,
}

pub(super) enum Claim {
    Yes(Record),
    Held(Millis),
}
