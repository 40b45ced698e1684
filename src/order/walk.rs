//! The way of one delivery, without clock, randomness or I/O: `apply(event) → action`. What runs in production,
//! what the model checker explores and what the seeded storms drive is this one piece of code.
//!
//! Every write is conditional on HealthLake's own version where it is known, so that a write which lands late can't
//! overwrite a newer one. Where it is not known, the next write waits until the earlier one can no longer land.

mod learn;
mod withdraw;

use super::record::{Etag, Millis, Pending, Record, Tombstone, Write};
use super::rules::{Fallback, Rule, delete, upsert};
pub use super::steps::{Action, End, Event, OnStoreFailure, Protocol, Want};
use super::version::whole_number;
use crate::delivery::Version;

/// HealthLake's version may be changed by others; after so many refusals the CDR is told to come again.
const PRECONDITIONS: u8 = 3;

/// How often a claim that another replica holds is looked at (milliseconds).
const POLL: Millis = 40;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Walk {
    want: Want,
    protocol: Protocol,
    deadline: Millis,
    /// What a DELETE tells of had happened by then, since it had come.
    began: Millis,
    record: Record,
    /// As it was claimed: where nothing was learned, nothing has to be written.
    claimed: Record,
    /// What the claim says will be written.
    claimed_for: Write,
    /// What was decided to be sent.
    sending: Option<Sending>,
    end: End,
    preconditions: u8,
    rereads: bool,
    /// An attempt of this walk's own that may have landed.
    cut: Option<Pending>,
    /// False where the store failed and the delivery is forwarded all the same.
    remembers: bool,
    /// HealthLake was read under this claim, and had nothing.
    absent: bool,
    /// The CDR's version that the filter keeps out, while HealthLake is read for it
    looking: Option<Version>,
    /// The rule was in doubt and there was no CDR to ask.
    pub in_doubt: bool,
    pub asked_cdr: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Sending {
    write: Write,
    current: bool,
    if_match: Option<Etag>,
    /// A DELETE, since the filter keeps the version out
    withdraws: bool,
}

impl Walk {
    pub fn new(want: Want, protocol: Protocol, deadline: Millis) -> Self {
        let claimed_for = match &want {
            Want::Upsert(version) | Want::Withdraw { version, .. } => Write::Upsert(version.clone()),
            // In doubt the CDR is asked, and what it says is sent instead.
            Want::Delete if protocol.has_cdr => Write::Current,
            Want::Delete => Write::Delete,
            Want::Current => Write::Current,
        };
        Self {
            began: 0,
            claimed: Record::default(),
            claimed_for,
            want,
            protocol,
            deadline,
            record: Record::default(),
            sending: None,
            end: End::Answered,
            preconditions: 0,
            rereads: false,
            cut: None,
            remembers: true,
            absent: false,
            looking: None,
            in_doubt: false,
            asked_cdr: false,
        }
    }

    pub fn apply(&mut self, event: Event, now: Millis) -> Action {
        if now >= self.deadline && event.is_basis_of_a_write() {
            // The claim may have ended before this was learned: what would be sent could be old by now.
            if let Event::Claimed(record) = event {
                self.take_up(record);
            }
            return self.leave(End::Unsettled);
        }
        match event {
            Event::Begin => {
                self.began = now;
                self.claim()
            }
            Event::Held { until } => self.held(until, now),
            Event::Woke => self.claim(),
            Event::Claimed(record) => self.claimed(record, now),
            Event::StoreFailed => self.store_failed(now),
            Event::CdrHas(version) => self.cdr_has(&version, now),
            Event::CdrHasFiltered(version) => self.withdraw(&version, true, now),
            Event::CdrGone => self.cdr_gone(now),
            Event::CdrFailed => self.leave(End::CdrFailed),
            Event::Took { etag, earlier } => self.took(etag, earlier, now),
            Event::Gone { earlier } => self.took(None, earlier, now),
            Event::Precondition { earlier } if self.preconditions < PRECONDITIONS => {
                if earlier && let Some(Sending { write, if_match, .. }) = self.sending.clone() {
                    self.cut = Some(Pending { write, if_match, until: now + self.protocol.settle });
                }
                // Under a claim that is known to hold: else it may be another replica's write that is in the way,
                // and the record that tells of it has to be read first.
                self.preconditions += 1;
                self.rereads = true;
                self.claim()
            }
            Event::Precondition { .. } | Event::Refused | Event::NotSent => self.leave(End::Answered),
            Event::Unknown => self.unknown(now),
            Event::AtHealthLake(etag) => self.at_healthlake(etag, now),
            Event::HealthLakeFailed => self.leave(End::Answered),
            // The claim ended while we wrote, and somebody else has claimed since: what we wrote is among its pending
            // writes, and what we know is not remembered. The sender repeats it.
            Event::Lost => Action::Done(End::Unsettled),
            Event::Settled | Event::Released => Action::Done(self.end),
        }
    }

    fn claim(&self) -> Action {
        Action::Claim { write: self.claimed_for.clone() }
    }

    fn claimed(&mut self, record: Record, now: Millis) -> Action {
        self.take_up(record);
        self.expire(now);
        if let Want::Upsert(version) | Want::Withdraw { version, .. } = &self.want
            && !self.was_never_mirrored()
        {
            whole_number(version).into_iter().for_each(|number| self.record.seen.add(number));
        }
        if std::mem::take(&mut self.rereads) {
            return Action::ReadHealthLake;
        }
        self.decide(now)
    }

    fn take_up(&mut self, record: Record) {
        self.claimed = record.clone();
        self.record = record;
        (self.absent, self.looking) = (false, None);
        if let Some(cut) = self.cut.take() {
            // It was HealthLake's version when it was read: under no condition the next write could land beside it.
            self.record.etag = self.record.etag.or(cut.if_match);
            remember(&mut self.record.pending, cut);
        }
    }

    fn decide(&mut self, now: Millis) -> Action {
        if self.was_never_mirrored() {
            return self.leave(End::Filtered);
        }
        // What a crashed claimant sent after asking the CDR is not known by its version.
        let obscure = self.record.pending.iter().any(|pending| pending.write == Write::Current);
        let rule = match &self.want {
            Want::Current => return self.ask(),
            // What the CDR said was not written yet: it is asked again, whatever the rules would say now.
            _ if self.asked_cdr => return self.ask(),
            _ if obscure && self.protocol.has_cdr => return self.ask(),
            Want::Upsert(version) | Want::Withdraw { version, .. } if self.may_be_overtaken(version, now) => {
                self.in_doubt = true;
                Rule::Superseded
            }
            Want::Upsert(version) | Want::Withdraw { version, .. } => {
                let Protocol { horizon, clock_skew, .. } = self.protocol;
                upsert(&self.record, version, now, horizon, clock_skew)
            }
            Want::Delete => delete(&self.record),
        };
        match rule {
            Rule::Send => self.send_wanted(now),
            Rule::Superseded => self.leave(End::Superseded),
            Rule::InDoubt { .. } if self.protocol.has_cdr => self.ask(),
            Rule::InDoubt { without_cdr } => {
                self.in_doubt = true;
                match if self.protocol.belated { Fallback::Supersede } else { without_cdr } {
                    Fallback::Send => self.send_wanted(now),
                    Fallback::Supersede => self.leave(End::Superseded),
                }
            }
        }
    }

    /// Under a claim that says so: whoever takes over must not believe that it was the delivery's own version.
    fn ask(&mut self) -> Action {
        self.asked_cdr = true;
        if self.claimed_for == Write::Current || !self.remembers {
            return Action::AskCdr;
        }
        self.claimed_for = Write::Current;
        self.claim()
    }

    /// The current version is always a right thing to send; what HealthLake has already is not sent again.
    fn cdr_has(&mut self, version: &Version, now: Millis) -> Action {
        whole_number(version).into_iter().for_each(|number| self.record.seen.add(number));
        let known = self.record.deleted.is_none() && self.record.forwarded.as_ref() == Some(version);
        if known && self.record.pending.is_empty() && self.want == Want::Delete {
            return self.leave(End::Superseded);
        }
        self.send(Write::Upsert(version.clone()), true, now)
    }

    fn cdr_gone(&mut self, now: Millis) -> Action {
        let known = self.record.tombstone().is_some() && self.record.pending.is_empty();
        if known && self.want != Want::Delete {
            return self.leave(End::Superseded);
        }
        self.send(Write::Delete, true, now)
    }

    fn send_wanted(&mut self, now: Millis) -> Action {
        let write = match &self.want {
            Want::Withdraw { version, .. } => return self.withdraw(&version.clone(), false, now),
            Want::Upsert(version) => Write::Upsert(version.clone()),
            Want::Delete | Want::Current => Write::Delete,
        };
        self.send(write, false, now)
    }

    fn send(&mut self, write: Write, current: bool, now: Millis) -> Action {
        // An unconditional write that lands late would overwrite this one; unless it is the same.
        let pending = self.record.pending.iter();
        let blocking = pending.filter(|p| p.if_match.is_none() && p.until > now && p.write != write);
        if let Some(until) = blocking.map(|pending| pending.until).max() {
            return self.wait(until, now);
        }
        let if_match = self.record.etag;
        let action = match write {
            Write::Delete => Action::Delete { if_match },
            _ => Action::Put { if_match, current },
        };
        self.sending = Some(Sending { write, current, if_match, withdraws: false });
        action
    }

    /// Another replica's claim mostly ends long before its time.
    fn held(&self, until: Millis, now: Millis) -> Action {
        let look = until.min(now + POLL);
        if look < self.deadline {
            Action::Wait { until: look.max(now + 1) }
        } else {
            Action::Done(End::Unsettled)
        }
    }

    /// A wait ends in a new claim: the record may have changed meanwhile.
    fn wait(&mut self, until: Millis, now: Millis) -> Action {
        if until < self.deadline {
            return Action::Wait { until: until.max(now + 1) };
        }
        self.leave(End::Unsettled)
    }

    fn took(&mut self, etag: Option<Etag>, earlier: bool, now: Millis) -> Action {
        let Some(sending) = self.sending.clone() else { return self.leave(End::Answered) };
        if let (true, Write::Upsert(version)) = (sending.withdraws, &sending.write) {
            self.kept_out(version);
            return self.settle(End::Filtered);
        }
        let record = &mut self.record;
        // Conditional ones can't match any more; unconditional ones may land yet, the same write's copies too.
        record.pending.retain(|pending| pending.if_match.is_none() && pending.until > now);
        if earlier && sending.if_match.is_none() {
            let until = now + self.protocol.settle;
            remember(&mut record.pending, Pending { write: sending.write.clone(), if_match: None, until });
        }
        match &sending.write {
            Write::Upsert(version) => {
                record.forwarded = Some(version.clone());
                record.deleted = None;
                record.etag = etag;
            }
            Write::Delete | Write::Current => {
                // The CDR told of it later than the delivery came.
                let at = if sending.current { now } else { self.began };
                // One that waited long for its claim is not the last that came.
                let before = record.deleted.map_or(0, |tombstone| tombstone.at);
                record.deleted = Some(Tombstone { at: at.max(before) });
                record.etag = None;
            }
        }
        self.settle(End::Answered)
    }

    fn unknown(&mut self, now: Millis) -> Action {
        if let Some(Sending { write, if_match, .. }) = self.sending.clone() {
            let until = now + self.protocol.settle;
            remember(&mut self.record.pending, Pending { write, if_match, until });
        }
        self.settle(End::Answered)
    }

    fn store_failed(&mut self, now: Millis) -> Action {
        match self.protocol.on_store_failure {
            OnStoreFailure::Refuse => Action::Done(End::StoreFailed),
            OnStoreFailure::Forward if self.sending.is_none() && self.remembers => {
                self.remembers = false;
                self.decide(now)
            }
            OnStoreFailure::Forward => Action::Done(self.end),
        }
    }

    fn settle(&mut self, end: End) -> Action {
        self.end = end;
        if self.remembers { Action::Settle(self.record.clone()) } else { Action::Done(end) }
    }

    /// Nothing was written. What was learned (versions that came, writes that landed) is kept all the same.
    fn leave(&mut self, end: End) -> Action {
        if self.record != self.claimed {
            return self.settle(end);
        }
        self.end = end;
        if self.remembers { Action::Release } else { Action::Done(end) }
    }
}

/// A retry that is not heard of either is the same write once more.
fn remember(pending: &mut Vec<Pending>, new: Pending) {
    pending.retain(|old| old.write != new.write || old.if_match != new.if_match);
    pending.push(new);
}

#[cfg(test)]
#[path = "walk_tests.rs"]
mod tests;
