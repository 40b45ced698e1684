//! SigV4 for HealthLake: what is signed is what is sent.

use std::time::SystemTime;

use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use sha2::{Digest, Sha256};

/// HealthLake's name in a credential scope.
pub const SERVICE: &str = "healthlake";

#[derive(Debug, thiserror::Error)]
#[error("the request can't be signed")]
pub struct SignError;

/// What a signature is for, besides the request itself.
#[derive(Clone, Copy)]
pub struct Scope<'a> {
    pub service: &'a str,
    pub region: &'a str,
    pub time: SystemTime,
}

/// Adds `x-amz-date`, `x-amz-security-token` and `authorization` to `headers`, which must already hold
/// `host` and whatever else is to be covered by the signature.
pub fn add_signature(
    method: &Method,
    url: &str,
    headers: &mut HeaderMap,
    body: &[u8],
    identity: &Identity,
    scope: Scope<'_>,
) -> Result<(), SignError> {
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region(scope.region)
        .name(scope.service)
        .time(scope.time)
        .settings(SigningSettings::default())
        .build()
        .map_err(|_| SignError)?
        .into();
    let pairs: Vec<(&str, &str)> = headers
        .iter()
        .map(|(name, value)| Ok((name.as_str(), value.to_str().map_err(|_| SignError)?)))
        .collect::<Result<_, SignError>>()?;
    // The digest, not the body: the signer writes the request it is given into its trace log.
    let body = SignableBody::Precomputed(sha256_hex(body));
    let request =
        SignableRequest::new(method.as_str(), url, pairs.into_iter(), body).map_err(|_| SignError)?;
    let (instructions, _) = sign(request, &params).map_err(|_| SignError)?.into_parts();
    for (name, value) in instructions.headers() {
        let mut header = HeaderValue::from_str(value).map_err(|_| SignError)?;
        header.set_sensitive(matches!(name, "authorization" | "x-amz-security-token"));
        headers.insert(HeaderName::from_bytes(name.as_bytes()).map_err(|_| SignError)?, header);
    }
    Ok(())
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    let mut text = vec![0; 64];
    // Twice a digest's length is what it takes; and hex is ASCII.
    let _ = hex::encode_to_slice(Sha256::digest(bytes), &mut text);
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
