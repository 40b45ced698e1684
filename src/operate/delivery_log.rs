//! One line a delivery, and the two troubleshooting logs. Of a resource never more than type, id, version and
//! lastUpdated, at any level.

use std::net::SocketAddr;
use std::time::Duration;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, Method, StatusCode};

use crate::forward::Report;
use crate::verdict::Verdict;

/// Of the lines that tell what became of a request.
pub const TARGET: &str = "lakehook::delivery";

/// A request as it came in, as far as logs tell of it.
#[derive(Debug)]
pub struct Received {
    /// The delivery's id: ours, also the answer's `x-request-id`
    pub id: String,
    pub peer: Option<String>,
    /// Set by a balancer, or by anyone: not to be trusted
    pub forwarded_for: Option<String>,
    pub traceparent: Option<String>,
    /// The invocation of the function that it came with, on AWS Lambda
    pub aws_request_id: Option<String>,
    /// Where a collector is named: the trace that this is a part of
    pub trace_id: Option<String>,
}

/// What the subscription log tells of a notification's shape.
pub struct Shape {
    /// A class, not the header: a Binary's is one of its elements.
    media: &'static str,
    content_length: Option<u64>,
    gzip: bool,
}

impl Received {
    pub fn new(peer: Option<SocketAddr>, headers: &HeaderMap) -> Self {
        let peer = peer.map(|peer| match peer.port() {
            // Where somebody else had the connection, only its other end's address is known.
            0 => peer.ip().to_string(),
            _ => peer.to_string(),
        });
        Self {
            id: uuid::Uuid::new_v4().simple().to_string(),
            peer,
            forwarded_for: checked(headers, "x-forwarded-for", |c| {
                c.is_ascii_hexdigit() || matches!(c, '.' | ':' | ',' | ' ' | '[' | ']')
            }),
            traceparent: checked(headers, "traceparent", |c| c.is_ascii_hexdigit() || c == '-'),
            aws_request_id: None,
            trace_id: None,
        }
    }
}

impl Shape {
    pub fn of(headers: &HeaderMap) -> Self {
        Self {
            media: crate::receive::media_name(headers),
            content_length: headers
                .get(CONTENT_LENGTH)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| value.parse().ok()),
            gzip: headers.contains_key(http::header::CONTENT_ENCODING),
        }
    }
}

/// A header's text where it is short and of the characters it may have: what a stranger sends is not to
/// write our log.
fn checked(headers: &HeaderMap, name: &str, allowed: impl Fn(char) -> bool) -> Option<String> {
    let text = headers.get(name)?.to_str().ok()?;
    (text.len() <= 200 && text.chars().all(allowed)).then(|| text.to_owned())
}

/// The line of a delivery that a command sent; the id it was given.
pub fn commanded(report: &Report) -> String {
    let id = uuid::Uuid::new_v4().simple().to_string();
    let received = Received {
        id,
        peer: None,
        forwarded_for: None,
        traceparent: None,
        aws_request_id: None,
        trace_id: None,
    };
    delivered(&received, report);
    received.id
}

/// The line of one delivery.
pub fn delivered(received: &Received, report: &Report) {
    let milliseconds = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let said = report.said.as_ref();
    let letter = match &report.verdict {
        Verdict::DeadLettered { refused, letter } => Some((refused, letter)),
        _ => None,
    };
    let filtered = match &report.verdict {
        Verdict::Filtered { rule, withdrawn } => Some((*rule, *withdrawn)),
        _ => None,
    };
    macro_rules! line {
        ($level:ident) => {
            tracing::$level!(
                target: TARGET,
                delivery = received.id,
                key = report.key.as_ref().map(tracing::field::display),
                interaction = report.interaction,
                source = report.source.name(),
                version_id = report.version.version_id.as_deref(),
                last_updated = report.version.last_updated.as_deref(),
                verdict = report.verdict.name(),
                refused = letter.map(|(refused, _)| refused.name()),
                filter_rule = filtered.map(|(rule, _)| rule.name()),
                withdrawn = filtered.and_then(|(_, withdrawn)| withdrawn.then_some(true)),
                letter = letter.map(|(_, letter)| tracing::field::display(letter)),
                healthlake_status = said.map(|said| said.status.as_u16()),
                healthlake_request_id = said.and_then(|said| said.request_id.as_deref()),
                issue_codes = issue_codes(&report.verdict),
                exception = said.and_then(|said| said.exception.as_deref()),
                could_not = report.could_not.as_ref().map(tracing::field::display),
                attempts = report.attempts,
                duration_ms = milliseconds(report.stages.total()),
                validate_ms = milliseconds(report.stages.validate),
                wait_ms = milliseconds(report.stages.wait),
                store_ms = milliseconds(report.stages.store),
                cdr_ms = milliseconds(report.stages.cdr),
                healthlake_ms = milliseconds(report.stages.healthlake),
                asked_cdr = report.order.asked_cdr.then_some(true),
                in_doubt = report.order.in_doubt.then_some(true),
                contended = report.order.contended.then_some(true),
                claim_lost = report.order.claim_lost.then_some(true),
                store_failed = report.order.store_failed.then_some(true),
                precondition = report.order.precondition.then_some(true),
                bytes = report.bytes,
                peer = received.peer.as_deref(),
                forwarded_for = received.forwarded_for.as_deref(),
                traceparent = received.traceparent.as_deref(),
                aws_request_id = received.aws_request_id.as_deref(),
                trace_id = received.trace_id.as_deref(),
                "delivery"
            )
        };
    }
    match &report.verdict {
        Verdict::NotMirrored | Verdict::DeadLettered { .. } => line!(warn),
        verdict if verdict.is_settled() => line!(info),
        Verdict::Internal => line!(error),
        _ => line!(warn),
    }
}

/// Why it was refused, as far as a log may tell: FHIR's IssueTypes, each once.
fn issue_codes(verdict: &Verdict) -> Option<String> {
    match verdict {
        Verdict::Invalid { .. } | Verdict::RefusedByHealthLake(_) | Verdict::DeadLettered { .. } => {
            Some(crate::verdict::issue_codes(verdict.issues()).join(","))
        }
        _ => None,
    }
}

/// The line of a request that did not become a delivery.
pub fn rejected(received: &Received, verdict: &Verdict) {
    tracing::warn!(
        target: TARGET,
        delivery = received.id,
        verdict = verdict.name(),
        reason = match verdict {
            Verdict::BadRequest(reason) => Some(reason.name()),
            _ => None,
        },
        peer = received.peer.as_deref(),
        forwarded_for = received.forwarded_for.as_deref(),
        traceparent = received.traceparent.as_deref(),
        aws_request_id = received.aws_request_id.as_deref(),
        trace_id = received.trace_id.as_deref(),
        "rejected"
    );
}

/// The subscription troubleshooting log: each notification in, and its answer.
pub fn notification(
    received: &Received,
    method: &Method,
    shape: &Shape,
    status: StatusCode,
    verdict: &'static str,
    took: Duration,
) {
    tracing::debug!(
        target: "lakehook::subscription",
        delivery = received.id,
        %method,
        media = shape.media,
        content_length = shape.content_length,
        gzip = shape.gzip,
        status = status.as_u16(),
        verdict,
        milliseconds = took.as_secs_f64() * 1e3,
        peer = received.peer.as_deref(),
        "notification"
    );
}
