//! `/_sandbox/`: what is stored, what took effect, what was asked, and the faults.

use std::collections::VecDeque;
use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, StatusCode, header};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::Sandbox;
use super::faults::{Fault, Service};
use super::resource::instant;

const REQUESTS_KEPT: usize = 100_000;

/// One request to HealthLake or STS: a line of `/_sandbox/requests`. No body, no header's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestLine {
    pub at: String,
    pub service: Service,
    pub method: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// None: the connection was cut.
    pub status: Option<u16>,
    pub key_id: Option<String>,
    /// `valid`, or why not: `unsigned`, `incomplete`, `unknown-key`, `invalid-token`, `expired-token`,
    /// `clock-skew`, `wrong-scope`, `mismatch`; `unread` where the body was too large to be judged.
    pub signature: &'static str,
    pub request_id: String,
}

impl RequestLine {
    pub(super) fn new(parts: &Parts, service: Service, request_id: &str, at: Timestamp) -> Self {
        Self {
            at: instant(at),
            service,
            method: parts.method.to_string(),
            path: parts.uri.path().to_owned(),
            query: parts.uri.query().map(str::to_owned),
            status: None,
            key_id: None,
            signature: "unread",
            request_id: request_id.to_owned(),
        }
    }
}

/// The latest requests; older ones go, so that a long run does not fill the memory.
#[derive(Default)]
pub(super) struct Requests(VecDeque<RequestLine>);

impl Requests {
    pub(super) fn add(&mut self, line: RequestLine) {
        if self.0.len() == REQUESTS_KEPT {
            self.0.pop_front();
        }
        self.0.push_back(line);
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = &RequestLine> {
        self.0.iter()
    }
}

pub(super) async fn loopback_only(request: Request, next: Next) -> Response {
    let peer = request.extensions().get::<ConnectInfo<SocketAddr>>();
    if peer.is_some_and(|ConnectInfo(peer)| peer.ip().to_canonical().is_loopback()) {
        next.run(request).await
    } else {
        refuse(StatusCode::FORBIDDEN, "/_sandbox/ answers on loopback only")
    }
}

pub(super) async fn resources(State(sandbox): State<Sandbox>) -> Response {
    ndjson(sandbox.resources().iter().map(|resource| resource.json.get().to_owned()))
}

pub(super) async fn history(State(sandbox): State<Sandbox>) -> Response {
    ndjson(sandbox.history().iter().map(line))
}

pub(super) async fn requests(State(sandbox): State<Sandbox>) -> Response {
    ndjson(sandbox.requests().iter().map(line))
}

pub(super) async fn faults(State(sandbox): State<Sandbox>) -> Response {
    json(StatusCode::OK, &sandbox.faults())
}

/// One fault or an array of them: all are taken, or none. Answers the active ones.
pub(super) async fn add_faults(State(sandbox): State<Sandbox>, body: Bytes) -> Response {
    let is_array = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'[');
    let read = if is_array {
        serde_json::from_slice::<Vec<Fault>>(&body)
    } else {
        serde_json::from_slice::<Fault>(&body).map(|fault| vec![fault])
    };
    let new = match read {
        Ok(new) => new,
        Err(error) => return refuse(StatusCode::BAD_REQUEST, &format!("not a fault: {error}")),
    };
    if let Some(error) = new.iter().find_map(|fault| fault.check().err()) {
        return refuse(StatusCode::BAD_REQUEST, &format!("not a fault: {error}"));
    }
    for fault in new {
        sandbox.add_fault(fault);
    }
    json(StatusCode::OK, &sandbox.faults())
}

pub(super) async fn clear_faults(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.clear_faults();
    StatusCode::NO_CONTENT
}

pub(super) async fn reset(State(sandbox): State<Sandbox>) -> StatusCode {
    sandbox.reset();
    StatusCode::NO_CONTENT
}

fn refuse(status: StatusCode, error: &str) -> Response {
    json(status, &json!({"error": error}))
}

fn line(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn json(status: StatusCode, value: &impl Serialize) -> Response {
    respond(status, "application/json", line(value))
}

fn ndjson(lines: impl Iterator<Item = String>) -> Response {
    let mut body = String::new();
    for line in lines {
        body.push_str(&line);
        body.push('\n');
    }
    respond(StatusCode::OK, "application/x-ndjson", body)
}

fn respond(status: StatusCode, content_type: &'static str, body: String) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}
