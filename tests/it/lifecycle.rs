//! Behind a balancer: health, SIGTERM, draining.

use std::time::Duration;

use crate::support::app::{TestApp, patient, send};

#[tokio::test]
async fn health_tells_alive_and_ready_and_no_more() {
    let app = TestApp::start().await;
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = send(app.http.get(format!("{}{path}", app.origin()))).await;
        assert_eq!((answer.status, answer.body.as_str()), (200, ""), "{path}");
    }
    for path in ["/metrics", "/log", "/admin", "/_sandbox/resources", "/"] {
        let answer = send(app.http.get(format!("{}{path}", app.origin()))).await;
        assert_eq!(answer.status, 401, "{path}");
    }
}

#[tokio::test]
async fn health_does_not_fail_because_healthlake_does() {
    let app = TestApp::start().await;
    app.fault(r#"{"status":500,"service":"healthlake"}"#);
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 502);
    assert_eq!((app.health("/healthz").await, app.health("/readyz").await), (200, 200));
    let detail = app.admin("/readyz").await.json();
    assert_eq!(
        (&detail["ready"], &detail["healthlake"]["lastAnswer"]["status"]),
        (&true.into(), &500.into())
    );
    assert!(detail["credentials"]["expire"].is_string());
}

#[tokio::test]
async fn that_healthlake_accepts_again_is_told_once() {
    let app = TestApp::start().await;
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
    app.fault(r#"{"status":503,"service":"healthlake"}"#);
    for version in 2..5 {
        assert_eq!(app.put("/Patient/a", patient("a", version)).await.status, 503);
    }
    assert!(!app.log().contains("HealthLake accepts again"), "{}", app.log());
    app.sandbox.clear_faults();
    for version in 4..7 {
        assert_eq!(app.put("/Patient/a", patient("a", version)).await.status, 200);
    }
    let log = app.log();
    let mut told = log.lines().filter(|line| line.contains("HealthLake accepts again"));
    let line: serde_json::Value = serde_json::from_str(told.next().unwrap()).unwrap();
    assert_eq!((&line["failures"], &line["level"]), (&3.into(), &"INFO".into()));
    assert!(line["message"].as_str().unwrap().contains("after 3 failures in "), "{line}");
    assert_eq!(told.next(), None);
}

#[tokio::test]
async fn ready_waits_for_credentials_and_health_does_not() {
    let app = TestApp::builder()
        .sandbox(|config| {
            config.faults = vec![serde_json::from_str(r#"{"status":500,"service":"sts"}"#).unwrap()]
        })
        .start()
        .await;
    assert_eq!((app.health("/healthz").await, app.health("/readyz").await), (200, 503));
    let answer = app.put("/Patient/a", patient("a", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (503, "credentials-refused"));
    app.sandbox.clear_faults();
    for _ in 0..600 {
        if app.health("/readyz").await == 200 {
            assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not ready though STS is back");
}

#[tokio::test]
async fn sigterm_turns_health_first_then_drains_and_exits_0() {
    let mut app = TestApp::builder().arg("--drain-delay", "1500ms").start().await;
    app.fault(r#"{"delayMs":2500,"service":"healthlake","key":"Patient/slow"}"#);
    let (request, address) =
        (app.request(reqwest::Method::PUT, "/Patient/slow"), format!("http://{}/healthz", app.address()));
    let slow =
        tokio::spawn(send(request.header("content-type", "application/fhir+json").body(patient("slow", 1))));
    while app.forwarded() == 0 && app.delivery_in_flight().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.signal("-TERM");
    while app.health("/healthz").await == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // The balancer has not noticed yet: what it still sends is taken.
    assert_eq!((app.health("/livez").await, app.health("/readyz").await), (200, 503));
    assert_eq!(app.put("/Patient/late", patient("late", 1)).await.status, 201);
    assert_eq!(slow.await.unwrap().status, 201, "what was in flight ended");
    assert!(app.ended().await.success());
    assert!(app.http.get(address).send().await.is_err());
    assert_eq!(app.alive(), ["Patient/late", "Patient/slow"]);
}

#[tokio::test]
async fn a_delivery_whose_caller_hung_up_is_drained_too() {
    let mut app = TestApp::builder().arg("--drain-delay", "0s").start().await;
    app.fault(r#"{"delayMs":1000,"service":"healthlake"}"#);
    let request =
        app.request(reqwest::Method::PUT, "/Patient/a").header("content-type", "application/fhir+json");
    let caller = tokio::spawn(request.body(patient("a", 1)).send());
    while app.delivery_in_flight().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    caller.abort();
    app.signal("-TERM");
    assert!(app.ended().await.success());
    assert_eq!(app.alive(), ["Patient/a"]);
}

#[tokio::test]
async fn the_drain_has_a_bound() {
    let mut app = TestApp::builder().arg("--drain-delay", "0s").arg("--drain-timeout", "300ms").start().await;
    app.fault(r#"{"delayMs":7000,"service":"healthlake"}"#);
    let request =
        app.request(reqwest::Method::PUT, "/Patient/a").header("content-type", "application/fhir+json");
    let _caller = tokio::spawn(request.body(patient("a", 1)).send());
    while app.delivery_in_flight().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.signal("-TERM");
    assert_eq!(app.ended().await.code(), Some(1));
    assert!(app.log().contains("still in flight"), "{}", app.log());
}

#[tokio::test]
async fn a_second_signal_ends_at_once() {
    let mut app = TestApp::builder().arg("--drain-delay", "1h").start().await;
    app.signal("-TERM");
    while app.health("/healthz").await == 200 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    app.signal("-INT");
    assert_eq!(app.ended().await.code(), Some(1));
}

#[tokio::test]
async fn sigint_does_not_wait_for_a_balancer() {
    let mut app = TestApp::builder().arg("--drain-delay", "1h").start().await;
    app.signal("-INT");
    assert!(app.ended().await.success());
}

#[tokio::test]
async fn the_troubleshooting_logs_are_switched_at_run_time() {
    let app = TestApp::start().await;
    app.put("/Patient/a", patient("a", 1)).await;
    assert!(!app.log().contains("lakehook::export") && !app.log().contains("lakehook::subscription"));
    assert_eq!(app.set_log("info,lakehook::export=debug,lakehook::subscription=debug").await.status, 200);
    app.put("/Patient/b", patient("b", 1)).await;
    app.delivery_lines(2).await;
    for _ in 0..200 {
        if app.log().contains("lakehook::subscription") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let log = app.log();
    let line = |target: &str| {
        let found =
            log.lines().find(|line| line.contains(target)).unwrap_or_else(|| panic!("{target}: {log}"));
        serde_json::from_str::<serde_json::Value>(found).unwrap()
    };
    let export = line("lakehook::export\"");
    assert_eq!((&export["method"], &export["status"]), (&"PUT".into(), &201.into()));
    assert!(export["path"].as_str().unwrap().ends_with("/r4/Patient/b"));
    assert!(export["request_id"].is_string());
    let subscription = line("lakehook::subscription\"");
    assert_eq!((&subscription["verdict"], &subscription["media"]), (&"mirrored".into(), &"fhir-json".into()));
    let wrong = app.set_log("lakehook=loud").await;
    assert_eq!(wrong.status, 400);
    assert!(wrong.body.contains("a filter is"), "{wrong:?}");
    assert_eq!(app.set_log("info").await.status, 200);
    app.put("/Patient/c", patient("c", 1)).await;
    app.delivery_lines(3).await;
    assert!(!app.log().contains("r4/Patient/c"));
}

#[tokio::test]
async fn a_delivery_s_line_tells_what_an_operator_asks() {
    let app = TestApp::start().await;
    let traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let request = app
        .request(reqwest::Method::PUT, "/Patient/a")
        .header("content-type", "application/fhir+json")
        .header("x-forwarded-for", "203.0.113.7, 10.0.0.1")
        .header("traceparent", traceparent)
        .body(r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"7","lastUpdated":"2026-11-24T16:37:28.762+00:00"}}"#);
    let answer = send(request).await;
    let line = app.delivery_lines(1).await.remove(0);
    for (field, value) in [
        ("key", "Patient/a"),
        ("interaction", "upsert"),
        ("version_id", "7"),
        ("last_updated", "2026-11-24T16:37:28.762+00:00"),
        ("verdict", "mirrored"),
        ("forwarded_for", "203.0.113.7, 10.0.0.1"),
        ("traceparent", traceparent),
        ("delivery", answer.header("x-request-id").unwrap()),
    ] {
        assert_eq!(line[field], value, "{field}: {line}");
    }
    assert_eq!(
        (&line["healthlake_status"], &line["attempts"], &line["bytes"]),
        (&201.into(), &1.into(), &106.into())
    );
    for field in ["healthlake_request_id", "validate_ms", "wait_ms", "healthlake_ms", "peer"] {
        assert!(!line[field].is_null(), "{field}: {line}");
    }
}
