//! The way to HealthLake for every command that writes: the one `Forward`, with the order memory that live
//! deliveries use. Where a running instance holds that memory, the delivery is handed to it.

mod ask;
mod instance;
mod local;
pub mod pace;
mod paced;
mod patience;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::delivery::{Delivery, Key, Version};
use crate::forward::Report;
use crate::verdict::{Issue, Verdict};

pub use instance::{Announced, Found, Instance, RunningFile, SOURCE_HEADER, reachable};
pub use local::Local;
pub use pace::Pace;
pub use paced::paced;
pub use patience::patiently;

/// Who sends a delivery: the CDR itself, or a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Source {
    #[default]
    Live,
    Backfill,
    Resend,
    Redrive,
    Reconcile,
    Consume,
}

impl Source {
    pub const ALL: [Self; 6] =
        [Self::Live, Self::Backfill, Self::Resend, Self::Redrive, Self::Reconcile, Self::Consume];

    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Backfill => "backfill",
            Self::Resend => "resend",
            Self::Redrive => "redrive",
            Self::Reconcile => "reconcile",
            Self::Consume => "consume",
        }
    }

    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|source| source.name() == name)
    }
}

/// What became of a delivery, as a command is told it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Told {
    /// `Type/id`, where it is known
    pub key: Option<String>,
    /// The CDR's version that was judged; none for a delete
    pub version: Version,
    /// `Verdict::name`
    pub verdict: String,
    /// The mirror needs nothing more for it.
    pub settled: bool,
    /// The deliveries did not tell what is newer, and there was no CDR to ask.
    #[serde(default)]
    pub in_doubt: bool,
    /// Sending it again may help.
    pub retryable: bool,
    /// HealthLake asked to wait this long.
    pub retry_after_ms: Option<u64>,
    /// Of a dead letter: the refusal's own verdict
    pub refused: Option<String>,
    /// Of what the filter keeps out: the rule
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub filter_rule: Option<String>,
    /// Why it was refused; texts may quote the payload, so they are for people, never for logs.
    pub issues: Vec<Issue>,
    pub healthlake_status: Option<u16>,
    pub healthlake_request_id: Option<String>,
    /// Requests sent to HealthLake
    pub attempts: u32,
}

impl Told {
    pub fn of(report: &Report) -> Self {
        let verdict = &report.verdict;
        let said = report.said.as_ref();
        Self {
            key: report.key.as_ref().map(Key::to_string),
            version: report.version.clone(),
            verdict: verdict.name().to_owned(),
            settled: verdict.is_settled(),
            in_doubt: report.order.in_doubt,
            retryable: verdict.is_retryable(),
            retry_after_ms: match verdict {
                Verdict::Throttled { retry_after } => retry_after.map(crate::order::record::millis),
                _ => None,
            },
            refused: match verdict {
                Verdict::DeadLettered { refused, .. } => Some(refused.name().to_owned()),
                _ => None,
            },
            filter_rule: match verdict {
                Verdict::Filtered { rule, .. } => Some(rule.name().to_owned()),
                _ => None,
            },
            issues: verdict.issues().to_vec(),
            healthlake_status: said.map(|said| said.status.as_u16()),
            healthlake_request_id: said.and_then(|said| said.request_id.clone()),
            attempts: report.attempts,
        }
    }

    /// Of a delivery that there was no room for: nothing was done.
    pub fn not_begun(verdict: &Verdict) -> Self {
        Self {
            key: None,
            version: Version::default(),
            verdict: verdict.name().to_owned(),
            settled: false,
            in_doubt: false,
            retryable: verdict.is_retryable(),
            retry_after_ms: None,
            refused: None,
            filter_rule: None,
            issues: Vec::new(),
            healthlake_status: None,
            healthlake_request_id: None,
            attempts: 0,
        }
    }

    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after_ms.map(Duration::from_millis)
    }
}

/// The running instance could not be asked. Whether the delivery took effect is not known; sending it again is
/// safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    #[error("the running instance at {0} can't be reached")]
    Unreachable(String),
    #[error("the running instance at {at} answered {status}{advice}")]
    Refused { at: String, status: u16, advice: &'static str },
    #[error("the running instance at {0} answered what is no answer of lakehook's")]
    Foreign(String),
}

pub type Telling<'a> = Pin<Box<dyn Future<Output = Result<Told, NoAnswer>> + Send + 'a>>;

/// Whatever forwards a delivery on a command's behalf.
pub trait Mirror: Send + Sync {
    /// One attempt within the delivery's deadline. Retrying what is `retryable` is the caller's.
    fn forward(&self, delivery: Delivery) -> Telling<'_>;

    /// Where it goes, for people: `this process`, or the instance's address
    fn way(&self) -> String;
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
