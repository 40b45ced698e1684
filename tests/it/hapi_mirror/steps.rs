//! Subscriptions of other kinds, and failures on the way. Each has types and an endpoint of its own: what HAPI
//! still retries of one does not reach the next.

use std::time::Duration;

use serde_json::{Value, json};

use super::{JSON, subscribe};
use crate::support::app::{TOKEN, TestApp};
use crate::support::hapi::{Hapi, extension, send_deletes};
use crate::support::tap::Tap;

pub async fn an_outage_is_bridged_by_hapi_s_retry(hapi: &Hapi) {
    let (app, tap) = start().await;
    subscribe(hapi, "outage", "[Location]", &tap.url("/fhir"), JSON).await;
    app.fault(r#"{"status": 503, "count": 2, "service": "healthlake"}"#);
    hapi.put("Location", "l-1", &json!({"name": "x"})).await;
    tap.wait(3).await;
    assert_eq!(tap.statuses(), [503, 503, 201]);
    assert_eq!(app.alive(), ["Location/l-1"]);
    let verdicts = verdicts(&app, 3).await;
    assert_eq!(verdicts, ["healthlake-failed", "healthlake-failed", "mirrored"]);
    hapi.delete("Subscription", "outage").await;
}

/// Each would hold one of the Subscription's two threads for a minute, and then be lost. Kept, they cost one request
/// each, and the next delivery comes at once.
pub async fn refused_resources_do_not_stall_the_subscription(hapi: &Hapi) {
    let directory = tempfile::tempdir().unwrap();
    let app = TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", directory.path().display())
        .env("LAKEHOOK_CDR_URL", hapi.base_url())
        .start()
        .await;
    let tap = Tap::start(app.address()).await;
    subscribe(hapi, "refused", "[Schedule]", &tap.url("/fhir"), JSON).await;
    let outcome =
        json!({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]});
    for id in ["r-1", "r-2"] {
        let fault = json!({"status": 400, "body": outcome.to_string(), "key": format!("Schedule/{id}")});
        app.fault(&fault.to_string());
    }
    let schedule = json!({"actor": [{"display": "x"}]});
    for id in ["r-1", "r-2", "r-3"] {
        hapi.put("Schedule", id, &schedule).await;
    }
    tap.wait(3).await;
    // HAPI would send what it takes for a failure again after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let mut answers: Vec<_> = tap.exchanges().iter().map(|e| (e.key().to_owned(), e.status)).collect();
    answers.sort();
    let expected = [("Schedule/r-1", 200), ("Schedule/r-2", 200), ("Schedule/r-3", 201)];
    assert_eq!(answers, expected.map(|(key, status)| (key.to_owned(), status)));
    assert!(!hapi.log().contains("Subscription/refused"), "HAPI does not take the answer for success");
    assert_eq!(app.alive(), ["Schedule/r-3"]);

    // The cause is cured, and one of them is deleted at the CDR: HealthLake is what the CDR is.
    app.sandbox.clear_faults();
    hapi.delete("Schedule", "r-2").await;
    tap.wait(4).await;
    let ran = app.command(&["dead-letters", "redrive"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut alive = app.alive();
    alive.sort();
    assert_eq!(alive, ["Schedule/r-1", "Schedule/r-3"]);
    let ran = app.command(&["dead-letters", "list"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""), "{ran:?}");
    hapi.delete("Subscription", "refused").await;
}

/// `payload-search-criteria`: a transaction of all that the search finds, whatever changed. HAPI reads this
/// extension from the Subscription itself, unlike its others; on the channel it does nothing.
pub async fn a_search_criteria_s_bundle_is_taken(hapi: &Hapi) {
    let (app, tap) = start().await;
    let criteria = "Device?_id=${matched_resource_id}&_include=Device:organization";
    let channel = json!({"type": "rest-hook", "endpoint": tap.url("/fhir"), "payload": JSON,
        "header": [format!("Authorization: Bearer {TOKEN}")], "extension": [send_deletes()]});
    let subscription = json!({"status": "requested", "reason": "test", "criteria": "[Device]",
        "channel": channel, "extension": [extension("subscription-payload-search-criteria", criteria)]});
    hapi.put("Organization", "o-search", &json!({"name": "owner"})).await;
    hapi.put("Subscription", "search", &subscription).await;
    hapi.wait_active("search").await;

    hapi.put("Device", "d-1", &json!({"owner": {"reference": "Organization/o-search"}})).await;
    let transaction = tap.wait(1).await.remove(0);
    assert_eq!((transaction.method(), transaction.target(), transaction.status), ("POST", "/fhir", 200));
    assert_eq!(app.alive(), ["Device/d-1", "Organization/o-search"]);
    // HAPI reads the answer, and would retry after a second.
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!hapi.log().contains("Subscription/search"), "HAPI does not take the answer for success");
    assert_eq!(tap.statuses(), [200]);

    // The search finds nothing then, and HAPI sends a Bundle that names nothing: the delete can't be told.
    hapi.delete("Device", "d-1").await;
    let empty = tap.wait(2).await.remove(1);
    assert_eq!((empty.method(), empty.request.body()), ("POST", br#"{"resourceType":"Bundle"}"#.as_slice()));
    // Refusing it would hold the Subscription up for a minute and bring nothing.
    assert_eq!(empty.status, 200);
    assert!(app.log().contains("payload-search-criteria does not tell of deletes"), "{}", app.log());
    hapi.delete("Subscription", "search").await;
}

pub async fn without_payload_it_is_refused(hapi: &Hapi) {
    let (app, tap) = start().await;
    let header = format!("Authorization: Bearer {TOKEN}");
    hapi.subscribe("nopayload", "[Group]", &tap.url("/fhir"), None, &[&header], &[send_deletes()]).await;
    hapi.wait_active("nopayload").await;
    hapi.put("Group", "g-1", &json!({"type": "person", "actual": true})).await;
    let answer = refused(&app, &tap, "no-payload").await;
    assert!(answer.contains("channel.payload"), "{answer}");
    hapi.delete("Subscription", "nopayload").await;
}

pub async fn a_query_in_the_endpoint_is_refused(hapi: &Hapi) {
    let (app, tap) = start().await;
    subscribe(hapi, "query", "[Goal]", &tap.url("/fhir?token=x"), JSON).await;
    let goal =
        json!({"lifecycleStatus": "active", "description": {"text": "x"}, "subject": {"display": "x"}});
    hapi.put("Goal", "q-1", &goal).await;
    let answer = refused(&app, &tap, "query-in-endpoint").await;
    assert!(answer.contains("channel.endpoint"), "{answer}");
    hapi.delete("Subscription", "query").await;
}

pub async fn a_wrong_token_lets_nothing_through(hapi: &Hapi) {
    let (app, tap) = start().await;
    let header = "Authorization: Bearer wrong";
    hapi.subscribe("token", "[Slot]", &tap.url("/fhir"), Some(JSON), &[header], &[send_deletes()]).await;
    hapi.wait_active("token").await;
    let slot = json!({"schedule": {"display": "x"}, "status": "free", "start": "2026-01-01T00:00:00Z", "end": "2026-01-01T01:00:00Z"});
    hapi.put("Slot", "s-1", &slot).await;
    let exchanges = tap.wait(2).await;
    assert!(exchanges.iter().all(|exchange| exchange.status == 401), "{:?}", tap.statuses());
    assert!(verdicts(&app, 2).await.iter().all(|verdict| verdict == "unauthenticated"));
    assert_eq!(app.forwarded(), 0);
    hapi.delete("Subscription", "token").await;
}

async fn start() -> (TestApp, Tap) {
    let app = TestApp::start().await;
    let tap = Tap::start(app.address()).await;
    (app, tap)
}

async fn verdicts(app: &TestApp, n: usize) -> Vec<String> {
    let lines = app.delivery_lines(n).await;
    lines.iter().map(|line| line["verdict"].as_str().unwrap().to_owned()).collect()
}

/// The answer of the first request, which was refused for `reason`.
async fn refused(app: &TestApp, tap: &Tap, reason: &str) -> String {
    let exchange = tap.wait(1).await.remove(0);
    assert_eq!(exchange.status, 400, "{exchange:?}");
    let line: Value = app.delivery_lines(1).await.remove(0);
    assert_eq!((&line["verdict"], &line["reason"]), (&json!("bad-request"), &json!(reason)), "{line}");
    assert_eq!(app.forwarded(), 0);
    String::from_utf8(exchange.answer.body().to_vec()).unwrap()
}
