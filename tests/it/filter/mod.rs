//! What the filter keeps out, by type and by security label: live here, by commands in `commands`, in the comparison in
//! `reconcile`.

mod commands;
mod reconcile;

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::app::{Builder, TestApp, patient, send};

const CONFIDENTIALITY: &str = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality";

/// Restricted ones stay out.
fn denying() -> Builder {
    TestApp::builder().env("LAKEHOOK_FILTER_DENY_SECURITY_LABELS", format!("{CONFIDENTIALITY}|R"))
}

fn labelled(json: &str, code: &str) -> String {
    let security = format!(r#""meta":{{"security":[{{"system":"{CONFIDENTIALITY}","code":"{code}"}}],"#);
    assert!(json.contains(r#""meta":{"#));
    json.replacen(r#""meta":{"#, &security, 1)
}

fn restricted(id: &str, version: u32) -> String {
    labelled(&patient(id, version), "R")
}

fn observation(id: &str, version: u32) -> String {
    format!(
        r#"{{"resourceType":"Observation","id":"{id}","meta":{{"versionId":"{version}"}},"status":"final","code":{{"text":"t{version}"}}}}"#
    )
}

/// The second coding: the rule.
fn rule(body: &Value) -> String {
    assert_eq!(body["issue"][0]["severity"], "information", "{body}");
    body["issue"][0]["details"]["coding"][1]["code"].as_str().unwrap().to_owned()
}

async fn counted(app: &TestApp, labels: &[&str]) -> u64 {
    let text = app.admin("/metrics").await.body;
    let lines = text.lines().filter(|line| line.starts_with("lakehook_filtered_total{"));
    let lines = lines.filter(|line| labels.iter().all(|label| line.contains(label)));
    lines.map(|line| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap()).sum()
}

#[tokio::test]
async fn what_is_kept_out_is_answered_200_counted_and_logged() {
    let data = tempfile::tempdir().unwrap();
    let app = denying()
        .env("LAKEHOOK_FILTER_DENY_TYPES", "AuditEvent,Observation")
        .env("LAKEHOOK_DATA_DIR", data.path().display())
        .start()
        .await;
    let by_type = app.put("/Observation/o1", observation("o1", 1)).await;
    assert_eq!((by_type.status, by_type.verdict().as_str()), (200, "filtered"), "{by_type:?}");
    assert_eq!(rule(&by_type.json()), "deny-types");
    assert_eq!(app.forwarded(), 0, "a type that is kept out asks nobody");

    let by_label = app.put("/Patient/a", restricted("a", 1)).await;
    assert_eq!((by_label.status, by_label.verdict().as_str()), (200, "filtered"), "{by_label:?}");
    assert_eq!(rule(&by_label.json()), "deny-security-labels");
    assert_eq!(app.forwarded(), 1, "nothing was remembered: HealthLake is looked at, and has nothing");
    assert_eq!(app.put("/Patient/a", restricted("a", 1)).await.verdict(), "filtered");
    assert_eq!(app.put("/Patient/a", restricted("a", 2)).await.verdict(), "filtered");
    assert_eq!(app.forwarded(), 1, "that is remembered");

    // Neither validated nor kept as a dead letter: nothing of it stays here.
    let invalid = restricted("b", 1).replace(r#""active":true"#, r#""active":"MARK""#);
    assert_eq!(app.put("/Patient/b", invalid).await.verdict(), "filtered");
    let xml = "<Observation xmlns='http://hl7.org/fhir'><id value='o2'/><MARK/></Observation>";
    let xml =
        app.request(Method::PUT, "/Observation/o2").header("content-type", "application/fhir+xml").body(xml);
    assert_eq!(send(xml).await.verdict(), "filtered");
    let letters = app.command(&["dead-letters", "list"]).await;
    assert!(letters.code == 0 && !letters.out.contains("Patient"), "{letters:?}");

    assert_eq!((app.writes(), app.alive().len()), (0, 0));
    // What has no such label, or another, is mirrored.
    assert_eq!(app.put("/Patient/c", patient("c", 1)).await.status, 201);
    assert_eq!(app.put("/Patient/d", labelled(&patient("d", 1), "N")).await.status, 201);

    assert_eq!(counted(&app, &[r#"rule="deny-types""#, r#"resource_type="Observation""#]).await, 2);
    assert_eq!(counted(&app, &[r#"rule="deny-security-labels""#, r#"withdrawn="false""#]).await, 4);
    assert_eq!(counted(&app, &[r#"withdrawn="true""#]).await, 0);
    let lines = app.delivery_lines(8).await;
    let of = |rule: &str| lines.iter().filter(|line| line["filter_rule"] == rule).count();
    assert_eq!((of("deny-types"), of("deny-security-labels")), (2, 4), "{lines:?}");
    assert!(!app.log().contains("MARK"));
    let health = app.admin("/readyz").await.json();
    assert_eq!(health["filter"]["deny-types"], json!(["AuditEvent", "Observation"]), "{health}");
}

#[tokio::test]
async fn a_label_that_comes_later_takes_the_mirrored_version_away_and_nothing_stale_comes_back() {
    let app = denying().start().await;
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
    assert_eq!(app.put("/Patient/a", patient("a", 2)).await.status, 200);
    let withdrawn = app.put("/Patient/a", restricted("a", 3)).await;
    assert_eq!((withdrawn.status, withdrawn.verdict().as_str()), (200, "filtered"), "{withdrawn:?}");
    assert!(withdrawn.diagnostics().contains("is deleted there"), "{withdrawn:?}");
    assert!(app.alive().is_empty(), "{:?}", app.alive());

    // What comes late, or again.
    for version in [1, 2] {
        assert_eq!(app.put("/Patient/a", patient("a", version)).await.verdict(), "superseded");
    }
    assert_eq!(app.put("/Patient/a", restricted("a", 3)).await.verdict(), "filtered");
    assert_eq!(app.writes(), 3, "two writes and one delete");
    assert!(app.alive().is_empty());
    assert_eq!(counted(&app, &[r#"withdrawn="true""#]).await, 1);

    // Its deletion goes through, and leaves it deleted.
    assert_eq!(app.delete("/Patient/a").await.status, 204);
    assert_eq!(app.put("/Patient/a", patient("a", 2)).await.verdict(), "superseded");
    assert!(app.alive().is_empty());
}

#[tokio::test]
async fn a_label_that_goes_lets_the_next_version_in_and_an_older_one_takes_nothing_away() {
    let app = denying().start().await;
    assert_eq!(app.put("/Patient/a", restricted("a", 1)).await.verdict(), "filtered");
    assert_eq!(app.put("/Patient/a", patient("a", 2)).await.status, 201);
    // The restricted version once more: it is older.
    assert_eq!(app.put("/Patient/a", restricted("a", 1)).await.verdict(), "superseded");
    assert_eq!(app.alive(), ["Patient/a"]);
    assert_eq!(app.put("/Patient/a", restricted("a", 3)).await.verdict(), "filtered");
    assert!(app.alive().is_empty());
    let back = app.put("/Patient/a", patient("a", 4)).await;
    assert!(matches!(back.status, 200 | 201), "{back:?}");
    assert_eq!(app.stored("Patient/a").unwrap()["name"][0]["family"], "F4");
    for stale in [restricted("a", 3), patient("a", 2)] {
        assert_eq!(app.put("/Patient/a", stale).await.verdict(), "superseded");
    }
    assert_eq!(app.stored("Patient/a").unwrap()["name"][0]["family"], "F4");
}

#[tokio::test]
async fn where_nothing_is_remembered_what_healthlake_has_is_deleted_all_the_same() {
    let first = TestApp::start().await;
    assert_eq!(first.put("/Patient/a", patient("a", 1)).await.status, 201);
    assert_eq!(first.put("/Observation/o", observation("o", 1)).await.status, 201);
    // Another instance, with a memory of its own.
    let app = denying().env("LAKEHOOK_FILTER_DENY_TYPES", "Observation").start_beside(&first).await;
    assert_eq!(app.put("/Patient/a", restricted("a", 2)).await.verdict(), "filtered");
    assert_eq!(app.alive(), ["Observation/o"]);

    // Of a type that is kept out it is taken for never mirrored, but a DELETE goes through.
    assert_eq!(app.put("/Observation/o", observation("o", 2)).await.verdict(), "filtered");
    assert_eq!(app.alive(), ["Observation/o"]);
    assert_eq!(app.delete("/Observation/o").await.status, 204);
    assert!(app.alive().is_empty());
}

#[tokio::test]
async fn a_type_that_is_kept_out_from_now_on_is_deleted_at_its_next_version_where_it_is_remembered() {
    let data = tempfile::tempdir().unwrap();
    let mut before = TestApp::builder().env("LAKEHOOK_DATA_DIR", data.path().display()).start().await;
    assert_eq!(before.put("/Observation/o", observation("o", 1)).await.status, 201);
    before.signal("-TERM");
    before.ended().await;
    let after = TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", data.path().display())
        .env("LAKEHOOK_FILTER_TYPES", "Patient")
        .start_beside(&before)
        .await;
    let withdrawn = after.put("/Observation/o", observation("o", 2)).await;
    assert_eq!((withdrawn.verdict().as_str(), rule(&withdrawn.json()).as_str()), ("filtered", "types"));
    assert!(after.alive().is_empty());
    assert_eq!(counted(&after, &[r#"rule="types""#, r#"withdrawn="true""#]).await, 1);
}

#[tokio::test]
async fn a_withdrawal_that_fails_is_not_answered_as_if_it_had_been_made() {
    let app = denying().start().await;
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
    app.fault(r#"{"method":"DELETE","status":503,"count":1}"#);
    assert_eq!(app.put("/Patient/a", restricted("a", 2)).await.status, 503);
    assert_eq!(app.alive(), ["Patient/a"]);
    assert_eq!(app.put("/Patient/a", restricted("a", 2)).await.verdict(), "filtered");
    assert!(app.alive().is_empty());

    // Carried out, and the answer lost; then the version before it comes once more.
    assert_eq!(app.put("/Patient/b", patient("b", 1)).await.status, 201);
    app.fault(r#"{"method":"DELETE","cut":"after","count":2}"#);
    let lost = app.put("/Patient/b", restricted("b", 2)).await;
    assert!(lost.status >= 500 || lost.verdict() == "filtered", "{lost:?}");
    app.put("/Patient/b", patient("b", 1)).await;
    assert!(app.alive().is_empty(), "{:?}", app.alive());
    assert_eq!(app.put("/Patient/b", restricted("b", 2)).await.verdict(), "filtered");

    // HealthLake lets nobody delete it: that is not well.
    assert_eq!(app.put("/Patient/c", patient("c", 1)).await.status, 201);
    app.fault(
        r#"{"method":"DELETE","status":400,"body":{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported"}]}}"#,
    );
    assert_eq!(app.put("/Patient/c", restricted("c", 2)).await.status, 502);
    assert!(app.log().contains("HealthLake does not delete what it has of it"));
}

#[tokio::test]
async fn types_and_labels_can_be_allowed_instead() {
    let app = TestApp::builder()
        .env("LAKEHOOK_FILTER_TYPES", "Patient")
        .env("LAKEHOOK_FILTER_SECURITY_LABELS", "N,|research")
        .start()
        .await;
    let other = app.put("/Observation/o", observation("o", 1)).await;
    assert_eq!(rule(&other.json()), "types");
    let without = app.put("/Patient/a", patient("a", 1)).await;
    assert_eq!(rule(&without.json()), "security-labels");
    assert_eq!(app.put("/Patient/a", labelled(&patient("a", 2), "N")).await.status, 201);
    // The label that allowed it is gone.
    assert_eq!(app.put("/Patient/a", patient("a", 3)).await.verdict(), "filtered");
    assert!(app.alive().is_empty());
    let of_no_system =
        patient("b", 1).replacen(r#""meta":{"#, r#""meta":{"security":[{"code":"research"}],"#, 1);
    assert_eq!(app.put("/Patient/b", of_no_system).await.status, 201);
}

#[tokio::test]
async fn each_entry_of_a_bundle_is_filtered_by_itself() {
    let app = denying().start().await;
    assert_eq!(app.put("/Patient/b", patient("b", 1)).await.status, 201);
    let resource = |json: &str| serde_json::from_str::<Value>(json).unwrap();
    let put = |id: &str, json: &str| json!({"resource": resource(json), "request": {"method": "PUT", "url": format!("Patient/{id}")}});
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        put("a", &patient("a", 1)),
        put("b", &restricted("b", 2)),
        put("c", &patient("c", 1)),
    ]});
    let answer = app.post("", bundle.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let entries = answer.json()["entry"].as_array().unwrap().clone();
    let statuses: Vec<_> = entries.iter().map(|entry| entry["response"]["status"].clone()).collect();
    assert_eq!(statuses, ["201", "200", "201"]);
    assert_eq!(rule(&entries[1]["response"]["outcome"]), "deny-security-labels");
    let mut alive = app.alive();
    alive.sort();
    assert_eq!(alive, ["Patient/a", "Patient/c"]);
}

/// HAPI sends a Binary as the bytes that it holds: its labels stay at the CDR.
#[tokio::test]
async fn a_raw_binary_s_labels_are_asked_for_and_without_a_cdr_it_is_kept_out() {
    let raw = |app: &TestApp, id: &str| {
        let request = app.request(Method::PUT, &format!("/Binary/{id}"));
        request.header("content-type", "application/pdf").header("if-match", "W/\"1\"").body("%PDF")
    };
    let alone = denying().start().await;
    let answer = send(raw(&alone, "open")).await;
    assert_eq!((answer.status, rule(&answer.json()).as_str()), (200, "deny-security-labels"));
    assert!(alone.alive().is_empty());

    let read = async |axum::extract::Path(id): axum::extract::Path<String>| {
        let json = format!(
            r#"{{"resourceType":"Binary","id":"{id}","meta":{{"versionId":"1"}},"contentType":"application/pdf","data":"JVBERg=="}}"#
        );
        if id == "open" { json } else { labelled(&json, "R") }
    };
    let routes = axum::Router::new().route("/fhir/Binary/{id}", axum::routing::get(read));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    let app = denying().env("LAKEHOOK_CDR_URL", url).start().await;
    assert_eq!(send(raw(&app, "open")).await.status, 201);
    assert_eq!(send(raw(&app, "closed")).await.verdict(), "filtered");
    assert_eq!(app.alive(), ["Binary/open"]);
}
