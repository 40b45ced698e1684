//! Why the CDR could not be asked, or what it said instead.

use super::Outcome;

/// Holds no resource's data: of an OperationOutcome only the codes are shown, its texts are there to be asked for.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CdrError {
    /// Any status that is not what was asked for.
    #[error("the CDR answered {status}{}", outcome.codes())]
    Status { status: u16, outcome: Outcome },
    #[error("the CDR could not be reached")]
    Unreachable,
    #[error("the CDR did not answer before the deadline")]
    Deadline,
    #[error("the CDR's answer is larger than {0}")]
    TooLarge(&'static str),
    /// 200, but not what FHIR says; with what is wrong.
    #[error("the CDR's answer makes no sense: {0}")]
    Nonsense(&'static str),
    /// No token could be had; names the setting.
    #[error("no token for the CDR: {0}")]
    Authorization(String),
    #[error("the CDR's next page is {0}")]
    NextPage(&'static str),
    #[error("the CDR's bulk export: {0}")]
    Bulk(&'static str),
}

impl CdrError {
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// What the CDR says of it, for a person at a terminal; never for a log: it may quote a resource.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Status { outcome, .. } => &outcome.texts,
            _ => &[],
        }
    }
}
