//! Why a canary did not arrive, and what to do.

use std::fmt;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::SYSTEM;
use crate::cdr::{Cdr, CdrError};
use crate::delivery::Key;

/// Holds nothing of a resource but its key. Another canary is always safe.
#[derive(Debug)]
pub enum Lost {
    /// The CDR could not be read, or did not take the write.
    Cdr { key: Key, read: bool, error: CdrError },
    /// There is such a resource, and it is somebody else's.
    NotMarked { key: Key },
    /// It is of a type that lakehook can't make.
    NotThere { key: Key },
    /// It was delivered here, and HealthLake will not have it.
    Refused { key: Key, verdict: String },
    /// HealthLake can't be read.
    NotRead { key: Key, why: String },
    /// It was mirrored here, and HealthLake has something else.
    Overwritten { key: Key },
    /// Nothing of it was seen.
    NotDelivered { key: Key, waited: Duration, subscription: String },
}

impl Lost {
    /// For metrics
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cdr { .. } => "cdr-failed",
            Self::NotMarked { .. } | Self::NotThere { .. } => "no-canary",
            Self::Refused { .. } => "refused",
            Self::NotRead { .. } => "not-read",
            Self::Overwritten { .. } => "overwritten",
            Self::NotDelivered { .. } => "not-delivered",
        }
    }

    /// What the CDR says of it, for a terminal; never for a log.
    pub fn texts(&self) -> &[String] {
        match self {
            Self::Cdr { error, .. } => error.texts(),
            _ => &[],
        }
    }
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cdr { key, read: true, error } => write!(f, "{key} could not be read at the CDR: {error}"),
            Self::Cdr { key, read: false, error } => {
                write!(f, "the CDR did not take {key}: {error}{}", may_write(error, key))
            }
            Self::NotMarked { key } => write!(
                f,
                "{key} at the CDR is not marked as the canary, and left as it is: name another one with --canary-resource, or give it an identifier of the system {SYSTEM}"
            ),
            Self::NotThere { key } => write!(
                f,
                "the CDR has no {key}, and what a {} needs is not lakehook's to invent: create it there with an identifier of the system {SYSTEM}, whose value lakehook then changes; or name a Device",
                key.resource_type()
            ),
            Self::Refused { key, verdict } => write!(
                f,
                "{key} was delivered and will not be at HealthLake: {verdict}; `lakehook explain {verdict}` says what to do"
            ),
            Self::NotRead { key, why } => write!(
                f,
                "{key} could not be read at HealthLake: {why}; the role needs healthlake:ReadResource"
            ),
            Self::Overwritten { key } => write!(
                f,
                "{key} was mirrored, and HealthLake has another content: does somebody else write to the data store, or does another lakehook fly the same canary? `lakehook explain {key}`"
            ),
            Self::NotDelivered { key, waited, subscription } => {
                let waited = humantime::format_duration(*waited);
                write!(
                    f,
                    "{key} was written at the CDR and is not at HealthLake after {waited}: {subscription}"
                )
            }
        }
    }
}

fn may_write(error: &CdrError, key: &Key) -> String {
    match error.status() {
        Some(401 | 403) => format!(
            "; lakehook must be allowed to write {} there (OAuth2: --cdr-oauth-scope)",
            key.resource_type()
        ),
        _ => String::new(),
    }
}

/// What the CDR says of the Subscription that was to deliver it.
pub(super) async fn subscription(cdr: &Cdr, id: Option<&str>, key: &Key, deadline: Instant) -> String {
    let ids = id.map_or_else(
        || vec![crate::cdr::subscription::ID, crate::cdr::subscription::SMILE_ID],
        |id| vec![id],
    );
    for id in &ids {
        let path = format!("Subscription/{id}");
        match cdr.get(&path, deadline).await {
            Ok((200, body)) => {
                let subscription: Value = serde_json::from_slice(&body).unwrap_or_default();
                return judged(&path, &subscription, key);
            }
            Ok((404 | 410, _)) => {}
            Ok((status, _)) => return format!("{path} could not be looked at (the CDR answered {status})"),
            Err(error) => return format!("{path} could not be looked at ({error})"),
        }
    }
    format!(
        "the CDR has no Subscription/{}: `lakehook subscribe` makes it; one of another name is looked at with --subscription-id",
        ids[0]
    )
}

fn judged(path: &str, subscription: &Value, key: &Key) -> String {
    let status = subscription["status"].as_str().unwrap_or("without a status");
    let resource_type = key.resource_type();
    match status {
        "off" => format!("{path} is off: `lakehook subscribe` switches it on"),
        "error" => {
            format!(
                "the CDR gave up on {path} (error): cure the cause, then `lakehook subscribe` switches it on"
            )
        }
        "requested" => format!("{path} is requested, and not active yet"),
        "active" if !takes(subscription["criteria"].as_str(), resource_type) => format!(
            "the criteria of {path} do not take a {resource_type}: name a resource of a type that they take with --canary-resource"
        ),
        "active" => format!(
            "{path} is active; does the CDR reach lakehook, and what does its own log say? `lakehook explain {key}`"
        ),
        _ => format!("{path} is not active"),
    }
}

/// As far as its criteria tell.
fn takes(criteria: Option<&str>, resource_type: &str) -> bool {
    let Some(criteria) = criteria.map(str::trim) else { return true };
    match criteria.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(list) => list.split(',').map(str::trim).any(|name| name == "*" || name == resource_type),
        // A topic's canonical tells nothing.
        None if criteria.contains("://") => true,
        None => criteria.split('?').next() == Some(resource_type),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn criteria_tell_what_they_take() {
        for (criteria, takes_device) in [
            ("[*]", true),
            ("[Patient, Device]", true),
            ("[Patient]", false),
            ("Device?identifier=x", true),
            ("Patient?active=true", false),
            ("http://example.org/topic", true),
        ] {
            assert_eq!(takes(Some(criteria), "Device"), takes_device, "{criteria}");
        }
        assert!(takes(None, "Device"));
    }

    #[test]
    fn each_status_says_what_to_do() {
        let key = Key::new("Device", "c").unwrap();
        let says = |status: &str, criteria: &str| {
            judged("Subscription/lakehook", &json!({ "status": status, "criteria": criteria }), &key)
        };
        assert!(says("off", "[*]").contains("`lakehook subscribe` switches it on"));
        assert!(says("error", "[*]").contains("gave up"));
        assert!(says("requested", "[*]").contains("not active yet"));
        assert!(says("active", "[Patient]").contains("--canary-resource"));
        assert!(says("active", "[*]").contains("lakehook explain Device/c"));
    }
}
