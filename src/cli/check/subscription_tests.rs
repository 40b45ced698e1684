//! Each trap by name.

#![allow(clippy::unwrap_used)]

use secrecy::SecretString;
use serde_json::json;

use super::super::table::Outcome;
use super::*;
use crate::receive::{Callers, Secrets, Sources};

const TOKEN: &str = "the-token-of-the-cdr";

fn good() -> Value {
    json!({
        "resourceType": "Subscription", "id": "lakehook", "status": "active", "criteria": "[*]",
        "channel": {
            "type": "rest-hook", "endpoint": "https://lakehook.example.org/fhir", "payload": "application/fhir+json",
            "header": [format!("Authorization: Bearer {TOKEN}")],
            "extension": [{"url": "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages", "valueBoolean": true}],
        },
    })
}

fn rows(subscription: &Value) -> Vec<Row> {
    rows_at(subscription, None)
}

fn rows_at(subscription: &Value, server: Option<Server>) -> Vec<Row> {
    let tokens = Sources { values: vec![SecretString::from(TOKEN)], files: Vec::new() };
    let callers = Callers::new(Secrets { tokens, ..Secrets::default() }).unwrap();
    let wants =
        Wants { base_path: "/fhir", callers: &callers, certificate: false, made_token: false, tls: false };
    let mut table = Table::default();
    check(&mut table, subscription, &wants, server);
    assert!(!table.to_string().contains(TOKEN), "{table}");
    table.rows().cloned().collect()
}

/// After the change `what` has this outcome and says so; everything else is as before.
fn trap(change: impl FnOnce(&mut Value), what: &str, outcome: Outcome, says: &str) {
    let mut subscription = good();
    change(&mut subscription);
    let rows = rows(&subscription);
    let row = rows.iter().find(|row| row.what == what).unwrap();
    assert_eq!(row.outcome, outcome, "{row:?}");
    let text = format!("{} {}", row.found, row.to_do.as_deref().unwrap_or_default());
    assert!(text.contains(says), "{says} not in {text}");
    assert!(rows.iter().all(|row| row.what == what || row.outcome == Outcome::Ok), "{rows:?}");
}

#[test]
fn a_good_subscription_is_all_ok() {
    let rows = rows(&good());
    assert!(rows.iter().all(|row| row.outcome == Outcome::Ok), "{rows:?}");
}

#[test]
fn status_and_type() {
    trap(|s| s["status"] = json!("error"), "status", Outcome::Failed, "gave up");
    trap(|s| s["status"] = json!("off"), "status", Outcome::Failed, "requested");
    trap(|s| s["status"] = json!("requested"), "status", Outcome::Ok, "active");
    trap(|s| s["channel"]["type"] = json!("websocket"), "channel.type", Outcome::Failed, "rest-hook");
}

#[test]
fn endpoint_with_a_query_or_another_path() {
    let endpoint = |url: &'static str| move |s: &mut Value| s["channel"]["endpoint"] = json!(url);
    let what = "channel.endpoint";
    trap(
        endpoint("https://lakehook.example.org/fhir?token=the-token-of-the-cdr"),
        what,
        Outcome::Failed,
        "query",
    );
    trap(endpoint("https://lakehook.example.org/fhir/Patient"), what, Outcome::Failed, "end it at /fhir");
    trap(endpoint("https://lakehook.example.org/"), what, Outcome::Failed, "--base-path /fhir");
    trap(endpoint("lakehook"), what, Outcome::Failed, "not a URL");
    trap(endpoint("http://lakehook.example.org/fhir"), what, Outcome::Warning, "in clear");
    trap(endpoint("https://lakehook.example.org/fhir/"), what, Outcome::Ok, "/fhir/");
    trap(endpoint("http://localhost:8080/fhir"), what, Outcome::Ok, "localhost");
}

#[test]
fn payload_missing_or_not_fhir() {
    let payload = |value: Value| move |s: &mut Value| s["channel"]["payload"] = value;
    trap(payload(Value::Null), "channel.payload", Outcome::Failed, "missing");
    trap(payload(json!("")), "channel.payload", Outcome::Failed, "missing");
    trap(payload(json!("application/pdf")), "channel.payload", Outcome::Failed, "neither FHIR JSON");
    trap(payload(json!("application/fhir+xml; charset=UTF-8")), "channel.payload", Outcome::Ok, "xml");
}

#[test]
fn deletes_only_where_hapi_looks() {
    trap(|s| s["channel"]["extension"] = json!([]), "deletes", Outcome::Warning, "channel.extension");
    let to_root = |s: &mut Value| {
        let extension = s["channel"]["extension"].take();
        s["extension"] = extension;
    };
    trap(to_root, "deletes", Outcome::Failed, "root");
    trap(
        |s| s["channel"]["extension"][0]["valueBoolean"] = json!(false),
        "deletes",
        Outcome::Warning,
        "false",
    );
}

#[test]
fn authorization_missing_or_unknown() {
    let header = |value: Value| move |s: &mut Value| s["channel"]["header"] = value;
    trap(header(Value::Null), "Authorization", Outcome::Failed, "none sent");
    trap(header(json!(["Authorization: Bearer another-token"])), "Authorization", Outcome::Failed, "401");
    trap(header(json!([format!("Authorization Bearer {TOKEN}")])), "Authorization", Outcome::Failed, "colon");
}

#[test]
fn latest_version_and_criteria() {
    let latest = |s: &mut Value| {
        let url = "http://hapifhir.io/fhir/StructureDefinition/subscription-resthook-deliver-latest-version";
        s["channel"]["extension"].as_array_mut().unwrap().push(json!({"url": url, "valueBoolean": true}));
    };
    trap(latest, "deliver-latest-version", Outcome::Warning, "stands still");
    trap(|s| s["criteria"] = json!("[Patient,Observation]"), "criteria", Outcome::Ok, "nothing else");
    trap(|s| s["criteria"] = json!("Patient?"), "criteria", Outcome::Ok, "nothing else");
    trap(|s| s["criteria"] = json!("Patient?active=true"), "criteria", Outcome::Warning, "stops matching");
}

#[test]
fn smile_cdr_is_meant_to_send_the_latest() {
    let mut subscription = good();
    let latest = json!({"url": DELIVER_LATEST, "valueBoolean": true});
    subscription["channel"]["extension"].as_array_mut().unwrap().push(latest);
    for (server, fine) in [(None, false), (Some(Server::Hapi), false), (Some(Server::SmileCdr), true)] {
        let rows = rows_at(&subscription, server);
        assert_eq!(rows.iter().all(|row| row.outcome == Outcome::Ok), fine, "{server:?}: {rows:?}");
    }
}

#[test]
fn a_search_as_payload_loses_deletes() {
    let mut subscription = good();
    subscription["extension"] = json!([{"url": PAYLOAD_SEARCH, "valueString": "Patient?"}]);
    let rows = rows(&subscription);
    let row = rows.iter().find(|row| row.what == "payload-search-criteria").unwrap();
    assert_eq!(row.outcome, Outcome::Failed);
}
