//! Resources compared as exactly as FHIR asks for: a decimal's digits count, white space and key order do not.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use serde_json::{Map, Value};

/// JSON whose numbers are kept as they are spelt, as strings that no FHIR string looks like.
pub fn exact(json: &str) -> Value {
    let json = json.trim();
    match json.as_bytes()[0] {
        b'{' => {
            let members: BTreeMap<String, &RawValue> = serde_json::from_str(json).unwrap();
            Value::Object(
                members.into_iter().map(|(name, value)| (name, exact(value.get()))).collect::<Map<_, _>>(),
            )
        }
        b'[' => {
            let items: Vec<&RawValue> = serde_json::from_str(json).unwrap();
            Value::Array(items.into_iter().map(|item| exact(item.get())).collect())
        }
        b'-' | b'0'..=b'9' => Value::String(format!("\u{1}{json}")),
        _ => serde_json::from_str(json).unwrap(),
    }
}

/// A resource without what every server sets itself.
pub fn content(json: &str) -> Value {
    let mut resource = exact(json);
    if let Some(meta) = resource["meta"].as_object_mut() {
        meta.remove("versionId");
        meta.remove("lastUpdated");
    }
    if resource["meta"].as_object().is_none_or(Map::is_empty) {
        resource.as_object_mut().unwrap().remove("meta");
    }
    resource
}

#[test]
fn a_decimal_s_digits_count() {
    assert_ne!(exact(r#"{"value":1.50}"#), exact(r#"{"value":1.5}"#));
    assert_eq!(exact(r#"{"a":[1.50], "b":"x"}"#), exact(r#"{"b":"x","a":[1.50]}"#));
}
