//! The shapes of HealthLake's answers: resources, OperationOutcomes, and AWS's own errors, which are neither.

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, LOCATION};
use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::faults::Replacement;
use super::sigv4::Refusal;

const FHIR_JSON: &str = "application/fhir+json";

#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: Vec<(HeaderName, String)>,
    pub(super) body: Bytes,
}

const ERROR_TYPE: &str = "x-amzn-errortype";

impl Answer {
    pub(super) fn empty(status: StatusCode) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    fn with_body(status: StatusCode, content_type: &str, body: impl Into<Bytes>) -> Self {
        Self { status, headers: vec![(CONTENT_TYPE, content_type.to_owned())], body: body.into() }
    }

    pub(super) fn fhir(status: StatusCode, body: impl Into<Bytes>) -> Self {
        Self::with_body(status, FHIR_JSON, body)
    }

    pub(super) fn xml(status: StatusCode, body: String) -> Self {
        Self::with_body(status, "text/xml", body)
    }

    pub(super) fn text(status: StatusCode, body: &'static str) -> Self {
        Self::with_body(status, "text/plain", body)
    }

    /// Not FHIR: AWS's JSON error, as the service's front answers it.
    pub(super) fn aws(status: StatusCode, kind: &str, message: &str) -> Self {
        let body = json!({"__type": kind, "message": message}).to_string();
        let mut answer = Self::with_body(status, "application/json", body);
        answer.headers.push((HeaderName::from_static(ERROR_TYPE), kind.to_owned()));
        answer
    }

    pub(super) fn outcome(status: StatusCode, code: &str, diagnostics: &str) -> Self {
        Self::issue(status, json!({"severity": "error", "code": code, "diagnostics": diagnostics}))
    }

    /// What HealthLake says when a resource fails validation.
    pub(super) fn invalid(diagnostics: &str) -> Self {
        let text = "FHIR resource in payload failed FHIR validation rules.";
        let issue = json!({
            "severity": "error", "code": "processing", "details": {"text": text}, "diagnostics": diagnostics,
        });
        Self::issue(StatusCode::BAD_REQUEST, issue)
    }

    fn issue(status: StatusCode, issue: Value) -> Self {
        Self::fhir(status, json!({"resourceType": "OperationOutcome", "issue": [issue]}).to_string())
    }

    pub(super) fn unsupported_type(kind: &str) -> Self {
        let diagnostics = format!("ResourceType {kind} is not supported.");
        Self::outcome(StatusCode::BAD_REQUEST, "not-supported", &diagnostics)
    }

    pub(super) fn unsupported_interaction() -> Self {
        Self::outcome(StatusCode::BAD_REQUEST, "not-supported", "Interaction not supported.")
    }

    pub(super) fn bad_request(diagnostics: &str) -> Self {
        Self::outcome(StatusCode::BAD_REQUEST, "processing", diagnostics)
    }

    /// AWS's text about a value that does not match the pattern of the call's parameter.
    pub(super) fn bad_parameter(name: &str, value: &str, pattern: &str) -> Self {
        Self::bad_request(&format!(
            "1 validation error detected: Value '{value}' at '{name}' failed to satisfy constraint: \
             Member must satisfy regular expression pattern: {pattern}"
        ))
    }

    pub(super) fn too_large() -> Self {
        Self::text(StatusCode::PAYLOAD_TOO_LARGE, "Request Entity Too Large")
    }

    pub(super) fn throttled(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::TOO_MANY_REQUESTS);
        Self::aws(status, "ThrottlingException", "Rate exceeded")
    }

    /// A signature that did not pass; never an OperationOutcome.
    pub(super) fn refused(refusal: &Refusal) -> Self {
        let forbidden = |kind, message: &str| Self::aws(StatusCode::FORBIDDEN, kind, message);
        match refusal {
            Refusal::Unsigned => Self::aws(
                StatusCode::UNAUTHORIZED,
                "MissingAuthenticationTokenException",
                "Missing Authentication Token",
            ),
            Refusal::Incomplete(message) => forbidden("IncompleteSignatureException", message),
            Refusal::UnknownKey | Refusal::InvalidToken => forbidden(
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
            ),
            Refusal::ExpiredToken => {
                forbidden("ExpiredTokenException", "The security token included in the request is expired")
            }
            Refusal::Skewed(message) | Refusal::WrongScope(message) => {
                forbidden("InvalidSignatureException", message)
            }
            Refusal::Mismatch(canonical) => forbidden("InvalidSignatureException", &mismatch(canonical)),
        }
    }

    pub(super) fn with_etag(mut self, version: u64) -> Self {
        self.headers.push((ETAG, format!("W/\"{version}\"")));
        self
    }

    /// The same POST again: what the first one made stands in `Location`.
    pub(super) fn duplicate(location: String) -> Self {
        let text = "A request with this idempotency key was processed already.";
        let mut answer = Self::outcome(StatusCode::CONFLICT, "duplicate", text);
        answer.headers.push((LOCATION, location));
        answer
    }

    /// What a fault wants instead; what it leaves open stays as it is.
    pub(super) fn replaced(mut self, by: Replacement) -> Self {
        if let Some(status) = by.status.and_then(|status| StatusCode::from_u16(status).ok()) {
            self.status = status;
        }
        let default_type = match &by.body {
            Some(Value::String(_)) => Some("text/plain; charset=utf-8"),
            Some(_) => Some("application/json"),
            None => None,
        };
        if by.body.is_some() {
            // The name of another answer's exception would contradict the body.
            self.headers.retain(|(name, _)| name != ERROR_TYPE);
        }
        match by.body {
            Some(Value::String(text)) => self.body = text.into(),
            Some(value) => self.body = value.to_string().into(),
            None => {}
        }
        if let Some(content_type) = by.content_type.as_deref().or(default_type) {
            self.headers.retain(|(name, _)| name != CONTENT_TYPE);
            self.headers.push((CONTENT_TYPE, content_type.to_owned()));
        }
        for (name, value) in by.headers {
            if let Ok(name) = name.parse::<HeaderName>() {
                self.headers.retain(|(other, _)| *other != name);
                self.headers.push((name, value));
            }
        }
        self
    }

    pub(super) fn into_response(self, request_id: &str) -> Response {
        let mut response = Response::new(Body::from(self.body));
        *response.status_mut() = self.status;
        let request_id = (HeaderName::from_static("x-amzn-requestid"), request_id.to_owned());
        for (name, value) in [request_id].into_iter().chain(self.headers) {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// AWS tells the canonical request it computed: the first thing to compare when a signer is wrong.
pub(super) fn mismatch(canonical: &str) -> String {
    format!(
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret \
         Access Key and signing method. Consult the service documentation for details.\n\nThe Canonical String \
         for this request should have been\n'{canonical}'"
    )
}
