//! Traces, as an OpenTelemetry collector gets them.

use http::StatusCode;
use reqwest::Method;
use serde_json::json;

use crate::support::app::{Answer, TestApp, patient, send};
use crate::support::cdr::SmallCdr;
use crate::support::collector::{Collector, attribute, has, hex, is_client, is_error, is_server};
use crate::support::tap::Tap;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

async fn put_within(app: &TestApp, path: &str, traceparent: &str, json: String) -> Answer {
    let request = app.request(Method::PUT, path).header("content-type", "application/fhir+json");
    send(request.header("traceparent", traceparent).header("tracestate", "cdr=1").body(json)).await
}

#[tokio::test]
async fn a_delivery_is_a_part_of_the_sender_s_trace_and_healthlake_s_call_a_part_of_it() {
    let collector = Collector::start().await;
    let builder = TestApp::builder()
        .env("OTEL_SERVICE_NAME", "mirror-of-test")
        .env("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
        .env("OTEL_EXPORTER_OTLP_HEADERS", "x-collector-key=k1");
    let (app, healthlake) = Tap::before_healthlake(collector.of(builder)).await;
    let unsampled = format!("00-{}-{PARENT}-00", TRACE.replace('4', "5"));
    assert_eq!(put_within(&app, "/Patient/quiet", &unsampled, patient("quiet", 1)).await.status, 201);
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(put_within(&app, "/Patient/p1", &traceparent, patient("p1", 7)).await.status, 201);

    let request = collector.request("Patient/p1", "mirrored").await;
    assert_eq!(request.name, "PUT /fhir/{Type}/{id}");
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (TRACE, PARENT));
    assert!(is_server(&request) && !is_error(&request));
    let line = app.delivery_lines(2).await.remove(1);
    for (name, value) in [
        ("http.request.method", "PUT"),
        ("http.route", "/fhir/{Type}/{id}"),
        ("http.response.status_code", "201"),
        ("lakehook.resource_type", "Patient"),
        ("lakehook.version_id", "7"),
        ("lakehook.interaction", "upsert"),
        ("lakehook.source", "live"),
        ("lakehook.attempts", "1"),
        ("lakehook.delivery", line["delivery"].as_str().unwrap()),
    ] {
        assert_eq!(attribute(&request, name).as_deref(), Some(value), "{name}: {request:?}");
    }
    assert_eq!(line["trace_id"], TRACE);
    for step in ["validate", "order queue", "order claim", "order settle"] {
        let span = collector.child(&request, step);
        assert!(!is_error(&span) && span.trace_id == request.trace_id, "{span:?}");
    }
    assert!(has(&collector.child(&request, "order claim"), "lakehook.order_store", "memory"));
    let call = collector.child(&request, "PUT {Type}/{id}");
    assert!(is_client(&call) && !is_error(&call));
    for (name, value) in [
        ("http.request.method", "PUT"),
        ("url.template", "{Type}/{id}"),
        ("http.response.status_code", "201"),
        ("server.address", "127.0.0.1"),
    ] {
        assert_eq!(attribute(&call, name).as_deref(), Some(value), "{name}: {call:?}");
    }
    assert_eq!(attribute(&call, "aws.request_id").as_deref(), line["healthlake_request_id"].as_str());

    // On the wire it names the call's span, and is not signed: a mesh may put its own in its place.
    let sent = healthlake.exchanges();
    let of = |key: &str| sent.iter().find(|exchange| exchange.key() == key).unwrap().request.clone();
    let on = format!("00-{TRACE}-{}-01", hex(&call.span_id));
    assert_eq!(of("Patient/p1").header("traceparent"), Some(on.as_str()));
    assert_eq!(of("Patient/p1").header("tracestate"), Some("cdr=1"));
    let signed = of("Patient/p1").header("authorization").unwrap().to_owned();
    assert!(signed.contains("SignedHeaders=") && !signed.contains("trace"), "{signed}");
    // What the sender does not sample is carried on and not sent.
    let quiet = of("Patient/quiet").header("traceparent").unwrap().to_owned();
    assert!(quiet.starts_with(&unsampled[..35]) && quiet.ends_with("-00"), "{quiet}");
    assert!(collector.spans().iter().all(|span| !has(span, "lakehook.key", "Patient/quiet")));

    assert_eq!(collector.resource("service.name").as_deref(), Some("mirror-of-test"));
    assert_eq!(collector.resource("deployment.environment.name").as_deref(), Some("test"));
    assert_eq!(collector.resource("service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(collector.header("x-collector-key").as_deref(), Some("k1"));
    // Before the first delivery, and of none: STS.
    let renewal = collector.span("of STS", |span| span.name == "renew credentials").await;
    assert!(is_client(&renewal) && !is_error(&renewal) && renewal.parent_span_id.is_empty());
    let metrics = app.admin("/metrics").await.body;
    assert!(metrics.contains(r#"lakehook_trace_spans_total{outcome="sent"}"#), "{metrics}");
}

#[tokio::test]
async fn what_is_refused_or_fails_is_an_error_that_says_of_which_kind() {
    let collector = Collector::start().await;
    let app = collector.of(TestApp::builder()).start().await;
    app.fault(r#"{"status":503,"key":"Patient/failed"}"#);
    assert_eq!(app.put("/Patient/failed", patient("failed", 1)).await.status, 503);
    let request = collector.request("Patient/failed", "healthlake-failed").await;
    assert!(is_error(&request) && has(&request, "error.type", "healthlake-failed"), "{request:?}");
    let call = collector.child(&request, "PUT {Type}/{id}");
    assert!(is_error(&call) && has(&call, "error.type", "503"), "{call:?}");

    // Cut before it took effect, and tried once more.
    app.fault(r#"{"cut":"before","key":"Patient/cut","count":1}"#);
    assert_eq!(app.put("/Patient/cut", patient("cut", 1)).await.status, 201);
    let request = collector.request("Patient/cut", "mirrored").await;
    assert!(!is_error(&request) && has(&request, "lakehook.attempts", "2"));
    let mut calls = collector.below(&request);
    calls.retain(is_client);
    calls.sort_by_key(|span| span.start_time_unix_nano);
    assert!(
        has(&calls[0], "error.type", "cut") && has(&calls[1], "http.request.resend_count", "1"),
        "{calls:?}"
    );

    let invalid = patient("invalid", 1).replace("true", "7");
    assert_eq!(app.put("/Patient/invalid", invalid).await.status, 422);
    let request = collector.request("Patient/invalid", "invalid").await;
    assert!(is_error(&request) && has(&collector.child(&request, "validate"), "error.type", "invalid"));
    assert!(collector.below(&request).iter().all(|span| !is_client(span)), "nothing was sent");

    let stranger = app.http.put(format!("{}/Patient/x?name=MARK", app.endpoint())).bearer_auth("wrong");
    assert_eq!(send(stranger).await.status, 401);
    let of_stranger = |span: &_| has(span, "lakehook.verdict", "unauthenticated");
    let request = collector.span("of a stranger", of_stranger).await;
    assert!(is_error(&request) && has(&request, "http.response.status_code", "401"), "{request:?}");

    // Of a resource that HealthLake does not take the CDR has nothing left to do.
    app.fault(
        &json!({"key": "Patient/gone", "status": 404, "method": "DELETE", "body":
        r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}"#})
        .to_string(),
    );
    assert_eq!(app.delete("/Patient/gone").await.status, 204);
    let request = collector.request("Patient/gone", "already-gone").await;
    assert!(!is_error(&request) && !is_error(&collector.child(&request, "DELETE {Type}/{id}")));

    let bundle = json!({"resourceType": "Bundle", "type": "batch", "entry": [
        {"resource": serde_json::from_str::<serde_json::Value>(&patient("b1", 1)).unwrap(), "request": {"method": "PUT", "url": "Patient/b1"}},
        {"resource": {"resourceType": "Patient", "id": "b2", "active": 7}, "request": {"method": "PUT", "url": "Patient/b2"}}]});
    app.post("", bundle.to_string()).await;
    let request = collector.span("of the Bundle", |span| has(span, "lakehook.entries", "2")).await;
    assert!(is_error(&request) && request.name == "POST /fhir", "{request:?}");
    let entries = collector.below(&request);
    let of = |key: &str| entries.iter().find(|span| has(span, "lakehook.key", key)).unwrap();
    assert!(!is_error(of("Patient/b1")) && is_error(of("Patient/b2")), "{entries:?}");
    assert!(is_client(&collector.child(of("Patient/b1"), "PUT {Type}/{id}")));
}

#[tokio::test]
async fn a_command_s_delivery_and_its_question_to_the_cdr_are_a_trace_of_their_own() {
    let (collector, cdr) = (Collector::start().await, SmallCdr::start().await);
    cdr.put("Patient/asked", json!({"active": true}));
    let address = cdr.url.strip_prefix("http://").unwrap().strip_suffix("/fhir").unwrap();
    let tap = Tap::start(address).await;
    let directory = tempfile::tempdir().unwrap();
    let app = collector
        .of(TestApp::builder())
        .env("LAKEHOOK_CDR_URL", tap.url("/fhir"))
        .env("LAKEHOOK_DATA_DIR", directory.path().display())
        .start()
        .await;
    let ran = app.command(&["resend", "Patient/asked"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let deliver = collector.span("of the command", |span| span.name == "deliver resend").await;
    assert!(deliver.parent_span_id.is_empty() && has(&deliver, "lakehook.verdict", "mirrored"));
    assert!(has(&collector.child(&deliver, "order claim"), "lakehook.order_store", "file"));
    let ask = collector.child(&deliver, "GET {Type}/{id}");
    assert!(is_client(&ask) && has(&ask, "http.response.status_code", "200"));
    let carried = tap.exchanges()[0].request.header("traceparent").unwrap().to_owned();
    assert_eq!(carried, format!("00-{}-{}-01", hex(&ask.trace_id), hex(&ask.span_id)));
}

#[tokio::test]
async fn sts_that_fails_is_told_by_a_span() {
    let collector = Collector::start().await;
    let app = collector
        .of(TestApp::builder())
        .sandbox(|config| {
            config.faults = vec![serde_json::from_str(r#"{"status":500,"service":"sts"}"#).unwrap()]
        })
        .start()
        .await;
    let renewal = collector.span("of STS", |span| span.name == "renew credentials" && is_error(span)).await;
    assert!(has(&renewal, "error.type", "credentials-refused"), "{renewal:?}");
    drop(app);
}

#[tokio::test]
async fn without_a_collector_nothing_is_carried_on() {
    let (app, healthlake) = Tap::before_healthlake(TestApp::builder()).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    assert_eq!(put_within(&app, "/Patient/p1", &traceparent, patient("p1", 1)).await.status, 201);
    let sent = healthlake.exchanges().remove(0).request;
    assert_eq!((sent.header("traceparent"), sent.header("tracestate")), (None, None));
    // The log names the sender's all the same.
    let line = app.delivery_lines(1).await.remove(0);
    assert_eq!((&line["traceparent"], &line["trace_id"]), (&traceparent.into(), &serde_json::Value::Null));
    assert!(!app.admin("/metrics").await.body.contains("lakehook_trace_spans_total{"));
}

/// Nothing is ever answered, and an export would wait for an hour: deliveries do not, and the end of the process neither.
#[tokio::test]
async fn a_collector_that_hangs_costs_spans_and_nothing_else() {
    let mut app = TestApp::builder()
        .arg("--otlp-endpoint", Collector::hanging().await)
        .arg("--drain-delay", "0s")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", 3_600_000)
        .env("OTEL_BSP_MAX_QUEUE_SIZE", 32)
        .env("OTEL_BSP_SCHEDULE_DELAY", 10)
        .start()
        .await;
    for n in 0..40 {
        assert_eq!(app.put(&format!("/Patient/p{n}"), patient(&format!("p{n}"), 1)).await.status, 201);
    }
    let metrics = app.admin("/metrics").await.body;
    let dropped = metrics
        .lines()
        .find_map(|line| line.strip_prefix(r#"lakehook_trace_spans_total{outcome="dropped"} "#));
    // Six of each delivery, and 32 that wait.
    assert!(dropped.unwrap().parse::<u64>().unwrap() >= 40 * 6 - 32, "{metrics}");
    app.signal("-TERM");
    assert!(app.ended().await.success());
    assert!(app.log().contains("the collector did not take the last traces in time"), "{}", app.log());
}

#[tokio::test]
async fn a_collector_that_refuses_is_told_once_and_its_end_too() {
    let collector = Collector::start().await;
    collector.refuse(Some(StatusCode::SERVICE_UNAVAILABLE));
    let app = collector.of(TestApp::builder()).start().await;
    let failed = async |n: u64| {
        for _ in 0..600 {
            let metrics = app.admin("/metrics").await.body;
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix(r#"lakehook_trace_spans_total{outcome="failed"} "#));
            if line.is_some_and(|line| line.parse::<u64>().unwrap() >= n) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        panic!("fewer than {n} failed: {}", app.admin("/metrics").await.body);
    };
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
    failed(1).await;
    assert_eq!(app.put("/Patient/b", patient("b", 1)).await.status, 201);
    failed(12).await;
    collector.refuse(None);
    assert_eq!(app.put("/Patient/c", patient("c", 1)).await.status, 201);
    collector.request("Patient/c", "mirrored").await;
    let log = app.log();
    assert_eq!(log.matches("the collector does not take traces").count(), 1, "{log}");
    assert_eq!(log.matches("the collector takes traces again").count(), 1, "{log}");
}

#[tokio::test]
async fn what_waits_is_sent_before_the_end() {
    let collector = Collector::start().await;
    let mut app = TestApp::builder()
        // The standard's own name for the same
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url())
        .env("OTEL_BSP_SCHEDULE_DELAY", 3_600_000)
        .arg("--drain-delay", "0s")
        .start()
        .await;
    assert_eq!(app.put("/Patient/last", patient("last", 1)).await.status, 201);
    assert_eq!(collector.spans().len(), 0);
    app.signal("-TERM");
    assert!(app.ended().await.success());
    collector.request("Patient/last", "mirrored").await;
}
