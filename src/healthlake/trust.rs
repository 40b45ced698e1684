//! Which certificates are believed: the system's, and those of a file for sites that inspect TLS or run a
//! private endpoint. STS and HealthLake are reached by two HTTP clients; both get the same file.

use std::path::{Path, PathBuf};

use aws_smithy_http_client::tls;

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

    /// The AWS SDK's client with the same roots; None where its default does.
    pub(super) fn sdk_client(&self) -> Option<aws_smithy_runtime_api::client::http::SharedHttpClient> {
        let pem = self.pem.as_ref()?;
        let store = tls::TrustStore::default().with_pem_certificate(pem.as_slice());
        let context = tls::TlsContext::builder().with_trust_store(store).build().ok()?;
        let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
        Some(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https())
    }
}
