//! `Verdict` → HTTP: the only place that knows which status a verdict wears. The table in the README shows
//! the same rows.

mod bundle;
mod outcome;

use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONNECTION, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};

use crate::filter::Rule;
use crate::verdict::{Severity, Success, Verdict};

pub use bundle::{BundleAnswer, bundle};

/// What the CDR should wait where HealthLake names no time.
const THROTTLED_PAUSE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_secs(5);

/// One row of the table: the status and what the OperationOutcome says. Fixed texts: an error of ours or of
/// a library never goes to the caller.
pub(crate) struct Row {
    pub status: StatusCode,
    pub severity: Severity,
    /// FHIR IssueType
    pub code: &'static str,
    pub text: &'static str,
    pub retry_after: Option<Duration>,
}

pub(crate) fn row(verdict: &Verdict) -> Row {
    use Severity::{Error, Information, Warning};
    let row = |status, severity, code, text| Row { status, severity, code, text, retry_after: None };
    let again =
        |status, code, text, pause| Row { status, severity: Error, code, text, retry_after: Some(pause) };
    match verdict {
        Verdict::Mirrored(Success::Ok) => row(StatusCode::OK, Information, "informational", "mirrored"),
        Verdict::Mirrored(Success::Created) => {
            row(StatusCode::CREATED, Information, "informational", "mirrored")
        }
        Verdict::Mirrored(Success::NoContent) => {
            row(StatusCode::NO_CONTENT, Information, "informational", "mirrored")
        }
        Verdict::AlreadyGone => {
            row(StatusCode::NO_CONTENT, Information, "informational", "HealthLake does not have it")
        }
        Verdict::NotMirrored => row(
            StatusCode::OK,
            Warning,
            "not-supported",
            "not mirrored: HealthLake does not support this resource type, or this interaction with it",
        ),
        Verdict::Superseded => row(
            StatusCode::OK,
            Information,
            "informational",
            "superseded: something newer was already forwarded for this resource",
        ),
        Verdict::Filtered { rule, withdrawn } => {
            row(StatusCode::OK, Information, "informational", kept_out(*rule, *withdrawn))
        }
        Verdict::Acknowledged => row(StatusCode::OK, Information, "informational", "acknowledged"),
        Verdict::DeadLettered { refused, .. } => {
            let code = self::row(refused).code;
            row(StatusCode::OK, Warning, code, "refused for good, and kept as a dead letter")
        }
        Verdict::RefusedByHealthLake(_) => {
            row(StatusCode::UNPROCESSABLE_ENTITY, Error, "processing", "HealthLake refuses the resource")
        }
        Verdict::Invalid { malformed: false, .. } => {
            row(StatusCode::UNPROCESSABLE_ENTITY, Error, "invalid", "not a valid R4 resource")
        }
        Verdict::Invalid { malformed: true, .. } => {
            row(StatusCode::BAD_REQUEST, Error, "structure", "the body can't be parsed")
        }
        Verdict::TooLarge { .. } => row(
            StatusCode::PAYLOAD_TOO_LARGE,
            Error,
            "too-long",
            "larger than HealthLake or lakehook takes by REST",
        ),
        Verdict::BadRequest(what) => row(StatusCode::BAD_REQUEST, Error, "invalid", what.text()),
        Verdict::MethodNotAllowed { .. } => row(
            StatusCode::METHOD_NOT_ALLOWED,
            Error,
            "not-supported",
            "lakehook takes changes only; reads stay at the CDR",
        ),
        Verdict::NotFound => row(StatusCode::NOT_FOUND, Error, "not-found", "no such path"),
        Verdict::UnsupportedMediaType(text) => {
            row(StatusCode::UNSUPPORTED_MEDIA_TYPE, Error, "not-supported", text)
        }
        Verdict::BodyTooSlow => {
            row(StatusCode::REQUEST_TIMEOUT, Error, "timeout", "the body did not arrive in time")
        }
        Verdict::Unauthenticated => {
            row(StatusCode::UNAUTHORIZED, Error, "login", "the CDR's token is missing or wrong")
        }
        Verdict::Conflict => {
            row(StatusCode::CONFLICT, Error, "conflict", "HealthLake reports a conflict; send it again")
        }
        Verdict::Throttled { retry_after } => again(
            StatusCode::TOO_MANY_REQUESTS,
            "throttled",
            "HealthLake throttles, or too many deliveries of this resource are waiting; send it again later",
            retry_after.unwrap_or(THROTTLED_PAUSE),
        ),
        Verdict::CredentialsRefused => again(
            StatusCode::SERVICE_UNAVAILABLE,
            "transient",
            "AWS does not accept lakehook's credentials; see lakehook's log",
            PAUSE,
        ),
        Verdict::UnexpectedAnswer => row(
            StatusCode::BAD_GATEWAY,
            Error,
            "transient",
            "HealthLake's answer makes no sense; see lakehook's log",
        ),
        Verdict::HealthLakeFailed { status: 503 } => {
            again(StatusCode::SERVICE_UNAVAILABLE, "transient", "HealthLake is unavailable", THROTTLED_PAUSE)
        }
        Verdict::HealthLakeFailed { .. } => {
            row(StatusCode::BAD_GATEWAY, Error, "transient", "HealthLake failed")
        }
        Verdict::Unreachable => {
            row(StatusCode::BAD_GATEWAY, Error, "transient", "HealthLake can't be reached")
        }
        Verdict::DeadlinePassed => {
            row(StatusCode::GATEWAY_TIMEOUT, Error, "timeout", "the delivery did not end before its deadline")
        }
        Verdict::CdrUnavailable => {
            row(StatusCode::BAD_GATEWAY, Error, "transient", "the resource could not be read from the CDR")
        }
        Verdict::OrderUnavailable => again(
            StatusCode::SERVICE_UNAVAILABLE,
            "transient",
            "lakehook's order store is unavailable; see lakehook's log",
            PAUSE,
        ),
        Verdict::Unsettled => again(
            StatusCode::SERVICE_UNAVAILABLE,
            "transient",
            "an earlier write of the same resource is not settled yet",
            THROTTLED_PAUSE,
        ),
        Verdict::Overloaded => again(
            StatusCode::SERVICE_UNAVAILABLE,
            "throttled",
            "lakehook is overloaded",
            Duration::from_secs(1),
        ),
        Verdict::ShuttingDown => again(
            StatusCode::SERVICE_UNAVAILABLE,
            "transient",
            "lakehook is shutting down",
            Duration::from_secs(1),
        ),
        Verdict::Internal => {
            row(StatusCode::INTERNAL_SERVER_ERROR, Error, "exception", "an error in lakehook")
        }
    }
}

fn kept_out(rule: Rule, withdrawn: bool) -> &'static str {
    match (rule.is_by_type(), withdrawn) {
        (true, false) => "not mirrored: lakehook's filter keeps this resource type out",
        (true, true) => {
            "not mirrored: lakehook's filter keeps this resource type out; what HealthLake had of it is deleted there"
        }
        (false, false) => "not mirrored: lakehook's filter keeps it out by its security labels",
        (false, true) => {
            "not mirrored: lakehook's filter keeps it out by its security labels; HealthLake's earlier version is deleted there"
        }
    }
}

/// The answer to a delivery of one resource.
pub fn one(verdict: &Verdict) -> Response {
    let row = row(verdict);
    // HAPI takes an empty 2xx for success, and says no word about the OperationOutcome of one; but a
    // warning or a reason is worth its bytes.
    let body = match verdict {
        Verdict::Mirrored(_) | Verdict::AlreadyGone => None,
        _ => Some(outcome::json(verdict, &row)),
    };
    respond(verdict, &row, body)
}

/// The OperationOutcome alone, where there is no HTTP.
pub fn outcome(verdict: &Verdict) -> serde_json::Value {
    let row = row(verdict);
    serde_json::to_value(outcome::outcome(verdict, &row)).expect("strings always serialize")
}

fn respond(verdict: &Verdict, row: &Row, body: Option<String>) -> Response {
    let mut response = match body {
        Some(body) => {
            let mut response = Response::new(Body::from(body));
            let fhir = HeaderValue::from_static("application/fhir+json; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, fhir);
            response
        }
        None => Response::new(Body::empty()),
    };
    *response.status_mut() = row.status;
    let headers = response.headers_mut();
    if let Some(pause) = row.retry_after {
        // Whole seconds, at least one: `0` would be read as "at once".
        headers.insert(RETRY_AFTER, HeaderValue::from(pause.as_secs().max(1)));
    }
    match verdict {
        Verdict::MethodNotAllowed { allow } => {
            headers.insert(ALLOW, HeaderValue::from_static(allow));
        }
        Verdict::Unauthenticated => {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"lakehook\""));
        }
        // What remains of such a body is not read any more.
        Verdict::BodyTooSlow => {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        _ => {}
    }
    response.extensions_mut().insert(Answered(verdict.name()));
    response
}

/// The verdict that an answer wears, for the logs.
#[derive(Clone, Copy)]
pub struct Answered(pub &'static str);

impl IntoResponse for Verdict {
    fn into_response(self) -> Response {
        one(&self)
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) use tests::every_verdict;
