//! No element of a resource beyond type, id, version and lastUpdated is ever logged: resources full of marked
//! values go through every path, success and failure, at trace level, and no mark is found.

use reqwest::Method;
use serde_json::json;

use crate::support::app::{TestApp, send};
use crate::support::collector::{Collector, has, is_server};

const MARK: &str = "MARK7351";

/// Every value is marked; valid R4.
fn marked(id: &str) -> String {
    json!({
        "resourceType": "Patient", "id": id,
        "meta": {"versionId": "1", "lastUpdated": "2026-11-24T16:37:28.762+00:00", "source": format!("#{MARK}"),
                 "tag": [{"system": format!("urn:{MARK}"), "code": MARK}]},
        "text": {"status": "generated", "div": format!("<div xmlns=\"http://www.w3.org/1999/xhtml\">{MARK}</div>")},
        "identifier": [{"system": format!("urn:{MARK}"), "value": MARK}],
        "name": [{"family": MARK, "given": [MARK]}],
        "telecom": [{"system": "phone", "value": MARK}],
        "address": [{"line": [MARK], "city": MARK}],
        "contact": [{"name": {"text": MARK}}],
        "extension": [{"url": format!("urn:{MARK}"), "valueString": MARK}],
    })
    .to_string()
}

#[tokio::test]
async fn no_mark_is_logged_on_any_path() {
    let collector = Collector::start().await;
    let app = collector
        .of(TestApp::builder())
        .arg("--log", "trace")
        .arg("--max-body", "64 KiB")
        .arg("--deadline", "2s")
        .start()
        .await;
    let fhir = |method, path: &str, body: String| {
        app.request(method, path).header("content-type", "application/fhir+json").body(body)
    };
    let mut sent = 0;
    let mut deliver = async |request: reqwest::RequestBuilder| {
        sent += 1;
        send(request).await
    };
    // Success, each shape.
    assert_eq!(deliver(fhir(Method::PUT, "/Patient/a", marked("a"))).await.status, 201);
    assert_eq!(deliver(fhir(Method::POST, "", marked("a"))).await.status, 200);
    let xml = format!(
        r#"<Patient xmlns="http://hl7.org/fhir"><id value="x"/><name><family value="{MARK}"/></name></Patient>"#
    );
    let as_xml = |body: String| {
        app.request(Method::PUT, "/Patient/x").header("content-type", "application/fhir+xml").body(body)
    };
    assert_eq!(deliver(as_xml(xml.clone())).await.status, 201);
    let raw = app.request(Method::PUT, "/Binary/b").header("content-type", format!("application/x-{MARK}"));
    assert_eq!(deliver(raw.body(MARK)).await.status, 201);
    let entry: serde_json::Value = serde_json::from_str(&marked("c")).unwrap();
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": entry, "request": {"method": "PUT", "url": "Patient/c"}}]});
    assert_eq!(deliver(fhir(Method::POST, "", bundle.to_string())).await.status, 200);

    // Refused by us, in many ways; the wrong value is the marked one each time.
    for wrong in [
        marked("a").replace("\"phone\"", "7"),
        marked("a").replace("2026-11-24T16:37:28.762+00:00", MARK),
        marked("a").replace("\"versionId\":\"1\"", &format!("\"versionId\":\" {MARK} \"")),
        marked("a").replace("\"telecom\"", &format!("\"{}\"", MARK.to_lowercase())),
        marked("a").replace("\"given\":[\"", "\"given\":[\"\",\""),
        marked("a").replacen('{', "{\"active\":\"yes\",", 1),
        marked("a") + MARK,
        format!("{{\"{MARK}"),
        MARK.to_owned(),
        marked("other"),
        marked("a").replace("\"Patient\"", &format!("\"{MARK}\"")),
        json!({"resourceType": "Bundle", "type": MARK, "entry": [{"resource": {"resourceType": MARK}}]})
            .to_string(),
    ] {
        let answer = deliver(fhir(Method::PUT, "/Patient/a", wrong)).await;
        assert!([400, 422].contains(&answer.status), "{answer:?}");
    }
    assert_eq!(deliver(fhir(Method::POST, "", format!("{{\"a\":\"{MARK}\"}}"))).await.status, 400);
    assert_eq!(deliver(as_xml(xml.replace("</Patient>", ""))).await.status, 400);
    assert_eq!(deliver(as_xml(xml.replace("name>", &format!("{MARK}>")))).await.status, 422);
    assert_eq!(deliver(fhir(Method::PUT, "/Patient/a", marked("a") + &" ".repeat(70_000))).await.status, 413);
    let header = fhir(Method::POST, "", "{}".into()).header("x-medplum-deleted-resource", MARK);
    assert_eq!(deliver(header).await.status, 400);
    assert_eq!(deliver(fhir(Method::PUT, &format!("/Patient/a_{MARK}"), marked("a"))).await.status, 400);
    assert_eq!(deliver(fhir(Method::PUT, &format!("/Patient/a?name={MARK}"), marked("a"))).await.status, 400);

    // Refused by HealthLake, whose answers quote the payload; and everything else it may say.
    let issue = json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": "processing", "diagnostics": format!("Value '{MARK}'"), "location": [MARK]}]});
    for (status, body) in [
        (400, issue.to_string()),
        (400, json!({"__type": format!("{MARK} Exception"), "message": MARK}).to_string()),
        (403, json!({"message": MARK}).to_string()),
        (404, MARK.to_owned()),
        (409, issue.to_string()),
        (429, MARK.to_owned()),
        (500, format!("<html>{MARK}")),
    ] {
        app.sandbox.clear_faults();
        app.fault(&json!({"status": status, "body": body, "service": "healthlake"}).to_string());
        let answer = deliver(fhir(Method::PUT, "/Patient/a", marked("a"))).await;
        assert!(!answer.body.contains(MARK) || answer.status == 422, "{answer:?}");
    }
    for fault in [r#"{"cut":"before"}"#, r#"{"cut":"after"}"#, r#"{"delayMs":5000}"#] {
        app.sandbox.clear_faults();
        app.fault(fault);
        let answer = deliver(fhir(Method::PUT, "/Patient/a", marked("a"))).await;
        assert!(answer.status >= 400, "{fault}: {answer:?} {:?}", app.delivery_lines(1).await.pop());
    }
    app.sandbox.clear_faults();
    let stranger = app.http.put(format!("{}/Patient/a", app.endpoint())).bearer_auth(MARK).body(marked("a"));
    assert_eq!(deliver(stranger).await.status, 401);

    let lines = app.delivery_lines(sent).await;
    assert!(lines.len() >= sent);
    let shown = app.log() + &app.admin("/metrics").await.body + &app.admin("/readyz").await.body;
    for line in shown.lines() {
        assert!(!line.to_uppercase().contains(MARK), "{line}");
    }
    assert!(
        shown.contains("lakehook::export") && shown.contains("lakehook::subscription"),
        "the logs were on"
    );
    // Of each request one came from the server, with all that is below it.
    let last = |span: &_| has(span, "lakehook.verdict", "unauthenticated");
    collector.span("of the last request", last).await;
    let spans = collector.spans();
    assert!(spans.iter().filter(|span| is_server(span)).count() >= sent, "{spans:?}");
    for span in spans {
        assert!(!format!("{span:?}").to_uppercase().contains(MARK), "{span:?}");
    }
}

#[tokio::test]
async fn no_mark_is_logged_or_listed_where_dead_letters_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let app = TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", directory.path().display())
        .arg("--log", "trace")
        .start()
        .await;
    let fhir = |path: &str, media: &str, body: String| {
        send(app.request(Method::PUT, path).header("content-type", media).body(body))
    };
    let (json, xml) = ("application/fhir+json", "application/fhir+xml");
    let wrong = [
        ("a", json, marked("a").replace("\"phone\"", "7")),
        ("b", json, marked("b").replace("2026-11-24T16:37:28.762+00:00", MARK)),
        ("c", json, marked("c").replace("\"versionId\":\"1\"", &format!("\"versionId\":\" {MARK} \""))),
        ("d", json, format!("{{\"{MARK}")),
        ("e", json, MARK.to_owned()),
        ("f", xml, format!("<Patient xmlns=\"http://hl7.org/fhir\"><{MARK}/></Patient>")),
        ("g", xml, format!("<{MARK}")),
    ];
    for (id, media, body) in &wrong {
        let answer = fhir(&format!("/Patient/{id}"), media, body.clone()).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (200, "dead-lettered"), "{answer:?}");
    }
    let issue = json!({"resourceType": "OperationOutcome", "issue": [
        {"severity": "error", "code": MARK, "diagnostics": format!("Value '{MARK}'"), "location": [MARK]}]});
    app.fault(&json!({"status": 400, "body": issue.to_string(), "service": "healthlake"}).to_string());
    assert_eq!(fhir("/Patient/h", json, marked("h")).await.verdict(), "dead-lettered");
    assert_eq!(send(app.request(Method::DELETE, "/Patient/i")).await.verdict(), "dead-lettered");

    let mut shown = String::new();
    for command in [
        &["dead-letters", "list"][..],
        &["dead-letters", "list", "--json"],
        &["dead-letters", "redrive", "--rate", "1000"],
        &["dead-letters", "drop", "Patient/a"],
    ] {
        let ran = app.command(command).await;
        assert!([0, 3].contains(&ran.code), "{ran:?}");
        shown += &(ran.out + &ran.err);
    }
    assert!(shown.contains("Patient/h"), "{shown}");
    // A store that fails must not tell more either.
    std::fs::remove_dir_all(directory.path().join("dead-letters")).unwrap();
    std::fs::write(directory.path().join("dead-letters"), "").unwrap();
    assert_eq!(fhir("/Patient/b", json, wrong[1].2.clone()).await.status, 422);
    shown += &(app.log() + &app.admin("/metrics").await.body + &app.admin("/readyz").await.body);
    assert!(shown.contains("a dead letter could not be kept"));
    for line in shown.lines() {
        assert!(!line.to_uppercase().contains(MARK), "{line}");
    }
}
