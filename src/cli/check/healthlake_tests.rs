//! What a CapabilityStatement tells.

use serde_json::json;

use super::super::table::Outcome;
use super::*;

#[test]
fn a_store_for_smart_is_named() {
    let smart = json!({"rest": [{"security": {"service": [{"coding": [{"code": "SMART-on-FHIR"}]}]}}]});
    let row = authorization(&smart);
    assert_eq!(row.outcome, Outcome::Warning);
    assert!(row.found.contains("SMART"), "{row:?}");
    let url = "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris";
    let oauth = json!({"rest": [{"security": {"extension": [{"url": url}]}}]});
    assert_eq!(authorization(&oauth).outcome, Outcome::Warning);
    assert_eq!(authorization(&json!({"rest": [{}]})).outcome, Outcome::Ok);
}

#[test]
fn types_are_counted_and_those_without_update_named() {
    let statement = json!({"rest": [{"resource": [
        {"type": "Patient", "interaction": [{"code": "read"}, {"code": "update"}]},
        {"type": "AuditEvent", "interaction": [{"code": "read"}, {"code": "create"}]},
    ]}]});
    let row = types(&statement);
    assert!(row.found.starts_with("2 are supported; no update of AuditEvent;"), "{row:?}");
    assert_eq!(types(&json!({})).outcome, Outcome::Warning);
}
