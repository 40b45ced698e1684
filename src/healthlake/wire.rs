//! The line to HealthLake: one request out, its answer in, and the log of both.

#[cfg(test)]
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};
use reqwest::Url;
use tokio::time::Instant;

use super::{CouldNot, Said};
use crate::order::record::Etag;
use crate::verdict::is_issue_code;

pub(super) enum Wire {
    Http(reqwest::Client),
    #[cfg(test)]
    Simulated(Simulated),
}

impl Wire {
    pub fn http(&self) -> Option<&reqwest::Client> {
        match self {
            Self::Http(client) => Some(client),
            #[cfg(test)]
            Self::Simulated(_) => None,
        }
    }

    pub async fn send(
        client: &reqwest::Client,
        call: &Call,
        request: reqwest::Request,
    ) -> Result<Exchange, CouldNot> {
        let mut response = client
            .execute(request)
            .await
            .map_err(|error| if error.is_connect() { CouldNot::Connect } else { CouldNot::Cut })?;
        let stated = response.content_length().and_then(|length| usize::try_from(length).ok());
        let mut body = Vec::with_capacity(stated.unwrap_or_default().min(call.limit));
        while let Some(chunk) = response.chunk().await.map_err(|_| CouldNot::Cut)? {
            if body.len() + chunk.len() > call.limit {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let said = Said::read(&call.method, response.status(), response.headers(), &body);
        Ok(Exchange { said, headers: std::mem::take(response.headers_mut()), body: body.into() })
    }

    #[cfg(test)]
    pub async fn simulate(wire: &Simulated, call: &Call, body: &Bytes) -> Result<Exchange, CouldNot> {
        let mut request = http::Request::builder().method(call.method.clone()).uri(call.url.as_str());
        if let Some(etag) = call.if_match {
            request = request.header(http::header::IF_MATCH, etag.header());
        }
        let response = wire(request.body(body.clone()).map_err(|_| CouldNot::Sign)?).await?;
        let (parts, body) = response.into_parts();
        let said = Said::read(&call.method, parts.status, &parts.headers, &body);
        Ok(Exchange { said, headers: parts.headers, body })
    }
}

/// HealthLake without a socket and without signatures, for `crate::simulation`.
#[cfg(test)]
pub(crate) type Simulated = Arc<
    dyn Fn(
            http::Request<Bytes>,
        ) -> futures_util::future::BoxFuture<'static, Result<http::Response<Bytes>, CouldNot>>
        + Send
        + Sync,
>;

pub(super) struct Call {
    pub method: Method,
    pub url: Url,
    /// The URL's shape, for traces
    pub template: &'static str,
    pub if_match: Option<Etag>,
    /// The answer is read to this size (bytes).
    pub limit: usize,
    /// It was sent before, so often
    pub resend: u32,
}

impl Call {
    pub fn get(url: Url, template: &'static str, limit: usize) -> Self {
        Self { method: Method::GET, url, template, if_match: None, limit, resend: 0 }
    }
}

/// One answer as it came, for those who ask why.
#[derive(Debug)]
pub struct Exchange {
    pub said: Said,
    pub headers: HeaderMap,
    pub body: Bytes,
}

/// The export troubleshooting log: each exchange with HealthLake, nothing of a resource's content.
pub(super) fn export_log(
    method: &Method,
    url: &str,
    result: &Result<Exchange, CouldNot>,
    request_bytes: usize,
    started: Instant,
) {
    let path = url.splitn(4, '/').nth(3).unwrap_or_default();
    let milliseconds = started.elapsed().as_secs_f64() * 1e3;
    match result {
        Ok(Exchange { said, body, .. }) => tracing::debug!(
            target: "lakehook::export",
            %method, path, request_bytes, milliseconds,
            status = said.status.as_u16(),
            request_id = said.request_id,
            exception = said.exception,
            issue_codes = ?said.issue_codes.iter().filter(|code| is_issue_code(code)).collect::<Vec<_>>(),
            etag = said.etag,
            answer_bytes = body.len(),
            "exchange"
        ),
        Err(error) => {
            tracing::debug!(target: "lakehook::export", %method, path, request_bytes, milliseconds, %error, "exchange");
        }
    }
}
