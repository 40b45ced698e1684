//! What is written at the CDR: one identifier's value, new each time. Nothing that is not marked as the canary is ever
//! touched.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::SYSTEM;
use crate::delivery::Key;

/// A canary that the CDR does not have yet; none for types whose required elements are not ours to invent. FHIR has
/// Device for software too; Basic, which would mean less, HealthLake does not take.
pub(super) fn fresh(key: &Key, value: &str) -> Option<Bytes> {
    (key.resource_type() == "Device").then(|| {
        let device = json!({
            "resourceType": "Device",
            "id": key.id(),
            "identifier": [{ "system": SYSTEM, "value": value }],
            "status": "inactive",
            "deviceName": [{ "name": "lakehook's canary", "type": "user-friendly-name" }],
        });
        Bytes::from(device.to_string())
    })
}

/// The CDR's resource with another value; none where it is not marked as the canary. All else stays as it is, to the
/// digit.
pub(super) fn renewed(present: &[u8], value: &str) -> Option<Bytes> {
    let mut elements: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(present).ok()?;
    let mut identifier: Value = serde_json::from_str(elements.get("identifier")?.get()).ok()?;
    let one = match &mut identifier {
        Value::Array(several) => several.iter_mut().find(|one| one["system"] == SYSTEM)?,
        // As in Bundle and QuestionnaireResponse
        one => Some(one).filter(|one| one["system"] == SYSTEM)?,
    };
    one["value"] = value.into();
    elements.insert("identifier".into(), RawValue::from_string(identifier.to_string()).ok()?);
    serde_json::to_vec(&elements).ok().map(Bytes::from)
}

/// The value that a resource carries.
pub(super) fn value(resource: &[u8]) -> Option<String> {
    let resource: Value = serde_json::from_slice(resource).ok()?;
    let found = match &resource["identifier"] {
        Value::Array(several) => several.iter().find(|one| one["system"] == SYSTEM)?,
        one => Some(one).filter(|one| one["system"] == SYSTEM)?,
    };
    found["value"].as_str().map(str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::validate::{Mode, Validator};

    #[test]
    fn a_fresh_one_is_valid_and_carries_its_value() {
        let device = fresh(&Key::new("Device", "lakehook-canary").unwrap(), "v1").unwrap();
        Validator::new(Mode::Strict, 64).json(&device).unwrap();
        assert_eq!(value(&device).as_deref(), Some("v1"));
        assert!(fresh(&Key::new("Observation", "c").unwrap(), "v1").is_none());
    }

    #[test]
    fn only_the_value_changes() {
        let present = format!(
            r#"{{"resourceType":"Observation","id":"c","valueQuantity":{{"value":1.500}},
                "identifier":[{{"system":"urn:other","value":"o"}},{{"system":"{SYSTEM}","value":"old"}}]}}"#
        );
        let renewed = renewed(present.as_bytes(), "new").unwrap();
        assert_eq!(value(&renewed).as_deref(), Some("new"));
        let text = std::str::from_utf8(&renewed).unwrap();
        assert!(text.contains("1.500") && text.contains(r#""value":"o""#) && !text.contains("old"), "{text}");
        let single = format!(r#"{{"identifier":{{"system":"{SYSTEM}","value":"old"}}}}"#);
        assert_eq!(value(&super::renewed(single.as_bytes(), "n").unwrap()).as_deref(), Some("n"));
    }

    #[test]
    fn what_is_not_marked_is_not_touched() {
        for present in [
            r#"{"resourceType":"Patient","id":"p"}"#,
            r#"{"resourceType":"Patient","id":"p","identifier":[{"system":"urn:mrn","value":"1"}]}"#,
            r#"{"resourceType":"Bundle","identifier":{"system":"urn:mrn"}}"#,
            "nonsense",
        ] {
            assert!(renewed(present.as_bytes(), "new").is_none(), "{present}");
        }
    }
}
