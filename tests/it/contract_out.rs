//! The contract's "Out": each row by name, with HealthLake behaving as the row says.

use std::time::Duration;

use tokio::net::TcpListener;

use crate::support::app::{TestApp, patient};

const OUTCOME: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"warning","code":"processing","diagnostics":"w"},{"severity":"error","code":"processing","diagnostics":"Element 'Patient.name': minimum required = 1, but only found 0","location":["Patient"]}]}"#;

fn fault(status: u16, body: &str) -> String {
    serde_json::json!({"status": status, "body": body, "service": "healthlake"}).to_string()
}

#[tokio::test]
async fn row_healthlake_200_201_204_is_the_same() {
    let app = TestApp::start().await;
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.status, 201);
    let again = app.put("/Patient/p1", patient("p1", 1)).await;
    assert_eq!((again.status, again.body.as_str()), (200, ""), "an equal version is sent again");
    assert_eq!(app.delete("/Patient/p1").await.status, 204);
    assert_eq!(app.writes(), 3);
}

#[tokio::test]
async fn row_unsupported_type_is_200_with_a_warning() {
    let app = TestApp::start().await;
    let basic = r#"{"resourceType":"Basic","id":"b1","code":{"text":"x"}}"#;
    let answer = app.put("/Basic/b1", basic).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (200, "not-mirrored"));
    assert_eq!(answer.json()["issue"][0]["severity"], "warning");
    let line = &app.delivery_lines(1).await[0];
    assert_eq!((line["verdict"].as_str(), line["level"].as_str()), (Some("not-mirrored"), Some("WARN")));
    let metrics = app.admin("/metrics").await.body;
    assert!(metrics.contains(r#"lakehook_deliveries_total{verdict="not-mirrored",resource_type="Basic",interaction="upsert",source="live"} 1"#), "{metrics}");
    // Its delete neither.
    assert_eq!(app.delete("/Basic/b1").await.status, 200);
}

#[tokio::test]
async fn row_unsupported_interaction_is_200_with_a_warning() {
    let app = TestApp::start().await;
    let event = r#"{"resourceType":"AuditEvent","id":"a1","type":{"code":"x"},"recorded":"2026-01-01T00:00:00Z","agent":[{"requestor":true}],"source":{"observer":{"display":"x"}}}"#;
    assert_eq!(app.put("/AuditEvent/a1", event).await.verdict(), "not-mirrored");
}

#[tokio::test]
async fn row_content_refused_by_healthlake_is_422_with_its_issues() {
    let app = TestApp::start().await;
    for status in [400, 422] {
        app.sandbox.clear_faults();
        app.fault(&fault(status, OUTCOME));
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (422, "refused-by-healthlake"));
        assert!(answer.diagnostics().contains("minimum required = 1"), "the error comes first: {answer:?}");
        assert_eq!(answer.json()["issue"][0]["expression"][0], "Patient");
    }
    assert_eq!(app.writes(), 0);
}

#[tokio::test]
async fn row_own_validation_is_422_with_expression() {
    let app = TestApp::start().await;
    let wrong = r#"{"resourceType":"Patient","id":"p1","name":[{"family":"F"},{"given":[""]}]}"#;
    let answer = app.put("/Patient/p1", wrong).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (422, "invalid"));
    assert_eq!(answer.json()["issue"][0]["expression"][0], "Patient.name[1].given[0]");
    assert_eq!(app.delivery_lines(1).await[0]["issue_codes"], "value");
    assert_eq!(app.forwarded(), 0);
}

#[tokio::test]
async fn row_delete_of_what_is_not_there_is_204() {
    let app = TestApp::start().await;
    assert_eq!(app.delete("/Patient/never").await.status, 204);
    for status in [404, 410] {
        app.sandbox.clear_faults();
        app.fault(&fault(status, ""));
        assert_eq!(app.delete("/Patient/never").await.status, 204);
    }
    let verdicts: Vec<_> = app.delivery_lines(3).await.iter().map(|line| line["verdict"].clone()).collect();
    assert_eq!(verdicts, ["already-gone", "already-gone", "already-gone"]);
}

#[tokio::test]
async fn row_older_than_what_was_forwarded_is_200_superseded() {
    let app = TestApp::start().await;
    app.put("/Patient/p1", patient("p1", 10)).await;
    let answer = app.put("/Patient/p1", patient("p1", 9)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (200, "superseded"));
    assert_eq!(answer.json()["issue"][0]["severity"], "information");
    assert_eq!(app.stored("Patient/p1").unwrap()["name"][0]["family"], "F10");
    // Of what was deleted nothing older comes back, and its re-creation does.
    app.delete("/Patient/p1").await;
    assert_eq!(app.put("/Patient/p1", patient("p1", 10)).await.verdict(), "superseded");
    assert!(app.alive().is_empty());
    let re_created =
        patient("p1", 12).replace("\"versionId\"", "\"lastUpdated\":\"2199-01-01T00:00:00Z\",\"versionId\"");
    assert_eq!(app.put("/Patient/p1", re_created).await.status, 201);
    assert_eq!(app.writes(), 3);
}

#[tokio::test]
async fn row_409_and_412_are_409() {
    let app = TestApp::start().await;
    for status in [409, 412] {
        app.sandbox.clear_faults();
        app.fault(&fault(status, r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"exception","diagnostics":"Resource was modified by another operation. Retry the request."}]}"#));
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (409, "conflict"));
    }
}

#[tokio::test]
async fn row_too_large_is_413() {
    let app = TestApp::builder().arg("--max-body", "7 MiB").start().await;
    let big = |bytes: usize| {
        format!(r#"{{"resourceType":"Patient","id":"p1","name":[{{"family":"{}"}}]}}"#, "x".repeat(bytes))
    };
    // A string may hold 1 MB.
    let many =
        (0..6).map(|_| format!(r#"{{"family":"{}"}}"#, "x".repeat(1_000_000))).collect::<Vec<_>>().join(",");
    let healthlake_s = format!(r#"{{"resourceType":"Patient","id":"p1","name":[{many}]}}"#);
    let answer = app.put("/Patient/p1", healthlake_s).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (413, "too-large"));
    let before = app.forwarded();
    let answer = app.put("/Patient/p1", big(8 << 20)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (413, "too-large"));
    // Without a length it is noticed on the way.
    let chunks = futures_util::stream::iter((0..9).map(|_| Ok::<_, std::io::Error>(vec![b' '; 1 << 20])));
    let answer = app.put("/Patient/p1", reqwest::Body::wrap_stream(chunks)).await;
    assert_eq!(answer.status, 413);
    assert_eq!(app.forwarded(), before);
}

#[tokio::test]
async fn row_throttled_whatever_its_status_is_429_with_retry_after() {
    let app = TestApp::start().await;
    let body = r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#;
    for status in [400, 429, 503] {
        app.sandbox.clear_faults();
        app.fault(&fault(status, body));
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (429, "throttled"));
        assert_eq!(answer.header("retry-after"), Some("2"));
    }
    app.sandbox.clear_faults();
    app.fault(r#"{"status":429,"headers":{"Retry-After":"7"},"service":"healthlake"}"#);
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.header("retry-after"), Some("7"));
    app.sandbox.clear_faults();
    app.fault(r#"{"throttle":true}"#);
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.status, 429);
}

#[tokio::test]
async fn row_credentials_refused_is_503_never_401() {
    let app = TestApp::start().await;
    for (status, body) in [
        (401, ""),
        (403, "The request signature we calculated does not match the signature you provided."),
        (403, r#"{"message":"User is not authorized to perform: healthlake:UpdateResource"}"#),
        (
            400,
            r#"{"__type":"ExpiredTokenException","message":"The security token included in the request is expired"}"#,
        ),
    ] {
        app.sandbox.clear_faults();
        app.fault(&fault(status, body));
        let before = app.forwarded();
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (503, "credentials-refused"), "{body}");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(app.forwarded() - before, 2, "one more try, not more");
    }
}

#[tokio::test]
async fn row_no_such_data_store_is_502() {
    let app = TestApp::builder().no_role().start().await;
    let elsewhere = format!("http://{}/datastore/ffffffffffffffffffffffffffffffff", app.sandbox_address);
    let lost = TestApp::builder().no_role().start_before(&elsewhere).await;
    for answer in [lost.put("/Patient/p1", patient("p1", 1)).await, lost.delete("/Patient/p1").await] {
        assert_eq!((answer.status, answer.verdict().as_str()), (502, "unexpected-answer"));
    }
    app.fault(&fault(404, r#"{"__type":"ResourceNotFoundException","message":"DataStore does not exist"}"#));
    for answer in [app.put("/Patient/p1", patient("p1", 1)).await, app.delete("/Patient/p1").await] {
        assert_eq!((answer.status, answer.verdict().as_str()), (502, "unexpected-answer"));
    }
}

#[tokio::test]
async fn row_redirects_and_nonsense_are_502() {
    let app = TestApp::start().await;
    for (status, media, body) in [
        (302, "text/html", ""),
        (307, "application/json", ""),
        (200, "text/html", "<html>sign in</html>"),
        (200, "application/json", "garbage"),
        (202, "application/fhir+json", "{}"),
        (400, "text/html", "<html>Bad Request</html>"),
        (404, "text/html", "<html>Not Found</html>"),
        (418, "text/plain", "teapot"),
    ] {
        app.sandbox.clear_faults();
        let fault = serde_json::json!({"status": status, "body": body, "contentType": media,
            "headers": {"location": "http://127.0.0.1:1/"}, "service": "healthlake"});
        app.fault(&fault.to_string());
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (502, "unexpected-answer"), "{status} {body}");
    }
}

#[tokio::test]
async fn row_healthlake_5xx_is_502_or_503() {
    let app = TestApp::start().await;
    for (theirs, ours) in [(500, 502), (502, 502), (503, 503), (504, 502)] {
        app.sandbox.clear_faults();
        app.fault(&fault(theirs, "<html>MARK of an inner error</html>"));
        let before = app.forwarded();
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (ours, "healthlake-failed"));
        assert!(!answer.body.contains("MARK"));
        assert_eq!(app.forwarded() - before, 1, "the CDR repeats it, not we");
        let line = app.delivery_lines(1).await.pop().unwrap();
        assert!(line["healthlake_request_id"].as_str().is_some_and(|id| !id.is_empty()), "{line}");
    }
}

#[tokio::test]
async fn row_a_refused_connection_is_502() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let app = TestApp::builder().start_before(&format!("http://{free}/datastore/a")).await;
    let answer = app.put("/Patient/p1", patient("p1", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (502, "unreachable"));
    let line = &app.delivery_lines(1).await[0];
    assert_eq!((line["could_not"].as_str(), line["attempts"].as_u64()), (Some("could not connect"), Some(2)));
}

#[tokio::test]
async fn row_a_cut_connection_is_tried_once_more_inside() {
    let app = TestApp::start().await;
    for cut in ["before", "after"] {
        app.fault(&format!(r#"{{"cut":"{cut}","count":1,"service":"healthlake"}}"#));
        let answer = app.put("/Patient/p1", patient("p1", 1)).await;
        assert!([200, 201].contains(&answer.status), "{cut}: {answer:?}");
        let attempts = app.delivery_lines(1).await.pop().unwrap()["attempts"].as_u64().unwrap();
        // A condition that does not hold any more is looked into, and the write sent again.
        assert!(attempts >= 2, "{cut}: {attempts}");
    }
    app.fault(r#"{"cut":"before","service":"healthlake"}"#);
    let answer = app.put("/Patient/p1", patient("p1", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (502, "unreachable"));
}

#[tokio::test]
async fn row_deadline_passed_is_504() {
    let app = TestApp::builder().arg("--deadline", "400ms").start().await;
    app.fault(r#"{"delayMs":5000,"service":"healthlake"}"#);
    let started = std::time::Instant::now();
    let answer = app.put("/Patient/p1", patient("p1", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (504, "deadline-passed"));
    assert!(started.elapsed() < Duration::from_secs(5), "long before HealthLake's answer");
}

#[tokio::test]
async fn row_a_hung_connect_is_within_the_deadline() {
    // A listener whose backlog is never emptied and that never answers.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/datastore/a", listener.local_addr().unwrap());
    let app = TestApp::builder().arg("--deadline", "400ms").start_before(&endpoint).await;
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.status, 504);
}

#[tokio::test]
async fn row_token_missing_or_wrong_is_401_with_www_authenticate() {
    let app = TestApp::start().await;
    let url = format!("{}/Patient/p1", app.endpoint());
    for request in [app.http.put(&url), app.http.put(&url).bearer_auth("wrong-token-of-a-stranger")] {
        let answer = crate::support::app::send(request.body(patient("p1", 1))).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (401, "unauthenticated"));
        assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    }
    assert_eq!(app.forwarded(), 0);
}
