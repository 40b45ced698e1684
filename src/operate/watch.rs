//! Secrets and certificates in files are read again when they change.

use std::sync::Arc;
use std::time::Duration;

use crate::receive::{Callers, SecretsError, Tls};

/// Kubernetes swaps a mounted secret's link, editors write anew: contents are compared, not times.
const EVERY: Duration = Duration::from_secs(2);

pub async fn watch_files(callers: Vec<Arc<Callers>>, tls: Option<Arc<Tls>>) {
    let mut told = None;
    loop {
        tokio::time::sleep(EVERY).await;
        let (callers, tls) = (callers.clone(), tls.clone());
        let reload = move || {
            let secrets = callers
                .iter()
                .try_fold(false, |changed, callers| Ok(callers.reload()? | changed))
                .map_err(|error: SecretsError| format!("secrets: {error}"));
            let certificate = match &tls {
                Some(tls) => tls.reload().map_err(|error| format!("certificate: {error}")),
                None => Ok(false),
            };
            (secrets, certificate)
        };
        let Ok((secrets, certificate)) = tokio::task::spawn_blocking(reload).await else { return };
        for (what, result) in [("secrets", &secrets), ("certificate", &certificate)] {
            if let Ok(true) = result {
                tracing::info!(what, "read again, since its file changed");
            }
        }
        // Once for each fault, not once every two seconds.
        let fault = secrets.err().or(certificate.err());
        if let Some(fault) = fault.as_ref().filter(|fault| told.as_ref() != Some(*fault)) {
            tracing::error!(%fault, "a changed file can't be used; what was read before stays in use");
        }
        told = fault;
    }
}
