//! What HealthLake's answers mean. A status decides only where the body does not say more: first the
//! OperationOutcome's code, then the exception's name, then the status.

use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use serde::Deserialize;

use crate::verdict::{Issue, Severity, Success};

/// HealthLake's answer to one attempt.
#[derive(Clone, Debug)]
pub struct Said {
    pub status: StatusCode,
    /// `x-amzn-requestid`
    pub request_id: Option<String>,
    /// `__type` or `x-amzn-ErrorType`, without namespace
    pub exception: Option<String>,
    /// Codes of the OperationOutcome's issues, as they came
    pub issue_codes: Vec<String>,
    /// HealthLake's own version, `W/"n"`
    pub etag: Option<String>,
    pub meaning: Meaning,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    Done(Success),
    /// DELETE of what is not there.
    Gone,
    /// The type, or this interaction with it, is not supported.
    NotSupported,
    Refused(Vec<Issue>),
    Conflict,
    TooLarge,
    Throttled {
        retry_after: Option<Duration>,
    },
    NotAuthorized,
    /// No such data store, a redirect, or nothing that HealthLake would say.
    Unexpected,
    Failed,
}

/// We couldn't ask, or did not hear the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CouldNot {
    /// HealthLake can't have seen the request.
    #[error("could not connect")]
    Connect,
    /// HealthLake may have seen it.
    #[error("the connection was cut before the answer")]
    Cut,
    #[error("the deadline passed")]
    Deadline,
    #[error("no valid AWS credentials")]
    Credentials,
    #[error("the request can't be signed")]
    Sign,
}

impl CouldNot {
    /// For traces
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Cut => "cut",
            Self::Deadline => "deadline-passed",
            Self::Credentials => "credentials-refused",
            Self::Sign => "sign",
        }
    }
}

impl Said {
    pub fn read(method: &Method, status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        // The resource that a success returns is not looked into.
        let told = if status.is_success() { &[][..] } else { body };
        let outcome = Outcome::parse(told);
        let exception = exception_name(header("x-amzn-errortype"), told);
        let meaning = meaning(method, status, headers, body, outcome.as_ref(), exception.as_deref());
        Self {
            status,
            request_id: header("x-amzn-requestid").or_else(|| header("x-amzn-request-id")),
            exception,
            issue_codes: outcome.map(|o| o.issue.into_iter().map(|i| i.code).collect()).unwrap_or_default(),
            etag: header("etag"),
            meaning,
        }
    }
}

fn meaning(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    body: &[u8],
    outcome: Option<&Outcome>,
    exception: Option<&str>,
) -> Meaning {
    if status.is_success() {
        return success(status, headers, body);
    }
    let retry_after = retry_after(headers);
    if let Some(meaning) = outcome.and_then(|outcome| by_code(outcome, retry_after)) {
        return meaning;
    }
    if let Some(meaning) = exception.and_then(|name| by_exception(name, retry_after)) {
        return meaning;
    }
    match status.as_u16() {
        // Without an exception's name it is the resource that is missing, not the data store. HTML is
        // neither: somebody else answered.
        404 | 410 if *method == Method::DELETE && (outcome.is_some() || body.is_empty()) => Meaning::Gone,
        400 | 422 => outcome.map_or(Meaning::Unexpected, |outcome| Meaning::Refused(outcome.issues())),
        401 | 403 => Meaning::NotAuthorized,
        409 | 412 => Meaning::Conflict,
        413 => Meaning::TooLarge,
        429 => Meaning::Throttled { retry_after },
        500..=599 => Meaning::Failed,
        _ => Meaning::Unexpected,
    }
}

/// A page of some box between here and HealthLake also comes with a 200.
fn success(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Meaning {
    let json = headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.contains("json"));
    let fhir = json && body.trim_ascii_start().starts_with(b"{");
    if !fhir && !body.is_empty() {
        return Meaning::Unexpected;
    }
    match status.as_u16() {
        200 => Meaning::Done(Success::Ok),
        201 => Meaning::Done(Success::Created),
        204 => Meaning::Done(Success::NoContent),
        _ => Meaning::Unexpected,
    }
}

fn by_code(outcome: &Outcome, retry_after: Option<Duration>) -> Option<Meaning> {
    let mut errors = outcome.issue.iter().filter(|issue| issue.is_error());
    let first = errors.next()?;
    let all = |code: &str| first.code == code && errors.clone().all(|issue| issue.code == code);
    match first.code.as_str() {
        // Only where nothing else is wrong: a refused element among others must not let a record go.
        "not-supported" if all("not-supported") => Some(Meaning::NotSupported),
        "throttled" => Some(Meaning::Throttled { retry_after }),
        "conflict" | "lock-error" => Some(Meaning::Conflict),
        "too-long" => Some(Meaning::TooLarge),
        "login" | "expired" | "forbidden" | "security" => Some(Meaning::NotAuthorized),
        _ => None,
    }
}

fn by_exception(name: &str, retry_after: Option<Duration>) -> Option<Meaning> {
    Some(match name {
        "ThrottlingException"
        | "Throttling"
        | "ThrottledException"
        | "RequestThrottled"
        | "RequestThrottledException"
        | "TooManyRequestsException"
        | "RequestLimitExceeded"
        | "ProvisionedThroughputExceededException"
        | "SlowDown" => Meaning::Throttled { retry_after },
        "AccessDenied"
        | "AccessDeniedException"
        | "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "IncompleteSignatureException"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredToken"
        | "ExpiredTokenException"
        | "RequestExpired"
        | "NotAuthorizedException"
        | "UnauthorizedException" => Meaning::NotAuthorized,
        "ConflictException" => Meaning::Conflict,
        "RequestEntityTooLargeException" => Meaning::TooLarge,
        "ResourceNotFoundException" => Meaning::Unexpected,
        "InternalServerException"
        | "InternalFailure"
        | "InternalServerError"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => Meaning::Failed,
        "ValidationException" => Meaning::Refused(vec![Issue {
            severity: Severity::Error,
            code: "invalid".into(),
            diagnostics: "HealthLake refuses the request: ValidationException".into(),
            expression: None,
        }]),
        _ => return None,
    })
}

/// Seconds, or a date; a date in the past is none.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Duration::try_from(at.duration_since(jiff::Timestamp::now())).ok()
}

/// Both headers and bodies write `namespace#Name`, `Name:http://…` or just the name.
fn exception_name(header: Option<String>, body: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "__type", alias = "code")]
        name: Option<String>,
    }
    let in_body = || serde_json::from_slice::<Named>(body).ok().and_then(|named| named.name);
    let name = in_body().or(header)?;
    let name = name.rsplit('#').next().unwrap_or_default();
    let name = name.split(':').next().unwrap_or_default();
    // It goes into logs: a name, or nothing.
    let is_name = !name.is_empty() && name.len() <= 100 && name.bytes().all(|b| b.is_ascii_alphanumeric());
    is_name.then(|| name.to_owned())
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "resourceType")]
    resource_type: String,
    #[serde(default)]
    issue: Vec<OutcomeIssue>,
}

#[derive(Clone, Deserialize)]
struct OutcomeIssue {
    #[serde(default)]
    severity: String,
    #[serde(default)]
    code: String,
    diagnostics: Option<String>,
    details: Option<Details>,
    #[serde(default)]
    expression: Vec<String>,
    #[serde(default)]
    location: Vec<String>,
}

#[derive(Clone, Deserialize)]
struct Details {
    text: Option<String>,
}

impl Outcome {
    /// An interaction that is not supported is answered by an issue alone, without the OperationOutcome
    /// around it.
    fn parse(body: &[u8]) -> Option<Self> {
        if let Ok(outcome) = serde_json::from_slice::<Self>(body) {
            return (outcome.resource_type == "OperationOutcome").then_some(outcome);
        }
        let issue = serde_json::from_slice::<OutcomeIssue>(body).ok()?;
        let whole = !issue.severity.is_empty() && !issue.code.is_empty();
        whole.then(|| Self { resource_type: "OperationOutcome".into(), issue: vec![issue] })
    }

    /// The errors first: HealthLake mixes them with warnings.
    fn issues(&self) -> Vec<Issue> {
        let mut issues: Vec<_> = self.issue.iter().map(OutcomeIssue::to_issue).collect();
        issues.sort_by_key(|issue| matches!(issue.severity, Severity::Warning | Severity::Information));
        issues.truncate(20);
        issues
    }
}

impl OutcomeIssue {
    fn is_error(&self) -> bool {
        !matches!(self.severity.as_str(), "warning" | "information")
    }

    fn to_issue(&self) -> Issue {
        let text = self.diagnostics.as_ref().or(self.details.as_ref().and_then(|d| d.text.as_ref()));
        let place = self.expression.first().or(self.location.first());
        Issue {
            severity: match self.severity.as_str() {
                "fatal" => Severity::Fatal,
                "warning" => Severity::Warning,
                "information" => Severity::Information,
                _ => Severity::Error,
            },
            code: if self.code.is_empty() { "processing".into() } else { cut(&self.code, 64) },
            diagnostics: text.map(|text| cut(text, 1000)).unwrap_or_default(),
            expression: place.map(|place| cut(place, 200)),
        }
    }
}

fn cut(text: &str, characters: usize) -> String {
    text.chars().take(characters).collect()
}

#[cfg(test)]
#[path = "meaning_tests.rs"]
mod tests;
