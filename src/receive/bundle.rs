//! Bundles: HAPI's transactions of PUTs and DELETEs, and the notifications of topic subscriptions (R4
//! backport: `Parameters` or `SubscriptionStatus` first), in HAPI's and Microsoft's shapes.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::shape::{NOTIFICATION_ANSWER, malformed, text};
use crate::answer::BundleAnswer;
use crate::delivery::{Addressed, Delivery, Key};
use crate::verdict::{BadRequest, Verdict};

/// What a Bundle asks for.
pub enum Items {
    Entries(BundleAnswer, Vec<Item>),
    /// It is a resource itself.
    Resource,
}

/// What one entry asks for.
#[derive(Debug)]
pub enum Item {
    Acknowledge,
    Deliver(Delivery),
}

#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(rename = "fullUrl", borrow)]
    full_url: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    request: Option<Request<'a>>,
}

#[derive(Deserialize)]
struct Request<'a> {
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    url: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "resourceType", borrow)]
    resource_type: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

const BAD_BUNDLE: Verdict = Verdict::BadRequest(BadRequest::BadBundle);
const BAD_ENTRY: Verdict = Verdict::BadRequest(BadRequest::BadBundleEntry);

/// `json` is the whole Bundle, `entry` its field as it stands in it.
pub fn items(json: &Bytes, kind: &str, entry: Option<&RawValue>) -> Result<Items, Verdict> {
    let entries: Vec<Entry<'_>> = match entry {
        Some(raw) => serde_json::from_str(raw.get()).map_err(|error| malformed(&error))?,
        None => Vec::new(),
    };
    let status = entries.first().and_then(|first| status(first.resource?));
    match (status, kind) {
        (Some(status), "transaction" | "batch" | "history" | "subscription-notification" | "collection") => {
            let answer = if kind == "transaction" { BundleAnswer::Transaction } else { NOTIFICATION_ANSWER };
            Ok(Items::Entries(answer, notified(json, &status, &entries[1..])?))
        }
        // HAPI's payload-search-criteria after a delete: the search finds nothing. Refusing it would hold the
        // Subscription up for a minute and bring nothing.
        (None, "") if entries.is_empty() => {
            tracing::warn!(
                "an empty Bundle: a Subscription with payload-search-criteria does not tell of deletes; send the resource itself instead"
            );
            Ok(Items::Entries(BundleAnswer::Transaction, Vec::new()))
        }
        (None, "transaction" | "batch") => {
            let answer = if kind == "transaction" { BundleAnswer::Transaction } else { BundleAnswer::Batch };
            let items = entries.iter().map(|entry| written(json, entry)).collect::<Result<_, _>>()?;
            Ok(Items::Entries(answer, items))
        }
        (None, "history" | "subscription-notification") => Err(BAD_BUNDLE),
        _ => Ok(Items::Resource),
    }
}

/// An entry of a transaction or batch: PUT or DELETE of `Type/id`, nothing else, nothing conditional.
fn written(json: &Bytes, entry: &Entry<'_>) -> Result<Item, Verdict> {
    let request = entry.request.as_ref().ok_or(BAD_ENTRY)?;
    let url = text(request.url).ok_or(BAD_ENTRY)?;
    match text(request.method).as_deref() {
        Some("PUT") => {
            let key = key_of(&url).ok_or(BAD_ENTRY)?;
            let resource = entry.resource.ok_or(BAD_ENTRY)?;
            Ok(Item::Deliver(Delivery::Upsert {
                addressed: Addressed::to(&key),
                json: slice(json, resource),
                verbatim: false,
            }))
        }
        Some("DELETE") => Ok(Item::Deliver(Delivery::Delete { key: key_of(&url).ok_or(BAD_ENTRY)? })),
        _ => Err(BAD_ENTRY),
    }
}

/// What the first entry of a notification says.
struct Status {
    handshake_or_heartbeat: bool,
    /// The resources that changed, where the notification names them.
    focus: Vec<Key>,
}

fn status(resource: &RawValue) -> Option<Status> {
    let head: Head<'_> = serde_json::from_str(resource.get()).ok()?;
    let value: serde_json::Value = match text(head.resource_type).as_deref() {
        Some("SubscriptionStatus" | "Parameters") => serde_json::from_str(resource.get()).ok()?,
        _ => return None,
    };
    let (kind, focus) = match value.get("parameter").and_then(|parameters| parameters.as_array()) {
        None => (value.get("type").cloned(), references(value.get("notificationEvent"), "focus")),
        Some(parameters) => {
            let named = |name: &'static str| parameters.iter().filter(move |p| p["name"] == name).cloned();
            // Parameters that speak of no subscription are an entry like any other.
            named("subscription").next()?;
            let kind = named("type").next().map(|p| p["valueCode"].clone());
            let parts = named("notification-event")
                .flat_map(|event| event["part"].as_array().cloned().unwrap_or_default())
                .filter(|part| part["name"] == "focus");
            (kind, parts.filter_map(|part| focus(&part)).collect())
        }
    };
    let kind = kind.as_ref().and_then(|kind| kind.as_str()).map(str::to_owned);
    Some(Status { handshake_or_heartbeat: matches!(kind.as_deref(), Some("handshake" | "heartbeat")), focus })
}

fn references(events: Option<&serde_json::Value>, field: &str) -> Vec<Key> {
    let events = events.and_then(|events| events.as_array());
    events.into_iter().flatten().filter_map(|event| reference(&event[field])).collect()
}

/// The backport's `valueReference`, or Microsoft's `valueUri`.
fn focus(part: &serde_json::Value) -> Option<Key> {
    reference(&part["valueReference"]).or_else(|| key_of(part["valueUri"].as_str()?))
}

fn reference(value: &serde_json::Value) -> Option<Key> {
    key_of(value["reference"].as_str()?)
}

/// The status entry is acknowledged; each of the others is delivered, or read at the CDR where it comes
/// without its content.
fn notified(json: &Bytes, status: &Status, entries: &[Entry<'_>]) -> Result<Vec<Item>, Verdict> {
    let mut items = vec![Item::Acknowledge];
    if status.handshake_or_heartbeat {
        return Ok(items);
    }
    for entry in entries {
        items.push(Item::Deliver(changed(json, entry)?));
    }
    if entries.is_empty() {
        let changed = status.focus.iter().map(|key| Item::Deliver(Delivery::Changed { key: key.clone() }));
        items.extend(changed);
    }
    match items.len() {
        1 => Err(Verdict::BadRequest(BadRequest::NoContentAndNoCdr)),
        _ => Ok(items),
    }
}

fn changed(json: &Bytes, entry: &Entry<'_>) -> Result<Delivery, Verdict> {
    let request = entry.request.as_ref();
    let url = || request.and_then(|request| text(request.url)).or_else(|| text(entry.full_url));
    let key =
        || url().and_then(|url| key_of(&url)).or_else(|| key_of(&text(entry.full_url)?)).ok_or(BAD_ENTRY);
    if request.and_then(|request| text(request.method)).as_deref() == Some("DELETE") {
        return Ok(Delivery::Delete { key: key()? });
    }
    let Some(resource) = entry.resource else { return Ok(Delivery::Changed { key: key()? }) };
    let head: Head<'_> = serde_json::from_str(resource.get()).map_err(|error| malformed(&error))?;
    let addressed = Addressed {
        resource_type: text(head.resource_type).map(|text| text.into_owned().into()),
        id: text(head.id).map(|text| text.into_owned().into()),
    };
    let named = addressed.key().ok_or(BAD_ENTRY)?;
    let key = Key::new(named.resource_type(), named.id()).map_err(|_| BAD_ENTRY)?;
    Ok(Delivery::Upsert { addressed: Addressed::to(&key), json: slice(json, resource), verbatim: false })
}

/// `Type/id` at the end of a relative or absolute URL, with or without a version behind it.
fn key_of(url: &str) -> Option<Key> {
    if url.contains(['?', '#', '%']) {
        return None;
    }
    let mut segments: Vec<&str> = url.split('/').collect();
    if let [.., "_history", _] = segments[..] {
        segments.truncate(segments.len() - 2);
    }
    let [.., resource_type, id] = segments[..] else { return None };
    Key::new(resource_type, id).ok()
}

/// The entry's own bytes, without a copy.
fn slice(json: &Bytes, raw: &RawValue) -> Bytes {
    json.slice_ref(raw.get().as_bytes())
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
