//! The resources of the storm: fifteen types that HealthLake takes and two that it does not. Each version names itself
//! by a number of its own, so that two versions never have the same content.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What an operator would group: HAPI gives each Subscription two threads.
pub const GROUPS: [&[&str]; 6] = [
    &["Patient", "Encounter", "Binary"],
    &["Observation", "Condition", "Procedure"],
    &["MedicationRequest", "Immunization", "AllergyIntolerance"],
    &["DiagnosticReport", "DocumentReference", "CarePlan"],
    &["Organization", "Practitioner", "Location"],
    &UNSUPPORTED,
];
pub const UNSUPPORTED: [&str; 2] = ["Basic", "ObservationDefinition"];

pub fn all() -> Vec<&'static str> {
    GROUPS.iter().flat_map(|group| group.iter().copied()).collect()
}

pub fn mirrored() -> Vec<&'static str> {
    all().into_iter().filter(|kind| !UNSUPPORTED.contains(kind)).collect()
}

/// What a version is made of.
#[derive(Clone, Copy, Debug)]
pub struct Content {
    pub kind: &'static str,
    /// A Binary that HAPI delivers as its bytes
    pub raw: bool,
    /// Of this version and no other
    pub number: usize,
    /// A megabyte more
    pub large: bool,
}

const MEGABYTE: usize = 1 << 20;

pub fn body(content: Content, id: Option<&str>) -> Value {
    let Content { kind, number, .. } = content;
    let text = json!({ "text": format!("storm {number}") });
    let patient = json!({ "reference": "Patient/somebody" });
    let mut body = match kind {
        "Patient" => json!({ "active": true, "name": [{ "family": format!("Storm{number}") }] }),
        "Encounter" => json!({ "status": "finished", "class": { "code": "AMB" } }),
        "Binary" => return binary(content, id),
        "Observation" | "DiagnosticReport" => json!({ "status": "final", "code": text }),
        "Condition" => json!({ "subject": patient, "code": text }),
        "Procedure" => json!({ "status": "completed", "subject": patient }),
        "MedicationRequest" => {
            json!({ "status": "active", "intent": "order", "medicationCodeableConcept": text, "subject": patient })
        }
        "Immunization" => json!({
            "status": "completed", "vaccineCode": text, "patient": patient, "occurrenceDateTime": "2026-01-02",
        }),
        "AllergyIntolerance" => json!({ "patient": patient, "code": text }),
        "DocumentReference" => {
            json!({ "status": "current", "content": [{ "attachment": { "contentType": "text/plain" } }] })
        }
        "CarePlan" => json!({ "status": "active", "intent": "plan", "subject": patient }),
        "Organization" | "Location" => json!({ "name": format!("Storm {number}") }),
        "Practitioner" => json!({ "active": true }),
        // The unsupported ones
        _ => json!({ "code": text }),
    };
    body["resourceType"] = kind.into();
    body["identifier"] = json!([{ "system": "urn:storm", "value": number.to_string() }]);
    if content.large {
        let filler = "storm ".repeat(MEGABYTE / 6);
        let div = format!(r#"<div xmlns="http://www.w3.org/1999/xhtml"><p>{filler}</p></div>"#);
        body["text"] = json!({ "status": "generated", "div": div });
    }
    if let Some(id) = id {
        body["id"] = id.into();
    }
    body
}

fn binary(content: Content, id: Option<&str>) -> Value {
    let mut bytes = format!("storm {}\n", content.number).into_bytes();
    if content.large {
        // As base64 a megabyte
        bytes.resize(MEGABYTE / 4 * 3, b'.');
    }
    let content_type = if content.raw { "application/pdf" } else { "application/fhir+json" };
    let mut body =
        json!({ "resourceType": "Binary", "contentType": content_type, "data": STANDARD.encode(bytes) });
    if let Some(id) = id {
        body["id"] = id.into();
    }
    body
}
