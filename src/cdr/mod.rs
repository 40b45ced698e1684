//! The CDR's own REST API, as a client: for what only the CDR can tell, and for what is set up there.
//!
//! Reads are tried again within their deadline; writes are sent once. `read` serves deliveries, `page` the walks
//! over everything, `bulk` has the server write everything, `write` is the set-up, `capabilities` tells what kind of server it is.

mod assertion;
mod authorization;
mod bulk;
mod capabilities;
mod error;
mod key;
mod oauth;
mod outcome;
mod page;
mod read;
mod request;
pub mod subscription;
mod write;

#[cfg(test)]
mod tests;

use std::time::Duration;

use reqwest::Url;

pub use authorization::Authorization;
pub use bulk::{BulkExport, BulkFile, Download};
pub use capabilities::{Capabilities, Server};
pub use error::CdrError;
pub use key::{KeyError, SigningKey};
pub use oauth::{ClientSecret, OAuth, Secret, TokenUrl};
pub use outcome::Outcome;
pub use page::{Entry, Page};
pub use read::Current;
pub use write::Answer;

use crate::healthlake::{Trust, is_loopback};

/// A FHIR base URL and how to authenticate there.
pub struct Cdr {
    /// Without a slash at its end
    base: Url,
    client: reqwest::Client,
    authorization: Authorization,
    /// Larger resources are not read (bytes).
    limit: usize,
    #[cfg(test)]
    simulated: Option<Simulated>,
}

/// A CDR without a socket, for `crate::simulation`: the status and the body of a path below its base.
#[cfg(test)]
pub(crate) type Simulated = std::sync::Arc<
    dyn Fn(String) -> futures_util::future::BoxFuture<'static, Result<(u16, bytes::Bytes), CdrError>>
        + Send
        + Sync,
>;

/// A page of a search holds many resources, a CapabilityStatement every search parameter of every type.
const LARGE: usize = 64 << 20;

impl Cdr {
    /// `base` is the FHIR base URL; resources above `limit` bytes are not read.
    pub fn new(
        base: &Url,
        authorization: Authorization,
        limit: usize,
        trust: &Trust,
    ) -> Result<Self, reqwest::Error> {
        let mut base = base.clone();
        let path = base.path().trim_end_matches('/').to_owned();
        base.set_path(&path);
        let client = client(&base, trust)?;
        Ok(Self {
            base,
            client,
            authorization,
            limit,
            #[cfg(test)]
            simulated: None,
        })
    }

    /// `client` is not used.
    #[cfg(test)]
    #[allow(clippy::unwrap_used)]
    pub(crate) fn simulated(simulated: Simulated, client: reqwest::Client) -> Self {
        let base = Url::parse("http://simulated/").unwrap();
        let authorization = Authorization::None;
        Self { base, client, authorization, limit: usize::MAX, simulated: Some(simulated) }
    }

    /// The FHIR base URL, without a slash at its end.
    pub fn base(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }
}

/// Redirects are not followed: the Authorization must not go elsewhere. No proxy reaches loopback.
fn client(url: &Url, trust: &Trust) -> Result<reqwest::Client, reqwest::Error> {
    let mut builder = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(2))
        .redirect(reqwest::redirect::Policy::none());
    if url.host_str().is_some_and(is_loopback) {
        builder = builder.no_proxy();
    }
    trust.apply(builder)?.build()
}
