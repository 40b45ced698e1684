//! What comes out of fhirbolt: answers, never a panic, never a value of the payload.
#![allow(clippy::unwrap_used)]

use lakehook_fhirbolt_r4::{Error, RESOURCE_TYPES, concrete};

fn refused(resource_type: &str, json: &str) -> Error {
    concrete(resource_type, json.as_bytes()).unwrap().unwrap_err()
}

#[test]
fn every_resource_type_is_known_and_no_other() {
    assert_eq!(RESOURCE_TYPES.len(), 146);
    for name in RESOURCE_TYPES {
        assert!(concrete(name, b"{}").is_some(), "{name}");
    }
    for name in ["", "Resource", "DomainResource", "HumanName", "patient", "Patient "] {
        assert!(concrete(name, b"{}").is_none(), "{name}");
    }
}

#[test]
fn a_resource_passes() {
    let json = br#"{"resourceType":"Patient","id":"a","name":[{"given":["b"]}]}"#;
    assert_eq!(concrete("Patient", json), Some(Ok(())));
}

#[test]
fn errors_say_where_and_what_was_expected() {
    let error = refused("Patient", "{\"resourceType\":\"Patient\",\n\"active\":\"Zebediah\"}");
    assert_eq!((error.message.as_str(), error.line), ("invalid type, expected a boolean", 2));
    let error = refused("Patient", r#"{"resourceType":"Patient","familly":"Zebediah"}"#);
    assert_eq!(error.message, "unknown field `familly`");
    let error = refused("Observation", r#"{"resourceType":"Observation","status":"final"}"#);
    assert_eq!(error.message, "missing field `code`");
    let error = refused("Patient", r#"{"resourceType":"Patient","active":true,"active":false}"#);
    assert_eq!(error.message, "duplicate field `active`");
}

#[test]
fn errors_never_repeat_a_value() {
    for json in [
        r#"{"resourceType":"Patient","active":"Zebediah"}"#,
        r#"{"resourceType":"Patient","active":", expected Zebediah, expected"}"#,
        r#"{"resourceType":"Patient","name":"Zebediah"}"#,
        r#"{"resourceType":"Patient","name":[{"family":{"Zebediah":1}}]}"#,
        r#"{"resourceType":"Patient","multipleBirthInteger":"Zebediah"}"#,
        r#"{"resourceType":"Zebediah"}"#,
        r#"{"resourceType":"Patient","name":[{"given":["Zebediah"#,
    ] {
        let error = refused("Patient", json);
        assert!(!error.message.contains("Zebediah"), "{json}: {error:?}");
    }
}

#[test]
fn a_long_name_is_cut() {
    let json = format!(r#"{{"resourceType":"Patient","{}":1}}"#, "x".repeat(10_000));
    assert!(refused("Patient", &json).message.len() < 100);
}

#[test]
fn odd_bytes_do_not_panic() {
    for json in
        ["", "{", "[]", "null", "\"x\"", "{\"a\":[]}", "{\"resourceType\":[]}", "{\"name\":[]}", "\u{FEFF}{}"]
    {
        let _ = concrete("Patient", json.as_bytes());
    }
    let deep = format!("{}{}", r#"{"resourceType":"Patient","extension":["#, "[".repeat(100_000));
    assert!(concrete("Patient", deep.as_bytes()).unwrap().is_err());
    assert!(concrete("Patient", b"\xFF\xFE").unwrap().is_err());
}
