//! The words of a walk: what a delivery wants, what is to be done, what came of it, how it ends.

use super::record::{Etag, Millis, Record, Write};
use crate::delivery::Version;

/// What a delivery wants.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Want {
    Upsert(Version),
    /// The filter keeps the CDR's `version` out: HealthLake must have nothing of the resource.
    Withdraw {
        version: Version,
        /// Where the memory knows nothing of the resource HealthLake is looked at; else it is taken for never mirrored.
        look: bool,
    },
    Delete,
    /// Whatever the CDR says now.
    Current,
}

/// The protocol's settings; times in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Protocol {
    /// A CDR can be asked.
    pub has_cdr: bool,
    /// What was sent can land this much later.
    pub settle: Millis,
    /// After so long a sender has stopped repeating old deliveries.
    pub horizon: Millis,
    /// A CDR's clock may be ahead of ours by this much.
    pub clock_skew: Millis,
    /// What comes may be long overtaken: where the deliveries do not tell, and no CDR does, it is not sent.
    pub belated: bool,
    /// Of what the filter keeps out HealthLake is looked at, whatever the memory says.
    pub looks_again: bool,
    pub on_store_failure: OnStoreFailure,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, clap::ValueEnum)]
pub enum OnStoreFailure {
    /// 503: a retry costs less than a stale record
    Refuse,
    /// Forward without the check
    Forward,
}

/// What is to be done next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Claim {
        write: Write,
    },
    AskCdr,
    /// The delivery's own bytes, or what the CDR answered last.
    Put {
        if_match: Option<Etag>,
        current: bool,
    },
    Delete {
        if_match: Option<Etag>,
    },
    ReadHealthLake,
    Wait {
        until: Millis,
    },
    Settle(Record),
    Release,
    Done(End),
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Event {
    Begin,
    Claimed(Record),
    Held {
        until: Millis,
    },
    StoreFailed,
    CdrHas(Version),
    /// It has this version, which the filter keeps out.
    CdrHasFiltered(Version),
    CdrGone,
    CdrFailed,
    /// HealthLake took the write. `earlier`: a first attempt of it was cut and may land yet.
    Took {
        etag: Option<Etag>,
        earlier: bool,
    },
    /// DELETE of what HealthLake does not have. `earlier`: a first attempt of it was cut and may land yet.
    Gone {
        earlier: bool,
    },
    /// HealthLake has another version than `if_match`. `earlier`: a first attempt of the write was cut, and may
    /// be what is in the way.
    Precondition {
        earlier: bool,
    },
    /// HealthLake answered and did not act.
    Refused,
    /// It may have landed, or may land yet.
    Unknown,
    NotSent,
    AtHealthLake(Option<Etag>),
    HealthLakeFailed,
    Woke,
    Settled,
    Lost,
    Released,
}

impl Event {
    /// Claims outlive the deadline, so that before it these were learned under a claim that held.
    /// What would be written next rests on it.
    pub(super) fn is_basis_of_a_write(&self) -> bool {
        matches!(
            self,
            Self::Claimed(_)
                | Self::CdrHas(_)
                | Self::CdrHasFiltered(_)
                | Self::CdrGone
                | Self::AtHealthLake(_)
        )
    }
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// With what HealthLake answered, or the failure to hear it.
    Answered,
    Superseded,
    /// The filter keeps it out, and HealthLake has nothing of it.
    Filtered,
    CdrFailed,
    StoreFailed,
    /// An earlier write may still land, and this delivery has no time to wait for that.
    Unsettled,
}
