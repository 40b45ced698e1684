//! Resources compared as exactly as FHIR asks for: a decimal's digits count, white space and key order do not.

use std::collections::BTreeMap;

use serde::Deserialize;
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
    strip(&mut resource["meta"]);
    if resource["meta"].as_object().is_none_or(Map::is_empty) {
        resource.as_object_mut().unwrap().remove("meta");
    }
    resource
}

fn strip(meta: &mut Value) {
    if let Some(meta) = meta.as_object_mut() {
        meta.remove("versionId");
        meta.remove("lastUpdated");
    }
}

/// The text of a resource around its `meta`, byte for byte, and `meta` without what every server sets itself.
pub fn around_meta(json: &str) -> (String, Value) {
    #[derive(Deserialize)]
    struct Top<'a> {
        #[serde(borrow)]
        meta: Option<&'a RawValue>,
    }
    let top: Top<'_> = serde_json::from_str(json).unwrap();
    let Some(raw) = top.meta else { return (json.to_owned(), Value::Null) };
    let at = raw.get().as_ptr() as usize - json.as_ptr() as usize;
    let mut meta = exact(raw.get());
    strip(&mut meta);
    (format!("{}{}", &json[..at], &json[at + raw.get().len()..]), meta)
}

#[test]
fn a_decimal_s_digits_count() {
    assert_ne!(exact(r#"{"value":1.50}"#), exact(r#"{"value":1.5}"#));
    assert_eq!(exact(r#"{"a":[1.50], "b":"x"}"#), exact(r#"{"b":"x","a":[1.50]}"#));
    let (text, meta) = around_meta(r#"{"meta":{"versionId":"1","source":"s"},"a":1.0}"#);
    assert_eq!((text.as_str(), meta), (r#"{"meta":,"a":1.0}"#, serde_json::json!({"source": "s"})));
}
