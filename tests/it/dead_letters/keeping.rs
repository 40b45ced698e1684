//! What is kept, what stays with the sender, and what happens where it can't be kept.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use super::{Fixture, MARK, REFUSE, invalid, is_kept, valid};
use crate::support::app::{Answer, TestApp, patient, send};

const XML: &str = "application/fhir+xml";

async fn put_xml(app: &TestApp, path: &str, xml: &str) -> Answer {
    send(app.request(Method::PUT, path).header("content-type", XML).body(xml.to_owned())).await
}

#[tokio::test]
async fn each_refusal_for_good_is_kept_and_answered_200() {
    let fixture = Fixture::start().await;
    let app = &fixture.app;

    // By our own validation, in each shape.
    let answer = app.put("/Patient/value", invalid("value", 1)).await;
    is_kept(&answer);
    let issues = answer.json()["issue"].clone();
    assert_eq!(issues[1]["expression"][0], "Patient.birthDate", "why it was refused: {issues}");
    assert_eq!(issues[0]["details"]["coding"][1]["code"], "invalid", "{issues}");
    is_kept(&app.put("/Patient/json", format!("{{\"{MARK}")).await);
    let xml = format!("<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"x\"/><{MARK}");
    is_kept(&put_xml(app, "/Patient/xml", &xml).await);
    let xml = format!("<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"y\"/><{MARK}/></Patient>");
    is_kept(&put_xml(app, "/Patient/xml-element", &xml).await);
    // Medplum's way, whose URL names nothing.
    is_kept(&app.post("", invalid("posted", 1)).await);
    is_kept(&app.post("/Patient", invalid("posted-to-type", 1)).await);
    let number = valid("posted-number", 1).replace("\"versionId\":\"1\"", "\"versionId\":1");
    is_kept(&app.post("", number).await);

    // By HealthLake.
    app.fault(REFUSE);
    is_kept(&app.put("/Patient/refused", valid("refused", 1)).await);
    is_kept(&app.delete("/Patient/refused-delete").await);
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": serde_json::from_str::<serde_json::Value>(&valid("entry", 1)).unwrap(),
         "request": {"method": "PUT", "url": "Patient/entry"}},
        {"request": {"method": "DELETE", "url": "Patient/entry-delete"}}]});
    let answer = app.post("", bundle.to_string()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.json()["entry"][0]["response"]["status"], "200");
    app.sandbox.clear_faults();
    app.fault(r#"{"status":413,"service":"healthlake","body":"Request Entity Too Large"}"#);
    is_kept(&app.put("/Patient/large", valid("large", 1)).await);

    let mut kept = fixture.kept().await;
    kept.sort();
    assert_eq!(
        kept,
        [
            "invalid upsert Patient/json",
            "invalid upsert Patient/posted",
            "invalid upsert Patient/posted-number",
            "invalid upsert Patient/posted-to-type",
            "invalid upsert Patient/value",
            "invalid upsert Patient/xml",
            "invalid upsert Patient/xml-element",
            "refused-by-healthlake delete Patient/entry-delete",
            "refused-by-healthlake delete Patient/refused-delete",
            "refused-by-healthlake upsert Patient/entry",
            "refused-by-healthlake upsert Patient/refused",
            "too-large upsert Patient/large",
        ]
    );
    // Byte for byte as they came.
    assert_eq!(fixture.payload("Patient/value").await, invalid("value", 1));
    assert_eq!(fixture.payload("Patient/json").await, format!("{{\"{MARK}"));
    assert_eq!(fixture.payload("Patient/xml-element").await, xml);
    assert_eq!(fixture.payload("Patient/refused").await, valid("refused", 1));
    assert_eq!(fixture.payload("Patient/refused-delete").await, "");
    assert_eq!(app.writes(), 0);

    let metrics = app.admin("/metrics").await.body;
    for line in [
        r#"lakehook_dead_letters_kept_total{reason="invalid"} 7"#,
        r#"lakehook_dead_letters_kept_total{reason="refused-by-healthlake"} 4"#,
        r#"lakehook_dead_letters_kept_total{reason="too-large"} 1"#,
        "lakehook_dead_letters 12",
    ] {
        assert!(metrics.contains(line), "{line} is not in {metrics}");
    }
}

#[tokio::test]
async fn a_letter_tells_what_an_operator_needs() {
    let fixture = Fixture::start().await;
    fixture.app.fault(REFUSE);
    let answer = fixture.app.put("/Patient/p1", valid("p1", 7)).await;
    is_kept(&answer);
    let letter = &fixture.letters().await[0];
    assert!(answer.diagnostics().contains(letter["id"].as_str().unwrap()), "{answer:?}");
    assert_eq!(letter["versionId"], "7");
    assert_eq!(letter["healthlakeStatus"], 400);
    assert_eq!(letter["issueCodes"], json!(["processing"]));
    assert_eq!(letter["attempts"], 1);
    assert_eq!(letter["bytes"], valid("p1", 7).len());
    assert_eq!(letter["delivery"], answer.header("x-request-id").unwrap(), "as in the log");
    let line = fixture.app.delivery_lines(1).await.pop().unwrap();
    assert_eq!(line["healthlake_request_id"], letter["healthlakeRequestId"]);
    assert_eq!((&line["verdict"], &line["letter"]), (&"dead-lettered".into(), &letter["id"]));
    assert_eq!((&line["refused"], &line["level"]), (&"refused-by-healthlake".into(), &"WARN".into()));
    assert_eq!(line["issue_codes"], "processing");

    // Refused again: the same letter.
    is_kept(&fixture.app.put("/Patient/p1", valid("p1", 7)).await);
    let letters = fixture.letters().await;
    assert_eq!((letters.len(), &letters[0]["attempts"]), (1, &2.into()));
    assert_eq!(letters[0]["first"], letter["first"]);
    assert_ne!(letters[0]["last"], letter["last"]);
}

#[tokio::test]
async fn what_names_no_resource_or_can_be_cured_stays_with_the_sender() {
    let fixture = Fixture::with(|builder| builder.arg("--max-body", "64 KiB")).await;
    let app = &fixture.app;
    let raw = |path: &str, media: &str, body: String| {
        send(app.request(Method::PUT, path).header("content-type", media).body(body))
    };
    assert_eq!(app.put("/Patient/other", valid("p1", 1)).await.status, 400, "URL and body disagree");
    assert_eq!(app.post("", format!("{{\"{MARK}")).await.status, 400, "of nobody knows which resource");
    assert_eq!(app.post("", r#"{"resourceType":"Patient","birthDate":"x"}"#).await.status, 422, "no id");
    assert_eq!(app.post("", "").await.status, 400, "no payload");
    assert_eq!(app.put("/Patient/p1", " ".repeat(70_000)).await.status, 413, "was not read");
    assert_eq!(raw("/Patient/p1", "text/csv", MARK.into()).await.status, 415);
    assert_eq!(app.put("/Patient/p_1", valid("p1", 1)).await.status, 400);
    for status in [409, 429, 500, 503, 404] {
        app.sandbox.clear_faults();
        app.fault(&json!({"status": status, "service": "healthlake", "body": ""}).to_string());
        let answer = app.put("/Patient/p1", valid("p1", 1)).await;
        assert!(answer.status >= 400, "{status}: {answer:?}");
    }
    assert_eq!(fixture.kept().await, [] as [&str; 0]);
}

#[tokio::test]
async fn without_a_data_directory_or_switched_off_the_cdr_gets_the_true_status() {
    let app = TestApp::start().await;
    assert_eq!(app.put("/Patient/p1", invalid("p1", 1)).await.status, 422);
    let off = Fixture::with(|builder| builder.arg("--dead-letters", "off")).await;
    assert_eq!(off.app.put("/Patient/p1", invalid("p1", 1)).await.status, 422);
    assert!(!off.letters_directory().exists());
}

#[tokio::test]
async fn a_failing_store_means_that_the_cdr_gets_its_error() {
    let fixture = Fixture::start().await;
    let (app, directory) = (&fixture.app, fixture.letters_directory());
    // Somebody put something else in its place: nothing can be written there.
    std::fs::remove_dir_all(&directory).unwrap();
    std::fs::write(&directory, "").unwrap();
    let answer = app.put("/Patient/p1", invalid("p1", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (422, "invalid"));
    let xml = format!("<Patient xmlns=\"http://hl7.org/fhir\"><{MARK}");
    assert_eq!(put_xml(app, "/Patient/p1", &xml).await.status, 400);
    app.fault(REFUSE);
    let answer = app.put("/Patient/p1", valid("p1", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (422, "refused-by-healthlake"));
    assert!(app.admin("/metrics").await.body.contains("lakehook_dead_letter_failures_total 3"));
    let log = app.log();
    assert!(log.contains("a dead letter could not be kept") && !log.contains(MARK), "{log}");
    // The CDR sends it again, and the store is back.
    std::fs::remove_file(&directory).unwrap();
    std::fs::create_dir(&directory).unwrap();
    is_kept(&app.put("/Patient/p1", valid("p1", 1)).await);
}

#[tokio::test]
async fn a_full_store_is_a_failing_one() {
    let fixture = Fixture::with(|builder| builder.arg("--dead-letters-max", "2")).await;
    for id in ["p1", "p2"] {
        is_kept(&fixture.app.put(&format!("/Patient/{id}"), invalid(id, 1)).await);
    }
    assert_eq!(fixture.app.put("/Patient/p3", invalid("p3", 1)).await.status, 422);
    assert!(fixture.app.log().contains("--dead-letters-max"), "the log says what to do");
    is_kept(&fixture.app.put("/Patient/p2", invalid("p2", 1)).await);
    // However often a resource is refused: its newest version is kept, not each.
    for version in 2..30 {
        is_kept(&fixture.app.put("/Patient/p1", invalid("p1", version)).await);
    }
    let letters = fixture.letters().await;
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!(fixture.payload("Patient/p1").await, invalid("p1", 29));
    // Room again, made by another process.
    assert_eq!(fixture.run(&["drop", "Patient/p2"]).await.code, 0);
    tokio::time::sleep(Duration::from_secs(1)).await;
    is_kept(&fixture.app.put("/Patient/p3", invalid("p3", 1)).await);
}

#[tokio::test]
async fn a_kill_right_after_the_200_loses_nothing() {
    let mut fixture = Fixture::start().await;
    let answers = (0..20).map(|n| {
        let (app, id) = (&fixture.app, format!("p{n}"));
        async move { app.put(&format!("/Patient/{id}"), invalid(&id, 1)).await }
    });
    for answer in futures_util::future::join_all(answers).await {
        is_kept(&answer);
    }
    fixture.app.kill().await;
    assert_eq!(fixture.letters().await.len(), 20);
    for n in [0, 7, 19] {
        assert_eq!(fixture.payload(&format!("Patient/p{n}")).await, invalid(&format!("p{n}"), 1));
    }
}

#[tokio::test]
async fn a_newer_version_that_is_mirrored_makes_the_letter_go() {
    let fixture = Fixture::start().await;
    is_kept(&fixture.app.put("/Patient/p1", invalid("p1", 2)).await);
    is_kept(&fixture.app.put("/Patient/p2", invalid("p2", 2)).await);
    assert_eq!(fixture.app.put("/Patient/p1", patient("p1", 1)).await.status, 201);
    assert_eq!(fixture.app.put("/Patient/p1", patient("p1", 3)).await.status, 200);
    for _ in 0..500 {
        if fixture.kept().await == ["invalid upsert Patient/p2"] {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{:?}", fixture.kept().await);
}
