//! One resource as it is now.

use bytes::Bytes;
use tokio::time::Instant;

use super::request::{Ask, Reply};
use super::{Cdr, CdrError};
use crate::delivery::Key;

/// What the CDR has now.
#[derive(Debug)]
pub enum Current {
    /// As FHIR JSON, in the CDR's own spelling
    Resource(Bytes),
    /// 404 or 410: it is not there, or not any more.
    Gone,
}

impl Cdr {
    /// The current version of `key`. Tried again where that may help, until the deadline.
    pub async fn read(&self, key: &Key, deadline: Instant) -> Result<Current, CdrError> {
        let path = format!("{}/{}", key.resource_type(), key.id());
        let reply =
            self.fetch(Ask::get(self.url(&path)).of_resource(), self.limit, "--max-body", deadline).await;
        let result = reply.and_then(|reply| match reply.status {
            200 => Ok(Current::Resource(reply.body)),
            404 | 410 => Ok(Current::Gone),
            _ => Err(reply.into_error()),
        });
        if let Err(error) = &result {
            tracing::warn!(%key, %error, "could not read the CDR");
        }
        result
    }

    /// GET of `path` below the base: the status and the body, which is empty where the status is not 200.
    pub async fn get(&self, path: &str, deadline: Instant) -> Result<(u16, Bytes), CdrError> {
        let reply = self.fetch(Ask::get(self.url(path)), self.limit, "--max-body", deadline).await?;
        let Reply { status, body, .. } = reply;
        Ok((status, if status == 200 { body } else { Bytes::new() }))
    }
}
