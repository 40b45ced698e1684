//! TLS of our own, with client certificates where a CA is configured. The files are read again when they
//! change: a renewed certificate needs no restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;

/// PEM files.
#[derive(Clone, Debug)]
pub struct Files {
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}

pub struct Tls {
    files: Files,
    read: ArcSwap<Read>,
}

struct Read {
    config: Arc<ServerConfig>,
    contents: Vec<Vec<u8>>,
}

#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("{path}: {source}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("{path}: holds no PEM certificate")]
    NoCertificate { path: PathBuf },
    #[error("{path}: holds no PEM private key")]
    NoKey { path: PathBuf },
    #[error("the certificate, its key or the client CA can't be used: {0}")]
    Unusable(String),
}

impl Tls {
    pub fn new(files: Files) -> Result<Arc<Self>, TlsError> {
        let read = read(&files)?;
        Ok(Arc::new(Self { files, read: ArcSwap::from_pointee(read) }))
    }

    pub fn config(&self) -> Arc<ServerConfig> {
        self.read.load().config.clone()
    }

    /// Reads the files again; what can't be used leaves the old certificate in place.
    pub fn reload(&self) -> Result<bool, TlsError> {
        if contents(&self.files)? == self.read.load().contents {
            return Ok(false);
        }
        self.read.store(Arc::new(read(&self.files)?));
        Ok(true)
    }
}

fn contents(files: &Files) -> Result<Vec<Vec<u8>>, TlsError> {
    [Some(&files.certificate), Some(&files.key), files.client_ca.as_ref()]
        .into_iter()
        .flatten()
        .map(|path| std::fs::read(path).map_err(|source| TlsError::Unreadable { path: path.clone(), source }))
        .collect()
}

fn read(files: &Files) -> Result<Read, TlsError> {
    let contents = contents(files)?;
    let chain = certificates(&contents[0], &files.certificate)?;
    let key = PrivateKeyDer::from_pem_slice(&contents[1])
        .map_err(|_| TlsError::NoKey { path: files.key.clone() })?;
    let unusable = |error: &dyn std::error::Error| TlsError::Unusable(error.to_string());
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(&error))?;
    let builder = match (&files.client_ca, contents.get(2)) {
        (Some(path), Some(pem)) => {
            let mut roots = rustls::RootCertStore::empty();
            for certificate in certificates(pem, path)? {
                roots.add(certificate).map_err(|error| unusable(&error))?;
            }
            // A balancer's health check shows no certificate; `Callers` asks for it where it counts.
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .allow_unauthenticated()
                .build()
                .map_err(|error| unusable(&error))?;
            builder.with_client_cert_verifier(verifier)
        }
        _ => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(|error| unusable(&error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Read { config: Arc::new(config), contents })
}

fn certificates(pem: &[u8], path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        _ => Err(TlsError::NoCertificate { path: path.to_owned() }),
    }
}
