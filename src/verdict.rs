//! What became of a delivery. Every case is one row of the table in the README, and `answer` turns each
//! into HTTP in one exhaustive match.

use std::time::Duration;

use crate::deadletter::LetterId;
use crate::filter::Rule;
use crate::validate;

/// An issue of an OperationOutcome, HealthLake's or our own. It goes to the CDR, never into a log:
/// HealthLake's texts may quote the payload.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Issue {
    /// FHIR IssueSeverity: `fatal`, `error`, `warning`, `information`
    pub severity: Severity,
    /// FHIR IssueType, such as `required`
    pub code: String,
    pub diagnostics: String,
    /// FHIRPath of the element, such as `Patient.name[1].given[0]`
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expression: Option<String>,
}

/// As FHIR's IssueTypes are spelled: `not-supported`.
pub fn is_issue_code(code: &str) -> bool {
    code.len() <= 20 && code.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
}

/// FHIR's IssueTypes, each once: all of the issues that a log or a listing may show. What looks like none is left out:
/// HealthLake may write anything there.
pub fn issue_codes(issues: &[Issue]) -> Vec<&str> {
    let mut codes = Vec::new();
    for code in issues.iter().map(|issue| issue.code.as_str()).filter(|code| is_issue_code(code)) {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    codes
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Fatal,
    Error,
    Warning,
    Information,
}

impl Severity {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fatal => "fatal",
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Information => "information",
        }
    }
}

/// HealthLake's statuses that say a write took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Success {
    Ok,
    Created,
    NoContent,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    // Settled: the CDR has nothing left to do.
    Mirrored(Success),
    /// DELETE of what HealthLake does not have.
    AlreadyGone,
    /// HealthLake has no such resource type, or not this interaction with it.
    NotMirrored,
    /// Older than what was already forwarded for this resource.
    Superseded,
    /// The filter keeps it out.
    Filtered {
        rule: Rule,
        /// HealthLake had an earlier version, which is deleted there.
        withdrawn: bool,
    },
    /// A handshake or heartbeat of a topic subscription.
    Acknowledged,

    /// Refused for good, and kept: the CDR has nothing left to do, an operator has.
    DeadLettered {
        refused: Box<Verdict>,
        letter: LetterId,
    },

    // Refused for good: sending the same again can't help.
    /// HealthLake's validation refuses the content.
    RefusedByHealthLake(Vec<Issue>),
    /// Our own validation refuses the content; `malformed` where it does not even parse.
    Invalid {
        malformed: bool,
        issues: Vec<Issue>,
    },
    /// Larger than HealthLake takes, or than our own limit (bytes).
    TooLarge {
        limit: Option<usize>,
    },
    BadRequest(BadRequest),
    MethodNotAllowed {
        allow: &'static str,
    },
    NotFound,
    UnsupportedMediaType(&'static str),
    /// The body did not arrive in time.
    BodyTooSlow,
    Unauthenticated,

    // Not settled: the CDR should send it again.
    Conflict,
    Throttled {
        retry_after: Option<Duration>,
    },
    /// HealthLake or STS does not accept our credentials.
    CredentialsRefused,
    /// No such data store, a redirect, or an answer that makes no sense.
    UnexpectedAnswer,
    /// HealthLake's own 5xx.
    HealthLakeFailed {
        status: u16,
    },
    /// Connection refused or cut.
    Unreachable,
    DeadlinePassed,
    CdrUnavailable,
    /// The order store failed, and forwarding without it is not allowed.
    OrderUnavailable,
    /// An earlier write of the same resource may still land, or another replica is at it.
    Unsettled,
    Overloaded,
    ShuttingDown,
    /// A fault of our own.
    Internal,
}

impl From<validate::Refusal> for Verdict {
    fn from(refusal: validate::Refusal) -> Self {
        let issues = refusal.issues.into_iter().map(Issue::from).collect();
        Self::Invalid { malformed: refusal.malformed, issues }
    }
}

impl From<validate::Issue> for Issue {
    fn from(issue: validate::Issue) -> Self {
        let place = match (issue.line, issue.column) {
            (Some(line), Some(column)) => format!(" (line {line}, column {column})"),
            _ => String::new(),
        };
        Self {
            severity: Severity::Error,
            code: issue.code.to_owned(),
            diagnostics: format!("{}{place}", issue.diagnostics),
            expression: issue.expression,
        }
    }
}

/// Requests that can't be read as a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    BadPath,
    QueryInEndpoint,
    NoPayload,
    NoBody,
    NotGzip,
    NoResourceType,
    NoId,
    UrlDisagrees,
    BadBundle,
    BadBundleEntry,
    BadDeletedResource,
    /// A notification without content, and no CDR URL to read it from.
    NoContentAndNoCdr,
    BodyCut,
}

impl Verdict {
    /// The name in logs, metrics and the answer's `details.coding`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Mirrored(_) => "mirrored",
            Self::AlreadyGone => "already-gone",
            Self::NotMirrored => "not-mirrored",
            Self::Superseded => "superseded",
            Self::Filtered { .. } => "filtered",
            Self::Acknowledged => "acknowledged",
            Self::DeadLettered { .. } => "dead-lettered",
            Self::RefusedByHealthLake(_) => "refused-by-healthlake",
            Self::Invalid { .. } => "invalid",
            Self::TooLarge { .. } => "too-large",
            Self::BadRequest(_) => "bad-request",
            Self::MethodNotAllowed { .. } => "method-not-allowed",
            Self::NotFound => "not-found",
            Self::UnsupportedMediaType(_) => "unsupported-media-type",
            Self::BodyTooSlow => "body-too-slow",
            Self::Unauthenticated => "unauthenticated",
            Self::Conflict => "conflict",
            Self::Throttled { .. } => "throttled",
            Self::CredentialsRefused => "credentials-refused",
            Self::UnexpectedAnswer => "unexpected-answer",
            Self::HealthLakeFailed { .. } => "healthlake-failed",
            Self::Unreachable => "unreachable",
            Self::DeadlinePassed => "deadline-passed",
            Self::CdrUnavailable => "cdr-unavailable",
            Self::OrderUnavailable => "order-unavailable",
            Self::Unsettled => "unsettled",
            Self::Overloaded => "overloaded",
            Self::ShuttingDown => "shutting-down",
            Self::Internal => "internal",
        }
    }

    /// True where the mirror needs nothing more for this delivery.
    pub fn is_settled(&self) -> bool {
        matches!(
            self,
            Self::Mirrored(_)
                | Self::AlreadyGone
                | Self::NotMirrored
                | Self::Superseded
                | Self::Filtered { .. }
                | Self::Acknowledged
        )
    }

    /// True where the CDR has nothing left to do for it.
    pub fn is_accepted(&self) -> bool {
        self.is_settled() || matches!(self, Self::DeadLettered { .. })
    }

    /// True where HealthLake or our validation refuses what a resource holds: it can be kept as a dead letter.
    /// A request that can't be read as a delivery is the sender's to see.
    pub fn is_refused_content(&self) -> bool {
        matches!(self, Self::RefusedByHealthLake(_) | Self::Invalid { .. } | Self::TooLarge { limit: None })
    }

    /// Why it was refused, in OperationOutcome's words.
    pub fn issues(&self) -> &[Issue] {
        match self {
            Self::RefusedByHealthLake(issues) | Self::Invalid { issues, .. } => issues,
            Self::DeadLettered { refused, .. } => refused.issues(),
            _ => &[],
        }
    }

    /// True where sending the same again may help. Of the entries of a Bundle the first of these
    /// decides its answer.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Conflict
                | Self::Throttled { .. }
                | Self::CredentialsRefused
                | Self::UnexpectedAnswer
                | Self::HealthLakeFailed { .. }
                | Self::Unreachable
                | Self::DeadlinePassed
                | Self::CdrUnavailable
                | Self::OrderUnavailable
                | Self::Unsettled
                | Self::Overloaded
                | Self::ShuttingDown
                | Self::Internal
        )
    }
}

impl BadRequest {
    pub const ALL: [Self; 13] = [
        Self::BadPath,
        Self::QueryInEndpoint,
        Self::NoPayload,
        Self::NoBody,
        Self::NotGzip,
        Self::NoResourceType,
        Self::NoId,
        Self::UrlDisagrees,
        Self::BadBundle,
        Self::BadBundleEntry,
        Self::BadDeletedResource,
        Self::NoContentAndNoCdr,
        Self::BodyCut,
    ];

    /// The name in logs and in the answer's second coding.
    pub fn name(self) -> &'static str {
        match self {
            Self::BadPath => "bad-path",
            Self::QueryInEndpoint => "query-in-endpoint",
            Self::NoPayload => "no-payload",
            Self::NoBody => "no-body",
            Self::NotGzip => "not-gzip",
            Self::NoResourceType => "no-resource-type",
            Self::NoId => "no-id",
            Self::UrlDisagrees => "url-disagrees",
            Self::BadBundle => "bad-bundle",
            Self::BadBundleEntry => "bad-bundle-entry",
            Self::BadDeletedResource => "bad-deleted-resource",
            Self::NoContentAndNoCdr => "no-content-and-no-cdr",
            Self::BodyCut => "body-cut",
        }
    }

    /// What the sender's operator should know; never a part of the request.
    pub fn text(self) -> &'static str {
        match self {
            Self::BadPath => {
                "the URL is not {base}/{Type}/{id} with a FHIR resource type and an id of 1 to 64 of A-Z a-z 0-9 - ."
            }
            Self::QueryInEndpoint => {
                "the URL carries a query: remove it from channel.endpoint, since senders append the resource's path to it; a token belongs in channel.header"
            }
            Self::NoPayload => {
                "the Subscription sends no content, so nothing tells what changed: set channel.payload to application/fhir+json"
            }
            Self::NoBody => "the request has no body",
            Self::NotGzip => "the body is not the gzip that Content-Encoding says",
            Self::NoResourceType => "the body is not a FHIR resource: no resourceType",
            Self::NoId => "the resource has no id, and neither has the URL",
            Self::UrlDisagrees => "the URL and the body name different resources",
            Self::BadBundle => {
                "the Bundle is none that lakehook reads: a transaction or batch of PUT and DELETE entries, or a notification of a topic subscription"
            }
            Self::BadBundleEntry => {
                "an entry of the Bundle is neither a PUT of a resource with an id nor a DELETE of Type/id"
            }
            Self::BadDeletedResource => "X-Medplum-Deleted-Resource is not Type/id",
            Self::NoContentAndNoCdr => {
                "the notification names a resource without its content: set the content to full-resource at the Subscription, or tell lakehook the CDR's base URL with --cdr-url"
            }
            Self::BodyCut => "the body ended before its Content-Length",
        }
    }
}
