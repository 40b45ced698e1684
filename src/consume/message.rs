//! What a CDR's broker message says: which resource it is about. More is not taken from it, since the CDR is asked for
//! what it has now.
//!
//! HAPI's classes write `{"headers":{…},"payload":{…}}` around a `ResourceDeliveryMessage` or a
//! `ResourceModifiedMessage`, whose own `payload` is the resource as a text. Their fields' names changed over the years:
//! `payloadId` (since 2019), `resourceId`, `resource`, `newPayload`. All are read, with or without the wrapping, and what
//! else is there is passed over. `fixtures/kafka` holds messages that HAPI's own classes wrote.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::delivery::{Key, KeyError};

/// Why a message names no resource. Holds no part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Poison {
    #[error("it is empty")]
    Empty,
    #[error("it is no JSON object")]
    NotJson,
    #[error("it names no resource: no payloadId, no resourceId and no payload with resourceType and id")]
    NoResource,
    #[error("what it names is no resource: {0}")]
    NoKey(#[from] KeyError),
}

/// The fields that may tell, unparsed: what is of another type than expected tells nothing.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    #[serde(borrow)]
    payload_id: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_id: Option<&'a RawValue>,
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
    #[serde(borrow)]
    new_payload: Option<&'a RawValue>,
    #[serde(borrow)]
    resource: Option<&'a RawValue>,
    #[serde(borrow)]
    resource_type: Option<&'a RawValue>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// A wrapped message, its resource as a text, and one level to spare.
const LEVELS: u8 = 4;

/// The resource that a message is about.
pub fn key(message: &[u8]) -> Result<Key, Poison> {
    if message.trim_ascii().is_empty() {
        return Err(Poison::Empty);
    }
    let text = std::str::from_utf8(message).map_err(|_| Poison::NotJson)?;
    find(text, LEVELS)?.ok_or(Poison::NoResource)
}

fn find(json: &str, levels: u8) -> Result<Option<Key>, Poison> {
    if levels == 0 {
        return Ok(None);
    }
    // A text that holds JSON: a serializer was at work twice.
    if let Some(text) = text(json) {
        return if text.trim_start().starts_with(['{', '"']) { find(&text, levels - 1) } else { Ok(None) };
    }
    let fields: Fields = serde_json::from_str(json).map_err(|_| Poison::NotJson)?;
    for id in [fields.payload_id, fields.resource_id] {
        if let Some(id) = id.and_then(|id| text(id.get())) {
            return Ok(Some(reference(&id)?));
        }
    }
    if let (Some(resource_type), Some(id)) = (fields.resource_type, fields.id)
        && let (Some(resource_type), Some(id)) = (text(resource_type.get()), text(id.get()))
    {
        return Ok(Some(Key::new(&resource_type, &id)?));
    }
    for inner in [fields.payload, fields.resource, fields.new_payload].into_iter().flatten() {
        if inner.get().starts_with(['{', '"'])
            && let Some(key) = find(inner.get(), levels - 1)?
        {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

fn text(json: &str) -> Option<String> {
    json.trim_start().starts_with('"').then(|| serde_json::from_str(json).ok())?
}

/// `Patient/1`, `Patient/1/_history/2`, or either behind a base URL.
fn reference(text: &str) -> Result<Key, KeyError> {
    let text = text.split_once("/_history/").map_or(text, |(before, _)| before);
    let (before, id) = text.rsplit_once('/').ok_or(KeyError::ResourceType)?;
    let resource_type = before.rsplit_once('/').map_or(before, |(_, last)| last);
    Key::new(resource_type, id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn named(json: &str) -> String {
        key(json.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn what_hapis_own_classes_write_is_understood() {
        let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/kafka");
        let mut read = 0;
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "json") {
                assert_eq!(named(&std::fs::read_to_string(&path).unwrap()), "Patient/p1", "{path:?}");
                read += 1;
            }
        }
        assert_eq!(read, 5);
    }

    #[test]
    fn older_names_and_other_wrappings_are_understood() {
        for json in [
            // ResourceModifiedMessage of 4.x and 5.x, 3.x
            r#"{"resourceId":"Patient/p1","operationType":"DELETE"}"#,
            r#"{"resourceId":null,"newPayload":"{\"resourceType\":\"Patient\",\"id\":\"p1\"}"}"#,
            // ResourceDeliveryMessage of 3.7
            r#"{"resource":{"id":"p1","resourceType":"Patient"},"operationType":"UPDATE"}"#,
            r#"{"payloadId":"https://cdr.example.org/fhir/Patient/p1/_history/7"}"#,
            r#"{"payloadId":null,"payload":"{\"id\":\"p1\",\"resourceType\":\"Patient\"}","newField":[1,{"a":2}]}"#,
            r#" {"headers":[],"payload":{"payloadId":"Patient/p1/_history/2","payload":null}} "#,
            r#"{"resourceType":"Patient","id":"p1"}"#,
            r#""{\"payloadId\":\"Patient/p1\"}""#,
        ] {
            assert_eq!(named(json), "Patient/p1", "{json}");
        }
    }

    #[test]
    fn what_names_no_resource_is_poison() {
        for (json, why) in [
            ("", Poison::Empty),
            (" \n", Poison::Empty),
            ("nonsense", Poison::NotJson),
            ("[1]", Poison::NotJson),
            ("7", Poison::NotJson),
            (r#"{"payloadId":"Patient/p1""#, Poison::NotJson),
            ("{}", Poison::NoResource),
            (r#"{"payloadId":7,"payload":[]}"#, Poison::NoResource),
            (r#""text""#, Poison::NoResource),
            (r#"{"payload":"<Patient/>"}"#, Poison::NoResource),
            (r#"{"payload":"{\"resourceType\":\"Patient\"}"}"#, Poison::NoResource),
            (r#"{"payloadId":"p1"}"#, Poison::NoKey(KeyError::ResourceType)),
            (r#"{"payloadId":"Patient/.."}"#, Poison::NoKey(KeyError::Id)),
            (r#"{"payloadId":"Patient/p1?x=1"}"#, Poison::NoKey(KeyError::Id)),
        ] {
            assert_eq!(key(json.as_bytes()), Err(why), "{json}");
        }
        assert_eq!(key(b"\xff\xfe{}"), Err(Poison::NotJson));
        let deep = r#"{"payload":"#.repeat(60) + "{}" + &"}".repeat(60);
        assert_eq!(key(deep.as_bytes()), Err(Poison::NoResource));
    }

    #[test]
    fn no_bytes_crash_it() {
        proptest::proptest!(|(bytes: Vec<u8>)| {
            let _ = key(&bytes);
        });
        let whole = include_str!("../../fixtures/kafka/delivery-update-wrapped.json");
        for end in 0..whole.len() - 2 {
            assert!(key(&whole.as_bytes()[..end]).is_err(), "cut at {end}");
        }
    }
}
