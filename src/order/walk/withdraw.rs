//! What the filter keeps out: HealthLake must have nothing of it. A version that is kept out takes part in the order as
//! any other; only that what it calls for is a DELETE.

use super::{Sending, Walk};
use crate::delivery::Version;
use crate::order::record::{Millis, Pending, Tombstone, Write};
use crate::order::steps::{Action, End, Want};
use crate::order::version::{newest, whole_number};

impl Walk {
    /// What nothing is remembered of, and nothing has to be: its type is kept out.
    pub(super) fn was_never_mirrored(&self) -> bool {
        let unknown = self.record.forwarded.is_none() && self.record.pending.is_empty();
        matches!(self.want, Want::Withdraw { look: false, .. }) && unknown
    }

    /// Sees to it that HealthLake has nothing of the resource as long as `version` is its newest. Always under a
    /// condition: where HealthLake's version is not known, it is read, so that nothing that lands late can take away
    /// what follows.
    pub(super) fn withdraw(&mut self, version: &Version, current: bool, now: Millis) -> Action {
        if current {
            whole_number(version).into_iter().for_each(|number| self.record.seen.add(number));
        }
        // The same version too: it may have been let through before the settings changed.
        let pending = self.record.pending.iter();
        let may_land = pending.filter(|p| p.if_match.is_none() && p.until > now).map(|p| p.until).max();
        if let Some(until) = may_land {
            return self.wait(until, now);
        }
        let known = self.record.is_filtered() && self.record.pending.is_empty() && !self.protocol.looks_again;
        if known || self.absent {
            self.kept_out(version);
            return self.leave(End::Filtered);
        }
        let Some(etag) = self.record.etag else {
            self.looking = current.then(|| version.clone());
            return Action::ReadHealthLake;
        };
        let if_match = Some(etag);
        self.sending =
            Some(Sending { write: Write::Upsert(version.clone()), current, if_match, withdraws: true });
        Action::Delete { if_match }
    }

    /// The CDR has `version`, and HealthLake nothing that could be written under an older one.
    pub(super) fn kept_out(&mut self, version: &Version) {
        // What names a resource of a type that is kept out says nothing of its version.
        if *version != Version::default() {
            self.record.forwarded = Some(version.clone());
        }
        self.record.pending.clear();
        self.record.deleted = Some(Tombstone::FILTERED);
        self.record.etag = None;
    }

    /// HealthLake has nothing, and one of these may have been a withdrawal that landed: what is older must not follow it.
    pub(super) fn may_be_withdrawn(&mut self, told: &[Pending]) {
        for pending in told {
            if let Write::Upsert(version) = &pending.write {
                self.record.forwarded = Some(newest(self.record.forwarded.take(), version));
            }
        }
    }
}
