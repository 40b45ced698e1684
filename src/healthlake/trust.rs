//! Which certificates are believed: the system's, and those of a file for sites that inspect TLS or run a
//! private endpoint. STS and HealthLake are reached by two HTTP clients; both get the same file.

use std::path::{Path, PathBuf};

use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use aws_smithy_runtime_api::client::http::SharedHttpClient;

/// A PEM bundle besides the system's roots; or none.
#[derive(Clone, Default)]
pub struct Trust {
    pem: Option<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: holds no PEM certificate")]
    NoCertificate { path: PathBuf },
}

impl Trust {
    pub fn from_file(path: &Path) -> Result<Self, TrustError> {
        let pem =
            std::fs::read(path).map_err(|source| TrustError::Unreadable { path: path.to_owned(), source })?;
        match reqwest::Certificate::from_pem_bundle(&pem) {
            Ok(certificates) if !certificates.is_empty() => Ok(Self { pem: Some(pem) }),
            _ => Err(TrustError::NoCertificate { path: path.to_owned() }),
        }
    }

    pub fn apply(&self, builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, reqwest::Error> {
        let Some(pem) = &self.pem else { return Ok(builder) };
        Ok(builder.tls_certs_merge(reqwest::Certificate::from_pem_bundle(pem)?))
    }

    /// The AWS SDK's client with the same roots; None where its default does. Like the default it goes through
    /// the environment's proxy, unless STS is on loopback (`proxied`: false), where no proxy can reach it.
    pub(super) fn sdk_client(&self, proxied: bool) -> Option<SharedHttpClient> {
        if self.pem.is_none() && proxied {
            return None;
        }
        let mut store = tls::TrustStore::default();
        if let Some(pem) = &self.pem {
            store = store.with_pem_certificate(pem.as_slice());
        }
        let context = tls::TlsContext::builder().with_trust_store(store).build().ok()?;
        Some(aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
            let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
            let mut connector = Connector::builder().tls_provider(provider).tls_context(context.clone());
            connector.set_connector_settings(settings.cloned());
            if let Some(components) = components {
                connector.set_sleep_impl(components.sleep_impl());
            }
            let proxy = if proxied { ProxyConfig::from_env() } else { ProxyConfig::disabled() };
            connector.set_proxy_config(Some(proxy));
            connector.build()
        }))
    }
}
