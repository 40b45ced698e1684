//! The CDR as a server that can be asked: for what only it can tell.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::{ACCEPT, AUTHORIZATION};
use tokio::time::{Instant, timeout_at};

use crate::delivery::Key;
use crate::healthlake::{Trust, is_loopback};

/// A FHIR base URL and how to authenticate there.
pub struct Cdr {
    base: String,
    client: reqwest::Client,
    authorization: Option<HeaderValue>,
    /// Larger resources are not read (bytes).
    limit: usize,
    #[cfg(test)]
    simulated: Option<Simulated>,
}

/// A CDR without a socket, for `crate::simulation`: the status and the body of a path below its base.
#[cfg(test)]
pub(crate) type Simulated = std::sync::Arc<
    dyn Fn(String) -> futures_util::future::BoxFuture<'static, Result<(u16, Bytes), CdrError>> + Send + Sync,
>;

/// What the CDR has now.
#[derive(Debug)]
pub enum Current {
    Resource(Bytes),
    /// 404 or 410: it is not there, or not any more.
    Gone,
}

#[derive(Debug, thiserror::Error)]
pub enum CdrError {
    #[error("the CDR answered {0}")]
    Status(u16),
    #[error("the CDR could not be reached")]
    Unreachable,
    #[error("the CDR did not answer before the deadline")]
    Deadline,
    #[error("the CDR's answer is larger than --max-body")]
    TooLarge,
}

impl Cdr {
    /// `base` is the FHIR base URL; `authorization` the whole header value.
    pub fn new(
        base: &reqwest::Url,
        authorization: Option<HeaderValue>,
        limit: usize,
        trust: &Trust,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(2))
            .redirect(reqwest::redirect::Policy::none());
        if base.host_str().is_some_and(is_loopback) {
            builder = builder.no_proxy();
        }
        Ok(Self {
            base: base.as_str().trim_end_matches('/').to_owned(),
            client: trust.apply(builder)?.build()?,
            authorization,
            limit,
            #[cfg(test)]
            simulated: None,
        })
    }

    /// `client` is not used.
    #[cfg(test)]
    pub(crate) fn simulated(simulated: Simulated, client: reqwest::Client) -> Self {
        let (base, limit) = (String::new(), usize::MAX);
        Self { base, client, authorization: None, limit, simulated: Some(simulated) }
    }

    pub async fn read(&self, key: &Key, deadline: Instant) -> Result<Current, CdrError> {
        let path = format!("{}/{}", key.resource_type(), key.id());
        let result = self.get(&path, deadline).await.and_then(|(status, body)| match status {
            200 => Ok(Current::Resource(body)),
            404 | 410 => Ok(Current::Gone),
            status => Err(CdrError::Status(status)),
        });
        if let Err(error) = &result {
            tracing::warn!(%key, %error, "could not read the CDR");
        }
        result
    }

    /// GET of `path` below the base: the status and, where it is 200, the body.
    pub async fn get(&self, path: &str, deadline: Instant) -> Result<(u16, Bytes), CdrError> {
        #[cfg(test)]
        if let Some(simulated) = &self.simulated {
            return timeout_at(deadline, simulated(path.to_owned())).await.unwrap_or(Err(CdrError::Deadline));
        }
        let get = async {
            let url = format!("{}/{path}", self.base);
            let mut request = self.client.get(url).header(ACCEPT, "application/fhir+json");
            if let Some(authorization) = &self.authorization {
                request = request.header(AUTHORIZATION, authorization.clone());
            }
            let mut response = request.send().await.map_err(|_| CdrError::Unreachable)?;
            let status = response.status().as_u16();
            if status != 200 {
                return Ok((status, Bytes::new()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|_| CdrError::Unreachable)? {
                if body.len() + chunk.len() > self.limit {
                    return Err(CdrError::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            Ok((status, body.into()))
        };
        timeout_at(deadline, get).await.unwrap_or(Err(CdrError::Deadline))
    }
}
