//! What became of a delivery and what it took: all that a log line or a metric may say.

use std::time::Duration;

use tokio::time::Instant;

use crate::deadletter::Payload;
use crate::delivery::{Delivery, Key, Version};
use crate::filter::Rule;
use crate::healthlake::{Attempted, CouldNot, Meaning, Said};
use crate::mirror::Source;
use crate::validate::Mode;
use crate::verdict::Verdict;

#[derive(Debug)]
pub struct Report {
    pub verdict: Verdict,
    pub source: Source,
    pub interaction: &'static str,
    pub key: Option<Key>,
    pub version: Version,
    /// The laxest mode of validation above the one in use that would have refused it.
    pub refused_above: Option<Mode>,
    /// Size of the JSON that came (bytes)
    pub bytes: usize,
    pub attempts: u32,
    pub said: Option<Said>,
    pub could_not: Option<CouldNot>,
    pub stages: Stages,
    pub order: OrderNotes,
    pub content: Content,
    pub letter: Letter,
    /// The filter's rule that keeps it out
    pub filtered: Option<Rule>,
}

/// What was to be written last: the delivery's own content, or what the CDR had instead.
#[derive(Clone, Debug, Default)]
pub struct Content {
    pub deleted: bool,
    pub xml: bool,
    pub version: Version,
    pub payload: Payload,
}

/// What became of the dead letter of a delivery that was refused for good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Letter {
    /// None was due, or none is kept by the settings.
    #[default]
    None,
    Kept,
    /// The store failed or is full: the CDR gets the refusal itself.
    Failed,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    pub validate: Duration,
    /// Waiting for earlier deliveries of the same resource
    pub wait: Duration,
    pub store: Duration,
    pub cdr: Duration,
    pub healthlake: Duration,
}

impl Stages {
    pub fn total(&self) -> Duration {
        self.validate + self.wait + self.store + self.cdr + self.healthlake
    }
}

/// What an operator wants counted of the order.
#[derive(Clone, Copy, Debug, Default)]
pub struct OrderNotes {
    /// Another replica held the claim.
    pub contended: bool,
    pub asked_cdr: bool,
    /// The deliveries did not tell, and there was no CDR to ask: reconcile finds what it cost.
    pub in_doubt: bool,
    /// The claim had ended when the outcome was to be written down.
    pub claim_lost: bool,
    pub store_failed: bool,
    /// HealthLake had another version than we knew.
    pub precondition: bool,
}

impl Report {
    pub(super) fn of(delivery: &Delivery, source: Source) -> Self {
        let (key, bytes) = match delivery {
            Delivery::Upsert { addressed, json, .. } => (addressed.key(), json.len()),
            Delivery::Delete { key } | Delivery::Changed { key } => (Some(key.clone()), 0),
        };
        Self {
            verdict: Verdict::Internal,
            source,
            interaction: delivery.interaction(),
            key,
            version: Version::default(),
            refused_above: None,
            bytes,
            attempts: 0,
            said: None,
            could_not: None,
            stages: Stages::default(),
            order: OrderNotes::default(),
            content: Content::default(),
            letter: Letter::None,
            filtered: None,
        }
    }

    /// HealthLake's answer to the last request is the one that counts.
    pub(super) fn heard(&mut self, attempted: &Attempted, started: Instant) {
        self.stages.healthlake += started.elapsed();
        self.attempts += attempted.attempts;
        (self.said, self.could_not) = match &attempted.result {
            Ok(said) => (Some(said.clone()), None),
            Err(could_not) => (None, Some(*could_not)),
        };
    }

    pub(super) fn answered(&self) -> Verdict {
        match (&self.said, self.could_not) {
            (Some(said), _) => said.into(),
            (None, Some(could_not)) => could_not.into(),
            (None, None) => Verdict::Internal,
        }
    }
}

impl From<&Said> for Verdict {
    fn from(said: &Said) -> Self {
        match &said.meaning {
            Meaning::Done(success) => Self::Mirrored(*success),
            Meaning::Gone => Self::AlreadyGone,
            Meaning::NotSupported => Self::NotMirrored,
            Meaning::Refused(issues) => Self::RefusedByHealthLake(issues.clone()),
            Meaning::Conflict => Self::Conflict,
            Meaning::TooLarge => Self::TooLarge { limit: None },
            Meaning::Throttled { retry_after } => Self::Throttled { retry_after: *retry_after },
            Meaning::NotAuthorized => Self::CredentialsRefused,
            Meaning::Unexpected => Self::UnexpectedAnswer,
            Meaning::Failed => Self::HealthLakeFailed { status: said.status.as_u16() },
        }
    }
}

impl From<CouldNot> for Verdict {
    fn from(could_not: CouldNot) -> Self {
        match could_not {
            CouldNot::Connect | CouldNot::Cut => Self::Unreachable,
            CouldNot::Deadline => Self::DeadlinePassed,
            CouldNot::Credentials => Self::CredentialsRefused,
            CouldNot::Sign => Self::Internal,
        }
    }
}
