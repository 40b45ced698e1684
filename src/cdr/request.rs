//! One request to the CDR: authorization, bounds, and what is tried again.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, HeaderValue, Method};
use reqwest::Url;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::Instrument;

use super::{Cdr, CdrError, LARGE, Outcome};
use crate::trace;

pub(super) const FHIR_JSON: &str = "application/fhir+json";
/// Attempts of a GET, the first one included.
const ATTEMPTS: u32 = 4;
const FIRST_PAUSE: Duration = Duration::from_millis(250);
/// An answer that is no 2xx is read this far: it is an OperationOutcome, or nothing of interest.
const OUTCOME_LIMIT: usize = 256 << 10;

/// What is asked.
pub(super) struct Ask {
    pub method: Method,
    pub url: Url,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Option<Bytes>,
    /// The URL's shape, for traces; empty where it may be any
    pub template: &'static str,
}

impl Ask {
    pub fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: None, template: "" }
    }

    /// Of one resource
    pub fn of_resource(mut self) -> Self {
        self.template = "{Type}/{id}";
        self
    }

    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// What was answered, whatever the status.
pub(super) struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Reply {
    pub fn into_error(self) -> CdrError {
        CdrError::Status { status: self.status, outcome: Outcome::read(&self.body) }
    }

    fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Those that a moment later may be answered otherwise; 501 never is.
    fn may_pass(&self) -> bool {
        self.status == 429 || (self.status >= 500 && self.status != 501)
    }

    /// Seconds or a date.
    pub fn retry_after(&self) -> Option<Duration> {
        let text = self.headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
        if let Ok(seconds) = text.parse() {
            return Some(Duration::from_secs(seconds));
        }
        let at = httpdate::parse_http_date(text).ok()?;
        Some(at.duration_since(SystemTime::now()).unwrap_or_default())
    }
}

impl Cdr {
    /// `path` below the base, with its query.
    pub(super) fn url(&self, path: &str) -> Url {
        let base = &self.base;
        let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
        let mut url = base.clone();
        let path = path.trim_start_matches('/');
        if !path.is_empty() {
            url.set_path(&format!("{}/{path}", base.path().trim_end_matches('/')));
        }
        url.set_query(query);
        url
    }

    /// A GET, tried again after 429, 5xx and cut connections, with growing pauses or as `Retry-After` says, as
    /// long as the deadline is not reached by that. `named` is what bounds the body, for the error.
    pub(super) async fn fetch(
        &self,
        ask: Ask,
        limit: usize,
        named: &'static str,
        deadline: Instant,
    ) -> Result<Reply, CdrError> {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            let path = ask.url.path().trim_start_matches('/').to_owned();
            let (status, body) =
                timeout_at(deadline, simulated(path)).await.unwrap_or(Err(CdrError::Deadline))?;
            return Ok(Reply { status, headers: HeaderMap::new(), body });
        }
        let mut pause = FIRST_PAUSE;
        for attempt in 1.. {
            let result = self.send(&ask, limit, named, deadline).await;
            let wanted = match &result {
                Ok(reply) if reply.may_pass() => reply.retry_after(),
                Err(CdrError::Unreachable) => None,
                _ => return result,
            };
            let wait = wanted.unwrap_or_else(|| pause.mul_f64(0.75 + fastrand::f64() * 0.5));
            if attempt >= ATTEMPTS || Instant::now() + wait >= deadline {
                return result;
            }
            sleep(wait).await;
            pause *= 2;
        }
        Err(CdrError::Deadline)
    }

    /// One request, and a second one where the first was refused with 401 and another token could be had: what
    /// was refused had no effect, so that holds for writes too.
    pub(super) async fn send(
        &self,
        ask: &Ask,
        limit: usize,
        named: &'static str,
        deadline: Instant,
    ) -> Result<Reply, CdrError> {
        let sent = async {
            let authorization = &self.authorization;
            let mut held = authorization.current().await?;
            let mut reply = self.once(ask, held.value.as_ref(), limit, named).await?;
            if reply.status == 401
                && let Some(other) = authorization.after_refusal(&held).await?
            {
                held = other;
                reply = self.once(ask, held.value.as_ref(), limit, named).await?;
            }
            Ok(reply)
        };
        timeout_at(deadline, sent).await.unwrap_or(Err(CdrError::Deadline))
    }

    async fn once(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
        limit: usize,
        named: &'static str,
    ) -> Result<Reply, CdrError> {
        let at = || (ask.url.host_str().unwrap_or_default(), ask.url.port_or_known_default());
        let span = trace::client(&ask.method, ask.template, at, 0);
        let unended = trace::unended(&span);
        let work = async {
            let reply = self.exchange(ask, authorization, limit, named).await;
            match &reply {
                Ok(reply) => trace::heard(reply.status),
                Err(_) => trace::failed("cdr-unavailable"),
            }
            reply
        };
        let reply = work.instrument(span).await;
        unended.ended();
        reply
    }

    async fn exchange(
        &self,
        ask: &Ask,
        authorization: Option<&HeaderValue>,
        limit: usize,
        named: &'static str,
    ) -> Result<Reply, CdrError> {
        let mut request = self.client.request(ask.method.clone(), ask.url.clone()).header(ACCEPT, FHIR_JSON);
        for (name, value) in &ask.headers {
            request = request.header(name, value);
        }
        if let Some(body) = &ask.body {
            request = request.header(CONTENT_TYPE, FHIR_JSON).body(body.clone());
        }
        if let Some(authorization) = authorization {
            request = request.header(AUTHORIZATION, authorization);
        }
        let mut carried = HeaderMap::new();
        trace::carry_on(&mut carried);
        let mut response = request.headers(carried).send().await.map_err(|_| CdrError::Unreachable)?;
        let mut reply = Reply {
            status: response.status().as_u16(),
            headers: std::mem::take(response.headers_mut()),
            body: Bytes::new(),
        };
        let success = reply.is_success();
        let limit = if success { limit } else { OUTCOME_LIMIT };
        let mut body = Vec::new();
        loop {
            let chunk = match response.chunk().await {
                Ok(Some(chunk)) => chunk,
                Ok(None) => break,
                // The status is what counts of these.
                Err(_) if !success => break,
                Err(_) => return Err(CdrError::Unreachable),
            };
            if body.len() + chunk.len() > limit {
                if success {
                    return Err(CdrError::TooLarge(named));
                }
                break;
            }
            body.extend_from_slice(&chunk);
        }
        reply.body = body.into();
        Ok(reply)
    }

    /// Bound of pages and other large answers (bytes).
    pub(super) fn large(&self) -> usize {
        LARGE.max(self.limit.saturating_mul(4))
    }
}
