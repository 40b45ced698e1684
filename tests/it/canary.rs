//! Canaries: written at a CDR, delivered by its Subscription, found at HealthLake.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::{Value, json};

use crate::dynamodb::bench::{Bench, TABLE};
use crate::support::app::{Builder, TOKEN, TestApp};
use crate::support::process::http_client;

/// A CDR with one Subscription, which delivers to lakehook what is written.
#[derive(Clone)]
struct Cdr {
    url: String,
    state: Arc<Mutex<Shelf>>,
    http: reqwest::Client,
}

#[derive(Default)]
struct Shelf {
    /// `Type/id`
    resources: BTreeMap<String, Value>,
    /// `channel.endpoint`; none: it delivers nothing.
    endpoint: Option<String>,
    /// Of the answer to a write, where it is refused
    refuse: Option<StatusCode>,
}

impl Cdr {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/fhir", listener.local_addr().unwrap());
        let cdr = Self { url, state: Arc::default(), http: http_client() };
        cdr.subscription("active", "[*]");
        let routes = axum::Router::new()
            .route("/fhir/{type}/{id}", axum::routing::get(read).put(write))
            .with_state(cdr.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        cdr
    }

    fn subscription(&self, status: &str, criteria: &str) {
        self.put(
            "Subscription/lakehook",
            json!({"resourceType": "Subscription", "id": "lakehook", "status": status, "criteria": criteria}),
        );
    }

    fn put(&self, key: &str, resource: Value) {
        self.state.lock().unwrap().resources.insert(key.to_owned(), resource);
    }

    fn get(&self, key: &str) -> Option<Value> {
        self.state.lock().unwrap().resources.get(key).cloned()
    }

    fn deliver_to(&self, app: Option<&TestApp>) {
        self.state.lock().unwrap().endpoint = app.map(|app| app.endpoint().to_owned());
    }

    fn refuse(&self, status: Option<StatusCode>) {
        self.state.lock().unwrap().refuse = status;
    }
}

async fn read(State(cdr): State<Cdr>, Path((kind, id)): Path<(String, String)>) -> Response {
    match cdr.get(&format!("{kind}/{id}")) {
        Some(resource) => axum::Json(resource).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn write(
    State(cdr): State<Cdr>,
    Path((kind, id)): Path<(String, String)>,
    axum::Json(mut resource): axum::Json<Value>,
) -> Response {
    let key = format!("{kind}/{id}");
    let endpoint = {
        let mut shelf = cdr.state.lock().unwrap();
        if let Some(status) = shelf.refuse {
            return status.into_response();
        }
        let before = shelf.resources.get(&key).and_then(|present| present["meta"]["versionId"].as_str());
        let version = before.map_or(1, |version| version.parse::<u32>().unwrap() + 1);
        resource["meta"] = json!({"versionId": version.to_string(), "lastUpdated": "2026-01-01T00:00:00Z"});
        shelf.resources.insert(key.clone(), resource.clone());
        shelf.endpoint.clone()
    };
    if let Some(endpoint) = endpoint {
        let (http, body) = (cdr.http.clone(), resource.to_string());
        tokio::spawn(async move {
            let put = http.put(format!("{endpoint}/{key}")).bearer_auth(TOKEN);
            let _ = put.header("content-type", "application/fhir+json").body(body).send().await;
        });
    }
    axum::Json(resource).into_response()
}

const KEY: &str = "Device/lakehook-canary";

fn beside(cdr: &Cdr) -> Builder {
    TestApp::builder().env("LAKEHOOK_CDR_URL", &cdr.url)
}

fn flying(cdr: &Cdr) -> Builder {
    beside(cdr).arg("--canary-every", "300ms").arg("--canary-timeout", "1s")
}

async fn until(what: &str, app: &TestApp, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}: {}", app.log());
}

async fn health(app: &TestApp) -> Value {
    app.admin("/readyz").await.json()["canary"].clone()
}

#[tokio::test]
async fn the_command_says_how_long_it_took() {
    let cdr = Cdr::start().await;
    let app = beside(&cdr).start().await;
    cdr.deliver_to(Some(&app));
    for version in ["1", "2"] {
        let ran = app.command(&["canary", "--canary-timeout", "1m"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        let (of, took) = ran.out.split_once(": written at the CDR in ").unwrap();
        assert_eq!(of, format!("{KEY} version {version}"));
        assert!(took.contains(" s, at HealthLake after ") && took.ends_with(" s\n"), "{ran:?}");
        let (here, there) = (cdr.get(KEY).unwrap(), app.stored(KEY).unwrap());
        assert_eq!(here["identifier"][0]["system"], "urn:lakehook:canary");
        assert_eq!(here["identifier"], there["identifier"]);
    }
}

#[tokio::test]
async fn a_canary_of_the_operator_s_keeps_all_but_its_value() {
    let cdr = Cdr::start().await;
    let app = beside(&cdr).start().await;
    cdr.deliver_to(Some(&app));
    let own = json!({"resourceType": "Organization", "id": "c", "name": "Canary", "identifier": [
        {"system": "urn:own", "value": "1"}, {"system": "urn:lakehook:canary", "value": "old"}]});
    cdr.put("Organization/c", own.clone());
    let ran = app.command(&["canary", "--canary-resource", "Organization/c"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let now = app.stored("Organization/c").unwrap();
    assert_eq!((&now["name"], &now["identifier"][0]), (&own["name"], &own["identifier"][0]));
    assert_ne!(now["identifier"][1]["value"], "old");
}

#[tokio::test]
async fn the_command_says_why_it_did_not_arrive() {
    let cdr = Cdr::start().await;
    let app = beside(&cdr).start().await;
    let lost = async |arguments: &[&str], says: &[&str]| {
        let ran = app.command(&[&["canary", "--canary-timeout", "300ms"][..], arguments].concat()).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        assert!(says.iter().all(|word| ran.err.contains(word)), "{says:?}: {ran:?}");
    };
    lost(&[], &["is not at HealthLake after 300ms", "Subscription/lakehook is active"]).await;
    cdr.subscription("off", "[*]");
    lost(&[], &["Subscription/lakehook is off", "`lakehook subscribe` switches it on"]).await;
    cdr.subscription("active", "[Patient]");
    lost(&[], &["do not take a Device", "--canary-resource"]).await;
    lost(&["--subscription-id", "other"], &["no Subscription/other", "`lakehook subscribe` makes it"]).await;
    cdr.put("Patient/p", json!({"resourceType": "Patient", "id": "p", "active": true}));
    lost(&["--canary-resource", "Patient/p"], &["Patient/p", "not marked as the canary"]).await;
    assert_eq!(cdr.get("Patient/p").unwrap()["active"], true, "it is left alone");
    lost(&["--canary-resource", "Patient/none"], &["the CDR has no Patient/none", "create it there"]).await;
    let basic = json!({"resourceType": "Basic", "id": "b", "identifier": [{"system": "urn:lakehook:canary", "value": "old"}]});
    cdr.put("Basic/b", basic);
    lost(&["--canary-resource", "Basic/b"], &["will not be at HealthLake: not-mirrored"]).await;
    cdr.refuse(Some(StatusCode::FORBIDDEN));
    lost(&[], &["the CDR did not take Device/lakehook-canary", "403", "must be allowed to write Device"])
        .await;
    cdr.refuse(None);
    app.fault(r#"{"status":403,"method":"GET","service":"healthlake"}"#);
    lost(&[], &["could not be read at HealthLake", "healthlake:ReadResource"]).await;
    lost(&["--cdr-url", "http://127.0.0.1:9/fhir"], &["could not be read at the CDR", "reached"]).await;

    for (arguments, says) in [
        (&["canary", "--canary-resource", "nonsense"][..], "write it as Device/lakehook-canary"),
        (&["canary", "--canary-timeout", "0s"], "--canary-timeout"),
    ] {
        let ran = app.command(arguments).await;
        assert!(ran.code == 2 && ran.err.contains(says), "{ran:?}");
    }
    let without = TestApp::start().await;
    let ran = without.command(&["canary"]).await;
    assert!(ran.code == 2 && ran.err.contains("--cdr-url"), "{ran:?}");
}

#[tokio::test]
async fn an_instance_s_canaries_tell_of_a_subscription_that_is_off_and_of_its_end() {
    let cdr = Cdr::start().await;
    let app = flying(&cdr).start().await;
    cdr.deliver_to(Some(&app));
    until("one arrives", &app, async || health(&app).await["deliveredSeconds"].is_number()).await;
    let told = health(&app).await;
    assert_eq!((&told["resource"], &told["leads"]), (&KEY.into(), &true.into()));
    assert!(told["lagSeconds"].is_number(), "{told}");
    assert!(told["lastArrived"].is_string() && told["problem"].is_null(), "{told}");
    let metrics = app.admin("/metrics").await.body;
    for line in [
        r#"lakehook_canaries_total{outcome="arrived"}"#,
        r#"lakehook_canary_flight_seconds_count{leg="arrived"}"#,
        r#"lakehook_canary_flight_seconds_count{leg="delivered"}"#,
        "lakehook_canary_lag_seconds 0.",
        "lakehook_canary_age_seconds 0.",
        "lakehook_canary_leads 1",
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }

    cdr.deliver_to(None);
    cdr.subscription("off", "[*]");
    until("two are lost", &app, async || health(&app).await["failuresInARow"].as_u64() >= Some(2)).await;
    let told = health(&app).await;
    assert!(told["problem"].as_str().unwrap().contains("Subscription/lakehook is off"), "{told}");
    assert!(told["ageSeconds"].as_u64() >= Some(1), "{told}");
    // Another instance would not do better.
    assert_eq!((app.health("/healthz").await, app.health("/readyz").await), (200, 200));
    let metrics = app.admin("/metrics").await.body;
    assert!(metrics.contains(r#"lakehook_canaries_total{outcome="not-delivered"}"#), "{metrics}");
    let lines = canary_lines(&app, "WARN");
    assert!(lines.len() >= 2 && lines.iter().all(|line| line["reason"] == "not-delivered"), "{lines:?}");

    cdr.subscription("active", "[*]");
    cdr.deliver_to(Some(&app));
    until("arrives again", &app, async || !canary_lines(&app, "INFO").is_empty()).await;
    let failures = canary_lines(&app, "WARN").len();
    let arrived = r#"lakehook_canary_flight_seconds_count{leg="arrived"} "#;
    let count = async || {
        let metrics = app.admin("/metrics").await.body;
        let line = metrics.lines().find_map(|line| line.strip_prefix(arrived)).unwrap().to_owned();
        line.parse::<u64>().unwrap()
    };
    let before = count().await;
    until("two more", &app, async || count().await >= before + 2).await;
    let again = canary_lines(&app, "INFO");
    assert_eq!(again.len(), 1, "told once: {again:?}");
    assert_eq!(again[0]["failures"], failures);
    assert!(again[0]["message"].as_str().unwrap().contains("arrives again after"), "{again:?}");
    assert!(health(&app).await["problem"].is_null());
}

fn canary_lines(app: &TestApp, level: &str) -> Vec<Value> {
    let lines =
        app.log().lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Vec<_>>();
    lines.into_iter().filter(|line| line["target"] == "lakehook::canary" && line["level"] == level).collect()
}

#[tokio::test]
async fn one_that_healthlake_refuses_is_known_at_once() {
    let cdr = Cdr::start().await;
    let app = beside(&cdr).arg("--canary-every", "300ms").arg("--canary-timeout", "1h").start().await;
    app.fault(
        &json!({"status": 400, "type": "Device", "method": "PUT", "body":
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"processing"}]}"#})
        .to_string(),
    );
    cdr.deliver_to(Some(&app));
    until("refused", &app, async || !canary_lines(&app, "WARN").is_empty()).await;
    let line = canary_lines(&app, "WARN").remove(0);
    assert_eq!(line["reason"], "refused");
    assert!(line["message"].as_str().unwrap().contains("refused-by-healthlake"), "{line}");
}

#[tokio::test]
async fn of_two_replicas_one_flies_and_finds_what_the_other_delivered() {
    let (bench, cdr) = (Bench::dynalite().await, Cdr::start().await);
    let replica = || {
        flying(&cdr)
            .env("LAKEHOOK_ORDER_STORE", format!("dynamodb:{TABLE}"))
            .env("LAKEHOOK_ORDER_DYNAMODB_ENDPOINT", bench.endpoint_url())
    };
    let first = replica().start().await;
    until("the first leads", &first, async || health(&first).await["leads"] == true).await;
    let second = replica().start_beside(&first).await;
    cdr.deliver_to(Some(&second));
    until("one arrives", &first, async || health(&first).await["lagSeconds"].is_number()).await;
    assert!(health(&first).await["deliveredSeconds"].is_null(), "{}", health(&first).await);
    let of_second = health(&second).await;
    assert_eq!((&of_second["leads"], &of_second["lagSeconds"]), (&false.into(), &Value::Null));
    assert!(of_second["ageSeconds"].is_null(), "{of_second}");
    drop((first, second));
    bench.stop().await;
}

#[tokio::test]
async fn without_a_cdr_it_does_not_start() {
    let mut command = crate::support::app::lakehook();
    command.args(["serve", "--sandbox", "--sandbox-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0", "--canary-every", "1m"]);
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(2) && text.contains("needs --cdr-url"), "{text}");
}
