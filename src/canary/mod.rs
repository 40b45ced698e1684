//! A canary: a small resource is written at the CDR, and it is watched until HealthLake has it. That measures the whole
//! way, the CDR's own part of it too, and tells of a Subscription that sends nothing before a clinician does.
//!
//! `flight` is one of them, `content` what is written, `lost` why one did not arrive, `watch` the canaries of a running
//! instance.

mod content;
mod flight;
mod lost;
mod watch;

pub use flight::{Canary, Flight};
pub use lost::Lost;
pub use watch::{Snapshot, Status, Watch};

/// `identifier.system` of what lakehook may write: it marks the resource as the canary.
pub const SYSTEM: &str = "urn:lakehook:canary";
