//! What HealthLake's version, and the time that has passed, tell of writes that nobody heard of.

use std::cmp::Ordering;

use super::{Walk, remember};
use crate::delivery::Version;
use crate::order::record::{Etag, Millis, Pending, Tombstone, Write};
use crate::order::steps::Action;
use crate::order::version::{compare, newest};

impl Walk {
    /// Older than a write that nobody heard of, and that may have landed over a tombstone.
    pub(super) fn may_be_overtaken(&self, version: &Version, now: Millis) -> bool {
        self.record.pending.iter().any(|pending| match &pending.write {
            Write::Upsert(newer) => {
                pending.if_match.is_none()
                    && pending.until <= now
                    && compare(version, newer) == Some(Ordering::Less)
            }
            Write::Delete | Write::Current => false,
        })
    }

    /// HealthLake has a version that we did not expect: an earlier write of ours has landed after all, or somebody
    /// else wrote.
    pub(super) fn at_healthlake(&mut self, etag: Option<Etag>, now: Millis) -> Action {
        let pending = std::mem::take(&mut self.record.pending);
        let (may_land, told): (Vec<_>, Vec<_>) = pending.into_iter().partition(|p| p.if_match.is_none());
        self.record.pending = may_land;
        self.absent = etag.is_none();
        if etag.is_some() && self.record.is_filtered() {
            // It is there all the same.
            self.record.deleted = None;
        }
        if etag.is_none() {
            if told.iter().any(|pending| !matches!(pending.write, Write::Upsert(_))) {
                // One of ours has landed. (What somebody else deleted there is written again.)
                self.record.deleted = Some(Tombstone { at: now });
            } else {
                self.may_be_withdrawn(&told);
            }
        }
        if etag.is_some() && !told.is_empty() {
            self.record.deleted = None;
            for pending in told {
                // It may be this one that landed: older ones must not follow it.
                match &pending.write {
                    Write::Upsert(version) => {
                        self.record.forwarded = Some(newest(self.record.forwarded.take(), version));
                    }
                    // Of which version it was only the CDR can tell. Until it has, this must not be forgotten.
                    Write::Current => remember(&mut self.record.pending, pending),
                    Write::Delete => {}
                }
            }
        }
        self.record.etag = etag;
        match self.looking.take() {
            Some(version) => self.withdraw(&version, true, now),
            None => self.decide(now),
        }
    }

    /// What can't land any more has landed or not: it is taken for landed, since what is older must not follow.
    pub(super) fn expire(&mut self, now: Millis) {
        let pending = std::mem::take(&mut self.record.pending);
        let (known, obscure): (Vec<_>, Vec<_>) = pending.into_iter().partition(|pending| {
            pending.if_match.is_none() && pending.until <= now && pending.write != Write::Current
        });
        // Conditional ones are told by HealthLake's version at the next write, whenever that is; of what was sent
        // after asking the CDR the version is not known.
        self.record.pending = obscure;
        for pending in known {
            match &pending.write {
                // It was sent, or only claimed for, over a tombstone: neither "it is back" nor "it is still gone" may
                // be built upon. Where nobody can be asked, it is enough that what is older does not follow.
                Write::Upsert(_) if self.record.tombstone().is_some() => {
                    let write = if self.protocol.has_cdr { Write::Current } else { pending.write };
                    self.record.pending.push(Pending { write, ..pending });
                }
                Write::Upsert(version) => {
                    self.record.forwarded = Some(newest(self.record.forwarded.take(), version));
                    // It may have been let through.
                    self.record.deleted = None;
                }
                _ => self.record.deleted = Some(Tombstone { at: now }),
            }
        }
    }
}
