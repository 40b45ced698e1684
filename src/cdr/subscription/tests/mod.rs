//! What each kind of server gets, how it is laid over what is there, and what is asked of the CDR for that.

#![allow(clippy::unwrap_used)]

mod compare;
mod manage;
mod shapes;

use serde_json::{Value, json};

use super::{Criteria, Wish};
use crate::cdr::Capabilities;

const TOKEN: &str = "the-token-that-nobody-may-see";

fn wish(criteria: &str) -> Wish {
    Wish {
        id: None,
        criteria: Criteria::parse(criteria).unwrap(),
        endpoint: "https://lakehook.example.org/fhir".into(),
        payload: "application/fhir+json".into(),
        authorization: Some(format!("Bearer {TOKEN}").into()),
        hmac_secret: None,
        send_deletes: true,
        deliver_latest: None,
        strip_version_ids: false,
        retry_count: None,
        topic: None,
        server: None,
    }
}

fn server(software: &str, version: &str) -> Capabilities {
    Capabilities::read(&statement(software, version)).unwrap()
}

fn statement(software: &str, version: &str) -> Value {
    json!({
        "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
        "software": { "name": software, "version": version },
        "rest": [{ "resource": [{ "type": "Subscription" }] }],
    })
}

/// As it is created where nothing is there.
fn fresh(wish: &Wish, capabilities: &Capabilities) -> Vec<Value> {
    let wanted = super::shape::wanted(wish, capabilities).unwrap();
    wanted.iter().map(|wanted| super::compare::lay_over(wanted, None).0).collect()
}
