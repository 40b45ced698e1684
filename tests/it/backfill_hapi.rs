//! `backfill` of a real HAPI while it is written to: equal at the end. And through HAPI's own `$trigger-subscription`.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::{TOKEN, TestApp};
use crate::support::corpus::note;
use crate::support::exact::content;
use crate::support::hapi::{Hapi, send_deletes};
use crate::support::process::http_client;
use crate::support::synthea;

const LOADED: usize = 300;
/// What is written here, and what Synthea writes.
const KINDS: [&str; 25] = [
    "AllergyIntolerance",
    "CarePlan",
    "CareTeam",
    "Claim",
    "Condition",
    "SupplyDelivery",
    "Device",
    "DiagnosticReport",
    "DocumentReference",
    "Encounter",
    "ExplanationOfBenefit",
    "Goal",
    "ImagingStudy",
    "Immunization",
    "Location",
    "Medication",
    "MedicationAdministration",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "PractitionerRole",
    "Procedure",
    "Provenance",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_hapi_is_brought_over_while_it_changes() {
    let hapi = Hapi::start().await;
    load(&hapi).await;
    let directory = tempfile::tempdir().unwrap();
    let app = start(&hapi, directory.path()).await;
    subscribe(&hapi, &app).await;
    let (ran, changes) = tokio::join!(
        app.command(&["backfill", "--window-size", "50", "--page-size", "20", "--max-rate", "60"]),
        change(&hapi, 60, Duration::from_millis(30)),
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("types that HealthLake does not take: Basic"), "{ran:?}");
    note(&format!("{changes} live changes meanwhile; {}", ran.err.lines().last().unwrap()));
    equal(&hapi, &app).await;
    through_hapi(&app).await;
    hapi.stop().await;
}

/// Patients and what refers to them, in one transaction for each ten: HAPI gives all of it one instant.
async fn load(hapi: &Hapi) {
    for ten in 0..LOADED / 10 {
        let mut entries = Vec::new();
        for at in ten * 10..ten * 10 + 10 {
            let (kind, resource) = match at % 3 {
                0 => {
                    ("Patient", json!({ "resourceType": "Patient", "id": format!("b-{at}"), "active": true }))
                }
                1 => (
                    "Observation",
                    json!({
                        "resourceType": "Observation", "id": format!("b-{at}"), "status": "final",
                        "code": { "text": "c" }, "subject": { "reference": format!("Patient/b-{}", at - 1) },
                    }),
                ),
                _ => (
                    "Basic",
                    json!({ "resourceType": "Basic", "id": format!("b-{at}"), "code": { "text": "c" } }),
                ),
            };
            let url = format!("{kind}/b-{at}");
            entries.push(json!({ "resource": resource, "request": { "method": "PUT", "url": url } }));
        }
        hapi.transaction(&json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries })).await;
    }
}

async fn start(hapi: &Hapi, directory: &Path) -> TestApp {
    TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", directory.to_str().unwrap())
        .env("LAKEHOOK_CDR_URL", hapi.base_url())
        .start()
        .await
}

async fn subscribe(hapi: &Hapi, app: &TestApp) {
    let header = format!("Authorization: Bearer {TOKEN}");
    let payload = Some("application/fhir+json");
    hapi.subscribe("mirror", "[*]", app.endpoint(), payload, &[&header], &[send_deletes()]).await;
    hapi.wait_active("mirror").await;
}

/// Updates, deletes, creations; each resource once, as HAPI's own deliveries of one resource have no order.
async fn change(hapi: &Hapi, n: usize, apart: Duration) -> usize {
    for at in 0..n {
        match at % 3 {
            0 => {
                let family = json!([{ "family": format!("changed {at}") }]);
                hapi.put("Patient", &format!("b-{}", at * 3), &json!({ "active": false, "name": family }))
                    .await;
            }
            1 => hapi.delete("Observation", &format!("b-{}", at * 3 + 1)).await,
            _ => {
                hapi.put("Patient", &format!("new-{at}"), &json!({ "active": true })).await;
            }
        }
        tokio::time::sleep(apart).await;
    }
    n
}

/// Until the live deliveries are through: as many resources, each with the same content.
async fn equal(hapi: &Hapi, app: &TestApp) {
    let there = all(hapi).await;
    let started = Instant::now();
    loop {
        let here: BTreeMap<String, String> = app
            .sandbox
            .resources()
            .into_iter()
            .map(|resource| (resource.key, resource.json.get().to_owned()))
            .collect();
        let differ: Vec<&String> = there
            .iter()
            .filter(|(key, json)| here.get(*key).is_none_or(|here| content(here) != content(json)))
            .map(|(key, _)| key)
            .chain(here.keys().filter(|key| !there.contains_key(*key)))
            .collect();
        if differ.is_empty() {
            note(&format!("{} resources equal", there.len()));
            return;
        }
        let differ: Vec<_> = differ.into_iter().take(10).collect();
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "{} there, they differ in {differ:?}",
            there.len()
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Everything of these types at HAPI.
async fn all(hapi: &Hapi) -> BTreeMap<String, String> {
    let http = http_client();
    let get = async |url: &str| {
        let answer = http.get(url).header("cache-control", "no-cache").send().await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    };
    let mut found = BTreeMap::new();
    for kind in KINDS {
        let mut next = Some(format!("{}/{kind}?_count=500", hapi.base_url()));
        while let Some(url) = next.take() {
            let text = get(&url).await;
            let bundle: Bundle<'_> = serde_json::from_str(&text).unwrap();
            for entry in &bundle.entry {
                let head: Value = serde_json::from_str(entry.resource.get()).unwrap();
                found.insert(
                    format!("{kind}/{}", head["id"].as_str().unwrap()),
                    entry.resource.get().to_owned(),
                );
            }
            next = bundle.link.into_iter().find(|link| link.relation == "next").map(|link| link.url);
        }
    }
    assert!(found.len() > 100, "{}", found.len());
    found
}

#[derive(serde::Deserialize)]
struct Bundle<'a> {
    #[serde(borrow, default)]
    entry: Vec<Entry<'a>>,
    #[serde(default)]
    link: Vec<Link>,
}

#[derive(serde::Deserialize)]
struct Entry<'a> {
    #[serde(borrow)]
    resource: &'a serde_json::value::RawValue,
}

#[derive(serde::Deserialize)]
struct Link {
    relation: String,
    url: String,
}

/// HAPI delivers what it is asked to, by its own Subscription, and its deliveries are watched.
async fn through_hapi(app: &TestApp) {
    let before = app.delivery_lines(1).await.len();
    let ran = app
        .command(&[
            "backfill",
            "--trigger",
            "mirror",
            "--search",
            "Patient?_id=b-30,b-33,b-36",
            "--id",
            "Observation/b-34",
        ])
        .await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("JOB ID"), "what HAPI says of it: {ran:?}");
    assert!(ran.err.contains("4 resources match") && ran.err.contains("4 deliveries arrived"), "{ran:?}");
    let lines = app.delivery_lines(before + 4).await;
    let mut keys: Vec<&str> = lines[before..].iter().map(|line| line["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["Observation/b-34", "Patient/b-30", "Patient/b-33", "Patient/b-36"]);
    assert!(lines[before..].iter().all(|line| line["source"] == "live" && line["verdict"] == "mirrored"));

    let missing = app.command(&["backfill", "--trigger", "nobody", "--id", "Patient/b-30"]).await;
    assert!(missing.code == 1 && missing.err.contains("the CDR has no Subscription/nobody"), "{missing:?}");
    let quiet = ["backfill", "--trigger", "mirror", "--id", "Patient/gone", "--quiet", "5s"];
    let quiet = app.command(&quiet).await;
    assert!(quiet.code == 1 && quiet.err.contains("nothing more arrives"), "{quiet:?}");
}

/// Synthea's Bundles in the directory `LAKEHOOK_SYNTHEA`, brought over while HAPI is written to. Figures for
/// docs/backfill.md.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Synthea's Bundles in LAKEHOOK_SYNTHEA, and minutes"]
async fn synthea_s_patients_are_brought_over_while_they_change() {
    let directory = synthea::directory().expect("LAKEHOOK_SYNTHEA names the directory");
    let hapi = Hapi::start().await;
    let started = Instant::now();
    for bundle in synthea::transactions(&directory) {
        hapi.transaction_text(&bundle).await;
    }
    load(&hapi).await;
    note(&format!("loaded in {:?}", started.elapsed()));
    let data = tempfile::tempdir().unwrap();
    let app = start(&hapi, data.path()).await;
    subscribe(&hapi, &app).await;
    let started = Instant::now();
    let (ran, changes) = tokio::join!(
        app.command_within(&["backfill"], Duration::from_secs(1800)),
        change(&hapi, 99, Duration::from_secs(1))
    );
    let took = started.elapsed();
    assert_eq!(ran.code, 0, "{ran:?}");
    note(&format!("{took:?}, {changes} changes meanwhile, {} writes: {}", app.writes(), ran.err));
    equal(&hapi, &app).await;
    hapi.stop().await;
}
