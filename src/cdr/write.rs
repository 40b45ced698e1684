//! Writes and operations: sent once, since a second one may do it twice.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ETAG, HeaderName, IF_MATCH, LOCATION};
use http::{HeaderValue, Method};
use tokio::time::Instant;

use super::request::{Ask, Reply};
use super::{Cdr, CdrError, Outcome};
use crate::delivery::Key;

const PATIENCE: Duration = Duration::from_secs(60);
const PREFER: HeaderName = HeaderName::from_static("prefer");

/// What the CDR answered, whatever the status.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    /// What its OperationOutcome says, where the body is one
    pub outcome: Outcome,
    pub etag: Option<String>,
    pub location: Option<String>,
}

impl Answer {
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Itself where it is a 2xx.
    pub fn success(self) -> Result<Self, CdrError> {
        if self.is_success() {
            return Ok(self);
        }
        Err(CdrError::Status { status: self.status, outcome: self.outcome })
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Self {
        let text = |name: HeaderName| {
            reply.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned)
        };
        Self {
            status: reply.status,
            outcome: Outcome::read(&reply.body),
            etag: text(ETAG),
            location: text(LOCATION),
            body: reply.body,
        }
    }
}

impl Cdr {
    /// `POST {base}/{Type}`: the CDR chooses the id.
    pub async fn create(&self, resource_type: &str, json: Bytes) -> Result<Answer, CdrError> {
        self.write(Method::POST, resource_type, Some(json), None).await
    }

    /// `PUT {base}/{Type}/{id}`, which creates it too; `if_match` as in `W/"3"` fails with 412 where the CDR has
    /// another version.
    pub async fn update(&self, key: &Key, json: Bytes, if_match: Option<&str>) -> Result<Answer, CdrError> {
        self.write(Method::PUT, &key.to_string(), Some(json), if_match).await
    }

    /// `DELETE {base}/{Type}/{id}`
    pub async fn delete(&self, key: &Key) -> Result<Answer, CdrError> {
        self.write(Method::DELETE, &key.to_string(), None, None).await
    }

    /// `POST {base}/{path}`, as in `Subscription/1/$trigger-subscription` with Parameters.
    pub async fn operation(&self, path: &str, json: Bytes) -> Result<Answer, CdrError> {
        self.write(Method::POST, path, Some(json), None).await
    }

    pub(super) async fn write(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        if_match: Option<&str>,
    ) -> Result<Answer, CdrError> {
        let mut ask = Ask { method, url: self.url(path), headers: Vec::new(), body, template: "" };
        ask = ask.header(PREFER, HeaderValue::from_static("return=representation"));
        if let Some(version) = if_match {
            let version =
                HeaderValue::from_str(version).map_err(|_| CdrError::Nonsense("a version that is none"))?;
            ask = ask.header(IF_MATCH, version);
        }
        let deadline = Instant::now() + PATIENCE;
        self.send(&ask, self.large(), "an answer may be", deadline).await.map(Answer::from)
    }
}
