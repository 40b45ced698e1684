//! The client assertion of SMART backend services: a JWT (RFC 7523) by which the client shows that it has the
//! private key.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::SigningKey;

/// The guide allows five minutes at most; clocks differ.
const LIFETIME: Duration = Duration::from_secs(4 * 60);

/// None where it can't be signed.
pub(super) fn assertion(
    key: &SigningKey,
    client_id: &str,
    token_url: &str,
    now: SystemTime,
) -> Option<String> {
    let expires = (now + LIFETIME).duration_since(UNIX_EPOCH).ok()?.as_secs();
    let header = json!({ "alg": key.algorithm(), "kid": key.id, "typ": "JWT" });
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": token_url,
        "exp": expires,
        "jti": uuid::Uuid::new_v4().to_string(),
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())?);
    Some(format!("{signed}.{signature}"))
}
