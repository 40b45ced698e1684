//! Judges AWS Signature Version 4, header form. It is written from AWS's description and shares no code with
//! `aws-sigv4`: what signs a request must not be what says that the signature is right.

use std::fmt::Write as _;
use std::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HOST};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SKEW: Duration = Duration::from_secs(5 * 60);

/// What was received, byte for byte: nothing decoded, nothing normalised.
pub(super) struct Received<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

/// What the credential scope must name.
pub(super) struct Scope<'a> {
    pub(super) regions: &'a [&'a str],
    pub(super) service: &'a str,
}

#[derive(Clone)]
pub(super) struct Key {
    pub(super) secret: String,
    /// Temporary credentials count only with their token, and only until they expire.
    pub(super) session: Option<Session>,
}

#[derive(Clone)]
pub(super) struct Session {
    pub(super) token: String,
    pub(super) expires: Timestamp,
}

/// Why a request was refused. Each service words it in its own way (`http`, `sts`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    Unsigned,
    Incomplete(String),
    UnknownKey,
    InvalidToken,
    ExpiredToken,
    Skewed(String),
    WrongScope(String),
    /// The canonical string the sandbox computed, shown to the caller as AWS does: it tells what differs.
    Mismatch(String),
}

impl Refusal {
    /// The word for it in `/_sandbox/requests`.
    pub(super) fn verdict(&self) -> &'static str {
        match self {
            Refusal::Unsigned => "unsigned",
            Refusal::Incomplete(_) => "incomplete",
            Refusal::UnknownKey => "unknown-key",
            Refusal::InvalidToken => "invalid-token",
            Refusal::ExpiredToken => "expired-token",
            Refusal::Skewed(_) => "clock-skew",
            Refusal::WrongScope(_) => "wrong-scope",
            Refusal::Mismatch(_) => "mismatch",
        }
    }
}

/// The `Authorization` header's parts.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Authorization<'a> {
    pub(super) key_id: &'a str,
    date: &'a str,
    region: &'a str,
    service: &'a str,
    signed: Vec<&'a str>,
    signature: &'a str,
}

impl<'a> Authorization<'a> {
    pub(super) fn of(headers: &'a HeaderMap, query: &str) -> Result<Self, Refusal> {
        if query.split('&').any(|pair| pair.starts_with("X-Amz-Signature=")) {
            return Err(incomplete("The sandbox takes the Authorization header form, not a presigned URL."));
        }
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Err(Refusal::Unsigned) };
        if values.next().is_some() {
            return Err(incomplete("More than one Authorization header."));
        }
        let value = value.to_str().map_err(|_| incomplete("Authorization header is not ASCII."))?;
        let rest = value
            .strip_prefix(ALGORITHM)
            .filter(|rest| rest.starts_with(' '))
            .ok_or_else(|| incomplete("Authorization header must name the algorithm AWS4-HMAC-SHA256."))?;

        let (mut credential, mut signed, mut signature) = (None, None, None);
        for part in rest.split(',') {
            let (name, value) = part
                .trim()
                .split_once('=')
                .ok_or_else(|| incomplete("Authorization header has a part that is no key=value pair."))?;
            let slot = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut signed,
                "Signature" => &mut signature,
                _ => return Err(incomplete("Authorization header has an unknown part.")),
            };
            if slot.replace(value).is_some() {
                return Err(incomplete("Authorization header names a part twice."));
            }
        }
        let missing = |name| incomplete(&format!("Authorization header requires '{name}' parameter."));
        let credential = credential.ok_or_else(|| missing("Credential"))?;
        let signed = signed.ok_or_else(|| missing("SignedHeaders"))?;
        let signature = signature.ok_or_else(|| missing("Signature"))?;
        let [key_id, date, region, service, "aws4_request"] = credential.split('/').collect::<Vec<_>>()[..]
        else {
            return Err(incomplete("Credential must be KEY/YYYYMMDD/REGION/SERVICE/aws4_request."));
        };
        Ok(Self { key_id, date, region, service, signed: signed.split(';').collect(), signature })
    }
}

/// Whether `received` was signed by the holder of the key it names; the key's id if so.
pub(super) fn verify(
    received: &Received<'_>,
    scope: &Scope<'_>,
    now: Timestamp,
    key: impl FnOnce(&str) -> Option<Key>,
) -> Result<String, Refusal> {
    let authorization = Authorization::of(received.headers, received.query)?;
    check_signed_headers(received.headers, &authorization.signed)?;
    let key = key(authorization.key_id).ok_or(Refusal::UnknownKey)?;
    check_token(received.headers, &key, now)?;
    let date = check_date(received.headers, authorization.date, now)?;
    if authorization.service != scope.service {
        return Err(Refusal::WrongScope(format!(
            "Credential should be scoped to correct service: '{}'.",
            scope.service
        )));
    }
    if !scope.regions.contains(&authorization.region) {
        let regions = scope.regions.join("' or '");
        return Err(Refusal::WrongScope(format!(
            "Credential should be scoped to a valid region: '{regions}'."
        )));
    }

    let payload = hex::encode(Sha256::digest(received.body));
    if received.headers.get("x-amz-content-sha256").is_some_and(|claimed| claimed != payload.as_str()) {
        return Err(Refusal::Mismatch("x-amz-content-sha256 is not the hash of the body received.".into()));
    }
    let canonical = canonical_request(received, &authorization.signed, &payload)?;
    let credential_scope =
        format!("{}/{}/{}/aws4_request", authorization.date, authorization.region, authorization.service);
    let to_sign = string_to_sign(&date, &credential_scope, &canonical);
    let expected =
        sign(&key.secret, authorization.date, authorization.region, authorization.service, &to_sign);
    if bool::from(expected.as_bytes().ct_eq(authorization.signature.as_bytes())) {
        Ok(authorization.key_id.to_owned())
    } else {
        Err(Refusal::Mismatch(canonical))
    }
}

fn incomplete(text: &str) -> Refusal {
    Refusal::Incomplete(text.to_owned())
}

/// `host` and every `x-amz-*` header that came must be signed: else somebody on the way could change them.
fn check_signed_headers(headers: &HeaderMap, signed: &[&str]) -> Result<(), Refusal> {
    let must = headers.keys().filter(|name| name.as_str().starts_with("x-amz-")).chain([&HOST]);
    for name in must {
        if !signed.contains(&name.as_str()) {
            return Err(incomplete(&format!("'{name}' must be a 'SignedHeader' in the AWS Authorization.")));
        }
    }
    Ok(())
}

fn check_token(headers: &HeaderMap, key: &Key, now: Timestamp) -> Result<(), Refusal> {
    let sent = headers.get("x-amz-security-token");
    match (&key.session, sent) {
        (None, None) => Ok(()),
        (None, Some(_)) | (Some(_), None) => Err(Refusal::InvalidToken),
        (Some(session), Some(sent)) => {
            if !bool::from(session.token.as_bytes().ct_eq(sent.as_bytes())) {
                Err(Refusal::InvalidToken)
            } else if session.expires <= now {
                Err(Refusal::ExpiredToken)
            } else {
                Ok(())
            }
        }
    }
}

fn check_date(headers: &HeaderMap, scope_date: &str, now: Timestamp) -> Result<String, Refusal> {
    let sent = headers
        .get("x-amz-date")
        .and_then(|value| value.to_str().ok())
        .ok_or_else(|| incomplete("Authorization header requires existence of an 'X-Amz-Date' header."))?;
    let at = parse_amz_date(sent)
        .ok_or_else(|| incomplete("Date must be in ISO-8601 'basic format', such as 20150830T123600Z."))?;
    if !sent.starts_with(scope_date) || scope_date.len() != 8 {
        return Err(Refusal::WrongScope(
            "Date in Credential scope does not match YYYYMMDD of X-Amz-Date.".into(),
        ));
    }
    let (from, to) = (now - SKEW, now + SKEW);
    if at < from {
        let (from, now) = (amz_date(from), amz_date(now));
        return Err(Refusal::Skewed(format!(
            "Signature expired: {sent} is now earlier than {from} ({now} - 5 min.)"
        )));
    }
    if at > to {
        let (to, now) = (amz_date(to), amz_date(now));
        return Err(Refusal::Skewed(format!(
            "Signature not yet current: {sent} is still later than {to} ({now} + 5 min.)"
        )));
    }
    Ok(sent.to_owned())
}

fn amz_date(at: Timestamp) -> String {
    at.strftime("%Y%m%dT%H%M%SZ").to_string()
}

fn parse_amz_date(text: &str) -> Option<Timestamp> {
    let digits =
        |range: std::ops::Range<usize>| text.get(range).filter(|d| d.bytes().all(|b| b.is_ascii_digit()));
    if text.len() != 16 || &text[8..9] != "T" || !text.ends_with('Z') {
        return None;
    }
    let (date, time) = (digits(0..8)?, digits(9..15)?);
    format!("{}-{}-{}T{}:{}:{}Z", &date[..4], &date[4..6], &date[6..], &time[..2], &time[2..4], &time[4..])
        .parse()
        .ok()
}

fn canonical_request(received: &Received<'_>, signed: &[&str], payload: &str) -> Result<String, Refusal> {
    if signed.windows(2).any(|pair| pair[0] >= pair[1]) {
        return Err(incomplete("SignedHeaders must be sorted, in lower case, each named once."));
    }
    let mut headers = String::new();
    for name in signed {
        let mut values = received.headers.get_all(*name).iter().peekable();
        if values.peek().is_none() {
            return Err(Refusal::Mismatch(format!("The signed header '{name}' did not arrive.")));
        }
        let values: Vec<String> = values.map(|value| trimmed(value.as_bytes())).collect();
        let _ = writeln!(headers, "{name}:{}", values.join(","));
    }
    Ok([
        received.method,
        &canonical_path(received.path),
        &canonical_query(received.query),
        &headers,
        &signed.join(";"),
        payload,
    ]
    .join("\n"))
}

/// Outer white space goes, inner runs become one space.
fn trimmed(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    text.split_ascii_whitespace().collect::<Vec<_>>().join(" ")
}

/// The path as it was sent, dot segments and doubled slashes removed, and encoded once more (every service
/// but S3 encodes twice; what arrives has been encoded once already).
fn canonical_path(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                segments.pop();
            }
            other => segments.push(other),
        }
    }
    let mut canonical = String::from("/");
    canonical
        .push_str(&segments.iter().map(|segment| encode(segment.as_bytes())).collect::<Vec<_>>().join("/"));
    if path.ends_with('/') && canonical.len() > 1 {
        canonical.push('/');
    }
    canonical
}

/// Decoded and strictly encoded again, then sorted. A raw `+`, `/` or `=` in a value is taken as itself: so a
/// client that signs such a value as it stands in the URL is refused, as by HealthLake.
fn canonical_query(query: &str) -> String {
    let mut pairs: Vec<(String, String)> = query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (encode(&percent_decode(name)), encode(&percent_decode(value)))
        })
        .collect();
    pairs.sort_unstable();
    pairs.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&")
}

pub(super) fn encode(bytes: &[u8]) -> String {
    let mut encoded = String::with_capacity(bytes.len());
    for &byte in bytes {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte))
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

pub(super) fn percent_decode(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%')
            .then(|| bytes.get(at + 1..at + 3))
            .flatten()
            .and_then(|pair| hex::decode(pair).ok());
        match escaped {
            Some(byte) => {
                decoded.extend(byte);
                at += 3;
            }
            None => {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
    }
    decoded
}

fn string_to_sign(date: &str, scope: &str, canonical: &str) -> String {
    format!("{ALGORITHM}\n{date}\n{scope}\n{}", hex::encode(Sha256::digest(canonical.as_bytes())))
}

fn sign(secret: &str, date: &str, region: &str, service: &str, to_sign: &str) -> String {
    let mut key = format!("AWS4{secret}").into_bytes();
    for part in [date, region, service, "aws4_request"] {
        key = hmac(&key, part.as_bytes());
    }
    hex::encode(hmac(&key, to_sign.as_bytes()))
}

fn hmac(key: &[u8], message: &[u8]) -> Vec<u8> {
    // HMAC takes a key of any length; the error type is there for ciphers that do not.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return Vec::new() };
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
