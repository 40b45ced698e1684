//! The signature of a delivery, at a fraction of what the general signer takes: the signing key is derived once a day
//! and credentials, and the canonical request of a plain URL with plain headers is written straight down. What is not
//! plain goes the general way, and the tests hold both to the same signature.

use std::fmt::Write;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;
use aws_credential_types::Credentials;
use aws_sigv4::sign::v4;
use http::header::{AUTHORIZATION, HeaderName, TRANSFER_ENCODING, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method};
use jiff::Timestamp;
use jiff::tz::Offset;
use reqwest::Url;
use smallvec::SmallVec;

use super::credentials::Held;
use super::sign::{Scope, SignError, add_signature, sha256_hex};

const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
/// A balancer or a client may change these on the way; nobody signs them.
const UNSIGNED: [HeaderName; 4] =
    [AUTHORIZATION, USER_AGENT, TRANSFER_ENCODING, HeaderName::from_static("x-amzn-trace-id")];

/// Signs for one service in one region.
pub struct Signer {
    service: &'static str,
    region: String,
    key: ArcSwapOption<SigningKey>,
}

/// HMAC of secret, day, region and service
struct SigningKey {
    /// As in the credential scope: 20261125
    day: [u8; 8],
    /// Of the credentials
    generation: u64,
    bytes: [u8; 32],
}

impl Signer {
    pub fn new(service: &'static str, region: String) -> Self {
        Self { service, region, key: ArcSwapOption::empty() }
    }

    /// Adds `x-amz-date`, `x-amz-security-token` and `authorization` to `headers`, which must already hold `host` and
    /// whatever else is to be covered by the signature.
    pub fn sign(
        &self,
        method: &Method,
        url: &Url,
        headers: &mut HeaderMap,
        body: &[u8],
        held: &Held,
        time: SystemTime,
    ) -> Result<(), SignError> {
        match held.identity.data::<Credentials>() {
            Some(credentials) if is_plain(url, headers) => {
                self.sign_plain(method, url.path(), headers, body, (credentials, held.generation), time)
            }
            _ => {
                let scope = Scope { service: self.service, region: &self.region, time };
                add_signature(method, url.as_str(), headers, body, &held.identity, scope)
            }
        }
    }

    fn sign_plain(
        &self,
        method: &Method,
        path: &str,
        headers: &mut HeaderMap,
        body: &[u8],
        (credentials, generation): (&Credentials, u64),
        time: SystemTime,
    ) -> Result<(), SignError> {
        let at = basic_format(time)?;
        let at = str::from_utf8(&at).map_err(|_| SignError)?;
        headers.insert(DATE, HeaderValue::from_str(at).map_err(|_| SignError)?);
        if let Some(token) = credentials.session_token() {
            let mut token = HeaderValue::from_str(token).map_err(|_| SignError)?;
            token.set_sensitive(true);
            headers.insert(TOKEN, token);
        }
        let (names, request) = canonical(method, path, headers, body)?;
        let (day, region, service) = (&at[..8], &self.region, self.service);
        let scope = format!("{day}/{region}/{service}/aws4_request");
        let string = format!("AWS4-HMAC-SHA256\n{at}\n{scope}\n{}", sha256_hex(request.as_bytes()));
        let key = self.key(credentials, generation, day, time)?;
        let signature = v4::calculate_signature(key.bytes, string.as_bytes());
        let id = credentials.access_key_id();
        let authorization =
            format!("AWS4-HMAC-SHA256 Credential={id}/{scope}, SignedHeaders={names}, Signature={signature}");
        let mut authorization = HeaderValue::from_str(&authorization).map_err(|_| SignError)?;
        authorization.set_sensitive(true);
        headers.insert(AUTHORIZATION, authorization);
        Ok(())
    }

    fn key(
        &self,
        credentials: &Credentials,
        generation: u64,
        day: &str,
        time: SystemTime,
    ) -> Result<Arc<SigningKey>, SignError> {
        if let Some(key) = &*self.key.load()
            && key.generation == generation
            && key.day == day.as_bytes()
        {
            return Ok(key.clone());
        }
        let derived =
            v4::generate_signing_key(credentials.secret_access_key(), time, &self.region, self.service);
        let key = Arc::new(SigningKey {
            day: day.as_bytes().try_into().map_err(|_| SignError)?,
            generation,
            bytes: derived.as_ref().try_into().map_err(|_| SignError)?,
        });
        self.key.store(Some(key.clone()));
        Ok(key)
    }
}

/// The names of the headers that are signed, and the canonical request.
fn canonical(
    method: &Method,
    path: &str,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<(String, String), SignError> {
    let mut signed: SmallVec<[(&str, &str); 12]> = SmallVec::new();
    for (name, value) in headers.iter().filter(|(name, _)| !UNSIGNED.contains(name)) {
        signed.push((name.as_str(), value.to_str().map_err(|_| SignError)?));
    }
    signed.sort_unstable();
    let mut names = String::with_capacity(160);
    // A session token is a KB and more.
    let mut request = String::with_capacity(2048);
    let _ = write!(request, "{method}\n{path}\n\n");
    for (name, value) in &signed {
        for part in [name, ":", value, "\n"] {
            request.push_str(part);
        }
        if !names.is_empty() {
            names.push(';');
        }
        names.push_str(name);
    }
    for part in ["\n", &names, "\n", &sha256_hex(body)] {
        request.push_str(part);
    }
    Ok((names, request))
}

/// Nothing in it that a canonical request would write in another way.
fn is_plain(url: &Url, headers: &HeaderMap) -> bool {
    let plain_path = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~' | b'/');
    let plain_value = |value: &HeaderValue| {
        let bytes = value.as_bytes();
        bytes.iter().all(|b| (b' '..=b'~').contains(b))
            && bytes.first() != Some(&b' ')
            && bytes.last() != Some(&b' ')
            && !bytes.windows(2).any(|pair| pair == b"  ")
    };
    url.query().is_none()
        && url.path().bytes().all(plain_path)
        && !url.path().contains("//")
        && !url.path().contains("/.")
        && headers.keys_len() == headers.len()
        && headers.values().all(plain_value)
}

/// 20150830T123600Z
fn basic_format(time: SystemTime) -> Result<[u8; 16], SignError> {
    let at = Timestamp::try_from(time).map_err(|_| SignError)?;
    let at = Offset::UTC.to_datetime(at);
    let mut text = *b"00000000T000000Z";
    let digits = |number: i16, digits: &mut [u8]| {
        let mut left = number.unsigned_abs();
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + (left % 10) as u8;
            left /= 10;
        }
    };
    digits(at.year(), &mut text[0..4]);
    digits(at.month().into(), &mut text[4..6]);
    digits(at.day().into(), &mut text[6..8]);
    digits(at.hour().into(), &mut text[9..11]);
    digits(at.minute().into(), &mut text[11..13]);
    digits(at.second().into(), &mut text[13..15]);
    Ok(text)
}

#[cfg(test)]
#[path = "signer_tests.rs"]
mod tests;
