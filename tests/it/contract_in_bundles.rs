//! The contract's "In": Bundles, and the notifications of topic subscriptions.

use reqwest::Method;
use serde_json::{Value, json};

use crate::contract_in::{refused, typed};
use crate::support::app::{TestApp, patient, send};

#[tokio::test]
async fn post_of_a_transaction_is_each_entry_in_order() {
    let app = TestApp::start().await;
    let bundle = |kind: &str| {
        json!({"resourceType": "Bundle", "type": kind, "entry": [
            {"resource": serde_json::from_str::<Value>(&patient("a", 1)).unwrap(), "request": {"method": "PUT", "url": "Patient/a"}},
            {"request": {"method": "DELETE", "url": "Patient/a"}},
            {"resource": serde_json::from_str::<Value>(&patient("b", 1)).unwrap(), "request": {"method": "PUT", "url": "Patient/b"}},
        ]})
        .to_string()
    };
    let answer = app.post("", bundle("transaction")).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body = answer.json();
    assert_eq!((&body["resourceType"], &body["type"]), (&json!("Bundle"), &json!("transaction-response")));
    let statuses: Vec<_> =
        body["entry"].as_array().unwrap().iter().map(|e| e["response"]["status"].clone()).collect();
    assert_eq!(statuses, ["201", "204", "201"]);
    let order: Vec<_> = app.sandbox.history().into_iter().map(|write| write.key).collect();
    assert_eq!(order, ["Patient/a", "Patient/a", "Patient/b"]);
    assert_eq!(app.alive(), ["Patient/b"]);
    assert_eq!(app.post("", bundle("batch")).await.json()["type"], "batch-response");
}

#[tokio::test]
async fn a_bundle_s_failing_entry_does_not_stop_the_others_and_its_status_is_the_answer_s() {
    let app = TestApp::start().await;
    app.fault(r#"{"status":503,"key":"Patient/a","count":1}"#);
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": serde_json::from_str::<Value>(&patient("a", 1)).unwrap(), "request": {"method": "PUT", "url": "Patient/a"}},
        {"resource": {"resourceType": "Basic", "id": "x", "code": {"text": "c"}}, "request": {"method": "PUT", "url": "Basic/x"}},
        {"resource": serde_json::from_str::<Value>(&patient("b", 1)).unwrap(), "request": {"method": "PUT", "url": "Patient/b"}},
    ]})
    .to_string();
    let answer = app.post("", bundle.clone()).await;
    assert_eq!(answer.status, 503, "{answer:?}");
    assert!(answer.header("retry-after").is_some());
    assert_eq!(app.alive(), ["Patient/b"]);
    assert_eq!(app.post("", bundle).await.status, 200);
    assert_eq!(app.alive().len(), 2);
}

#[tokio::test]
async fn a_bundle_with_an_entry_that_is_no_put_or_delete_forwards_nothing() {
    let app = TestApp::start().await;
    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": serde_json::from_str::<Value>(&patient("a", 1)).unwrap(), "request": {"method": "PUT", "url": "Patient/a"}},
        {"request": {"method": "GET", "url": "Patient/a"}},
    ]});
    refused(
        &app,
        typed(&app, Method::POST, "", "application/fhir+json", bundle.to_string()),
        400,
        "PUT of a resource",
    )
    .await;
    let history = r#"{"resourceType":"Bundle","type":"history"}"#;
    refused(&app, typed(&app, Method::POST, "", "application/fhir+json", history), 400, "the Bundle is none")
        .await;
}

#[tokio::test]
async fn post_of_a_document_bundle_is_an_upsert_of_the_bundle() {
    let app = TestApp::start().await;
    let collection = r#"{"resourceType":"Bundle","id":"b1","type":"collection"}"#;
    assert_eq!(app.post("", collection).await.status, 201);
    assert_eq!(
        app.put("/Bundle/b2", r#"{"resourceType":"Bundle","id":"b2","type":"batch"}"#).await.status,
        201
    );
    assert_eq!(app.alive(), ["Bundle/b1", "Bundle/b2"]);
}

fn status_entry(kind: &str, microsoft: bool) -> Value {
    match microsoft {
        true => json!({"resource": {"resourceType": "Parameters", "parameter": [
            {"name": "subscription", "valueReference": {"reference": "Subscription/s"}},
            {"name": "type", "valueCode": kind}]}}),
        false => json!({"resource": {"resourceType": "SubscriptionStatus", "type": kind}}),
    }
}

#[tokio::test]
async fn handshake_and_heartbeat_are_acknowledged() {
    let app = TestApp::start().await;
    for kind in ["handshake", "heartbeat"] {
        for microsoft in [true, false] {
            let bundle = json!({"resourceType": "Bundle", "type": "history", "entry": [status_entry(kind, microsoft)]});
            // Microsoft's server sends text/plain and takes 200 or 202 only.
            let answer = send(typed(&app, Method::POST, "", "text/plain", bundle.to_string())).await;
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(answer.json()["resourceType"], "Bundle");
        }
    }
    assert_eq!(app.forwarded(), 0);
}

#[tokio::test]
async fn an_event_with_resources_forwards_each_one() {
    let app = TestApp::start().await;
    app.put("/Patient/gone", patient("gone", 1)).await;
    let bundle = json!({"resourceType": "Bundle", "type": "history", "entry": [
        status_entry("event-notification", true),
        {"fullUrl": "http://cdr/fhir/Patient/a", "resource": serde_json::from_str::<Value>(&patient("a", 1)).unwrap(),
         "request": {"method": "PUT", "url": "Patient/a"}, "response": {"status": "200"}},
        {"fullUrl": "http://cdr/fhir/Patient/gone", "request": {"method": "DELETE", "url": "Patient/gone"}},
    ]});
    let answer = send(typed(&app, Method::POST, "", "text/plain", bundle.to_string())).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["entry"].as_array().unwrap().len(), 3);
    assert_eq!(app.alive(), ["Patient/a"]);
}

fn id_only() -> String {
    json!({"resourceType": "Bundle", "type": "history", "entry": [
        status_entry("event-notification", false),
        {"fullUrl": "http://cdr/fhir/Patient/a"},
        {"fullUrl": "http://cdr/fhir/Patient/gone"},
    ]})
    .to_string()
}

#[tokio::test]
async fn an_id_only_event_is_refused_where_no_cdr_is_configured() {
    let app = TestApp::start().await;
    let empty = json!({"resourceType": "Bundle", "type": "history", "entry": [status_entry("event-notification", true)]});
    refused(
        &app,
        typed(&app, Method::POST, "", "application/fhir+json", empty.to_string()),
        400,
        "full-resource",
    )
    .await;
    let before = app.forwarded();
    let answer = app.post("", id_only()).await;
    assert_eq!(answer.status, 400, "{answer:?}");
    assert!(answer.body.contains("--cdr-url"), "{answer:?}");
    assert_eq!(app.forwarded(), before);
}

#[tokio::test]
async fn an_id_only_event_is_read_at_the_cdr_where_one_is_configured() {
    let routes = axum::Router::new().route(
        "/fhir/Patient/{id}",
        axum::routing::get(
            async |axum::extract::Path(id): axum::extract::Path<String>, headers: http::HeaderMap| {
                assert_eq!(headers["authorization"], "Bearer cdr-token");
                match id.as_str() {
                    "a" => (http::StatusCode::OK, patient("a", 3)),
                    "broken" => (http::StatusCode::INTERNAL_SERVER_ERROR, String::new()),
                    _ => (http::StatusCode::GONE, String::new()),
                }
            },
        ),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let cdr = format!("http://{}/fhir/", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    let app = TestApp::builder().arg("--cdr-url", cdr).arg("--cdr-token", "cdr-token").start().await;
    app.put("/Patient/gone", patient("gone", 1)).await;
    let answer = app.post("", id_only()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(app.alive(), ["Patient/a"]);
    assert_eq!(app.stored("Patient/a").unwrap()["name"][0]["family"], "F3");
    let broken = id_only().replace("Patient/gone", "Patient/broken");
    assert_eq!(app.post("", broken).await.status, 502);
}
