//! What was cured is forwarded again, and its letter goes; what was not stays.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use http::StatusCode;
use serde_json::json;

use super::{Fixture, MARK, REFUSE, invalid, is_kept, valid};
use crate::support::app::patient;

/// `Patient/{id}` as the CDR has it, or gone.
type Resources = Arc<Mutex<HashMap<String, String>>>;

async fn cdr() -> (Resources, String) {
    let resources = Resources::default();
    let read = async |State(resources): State<Resources>, Path(id): Path<String>| match resources
        .lock()
        .unwrap()
        .get(&id)
    {
        Some(json) => (StatusCode::OK, json.clone()),
        None => (StatusCode::GONE, String::new()),
    };
    let routes = axum::Router::new()
        .route("/fhir/Patient/{id}", axum::routing::get(read))
        .with_state(resources.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    (resources, url)
}

#[tokio::test]
async fn without_a_cdr_what_was_kept_is_forwarded_under_the_rules_of_the_order() {
    let mut fixture = Fixture::start().await;
    let app = &fixture.app;
    app.put("/Patient/gone", patient("gone", 1)).await;
    app.fault(REFUSE);
    for id in ["p1", "p2", "p3"] {
        is_kept(&app.put(&format!("/Patient/{id}"), valid(id, 2)).await);
    }
    is_kept(&app.delete("/Patient/gone").await);
    is_kept(&app.put("/Patient/bad", invalid("bad", 1)).await);

    // HealthLake still refuses: nothing goes, and it is told.
    let ran = fixture.run(&["redrive", "--type", "Patient", "--rate", "1000"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("Patient/p1  still refused: refused-by-healthlake processing"), "{ran:?}");
    assert!(ran.out.contains("Patient/bad  still refused: invalid value"), "{ran:?}");
    assert!(ran.out.trim_end().ends_with("0 redriven; 5 still refused, kept"), "{ran:?}");
    assert!(!ran.out.contains(MARK) && !ran.err.contains(MARK), "{ran:?}");
    let letters = fixture.letters().await;
    assert_eq!(letters.len(), 5);
    assert!(letters.iter().all(|letter| letter["attempts"] == 2), "counted: {letters:?}");

    // Cured at HealthLake. Meanwhile p2 has a newer version, of which nothing told the letter.
    let app = &fixture.app;
    app.sandbox.clear_faults();
    let letters: Vec<_> =
        std::fs::read_dir(fixture.letters_directory()).unwrap().map(|entry| entry.unwrap().path()).collect();
    let p2 = letters.iter().find(|path| path.to_str().unwrap().contains("Patient_p2_")).unwrap();
    let kept = std::fs::read(p2).unwrap();
    app.put("/Patient/p2", patient("p2", 3)).await;
    while p2.exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    std::fs::write(p2, kept).unwrap();

    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(
        ran.out.contains("4 redriven and removed (1 superseded, 3 mirrored); 1 still refused, kept"),
        "{ran:?}"
    );
    assert_eq!(fixture.kept().await, ["invalid upsert Patient/bad"]);
    let app = &fixture.app;
    let mut alive = app.alive();
    alive.sort();
    assert_eq!(alive, ["Patient/p1", "Patient/p2", "Patient/p3"], "and gone is gone");
    assert_eq!(
        app.stored("Patient/p2").unwrap()["name"][0]["family"],
        "F3",
        "not overwritten by the older one"
    );
    assert_eq!(app.stored("Patient/p1").unwrap()["name"][0]["family"], MARK);
    let lines = app.delivery_lines(1).await;
    assert!(
        lines.iter().any(|line| line["source"] == "redrive" && line["verdict"] == "mirrored"),
        "{lines:?}"
    );

    // Without the instance the command does it itself.
    fixture.app.kill().await;
    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(fixture.kept().await.len(), 1);
    assert_eq!(fixture.letters().await[0]["attempts"], 4);
}

/// The resource was deleted, or re-created, after the refusal: nobody but the CDR can tell, and what is deleted does not
/// come back.
#[tokio::test]
async fn without_a_cdr_what_may_be_overtaken_is_not_sent_and_stays() {
    let (resources, url) = cdr().await;
    let fixture = Fixture::with(|builder| builder.arg("--sender-retries", "1ms")).await;
    let app = &fixture.app;
    app.put("/Patient/deleted", patient("deleted", 1)).await;
    app.put("/Patient/re-created", patient("re-created", 1)).await;
    app.fault(REFUSE);
    is_kept(&app.put("/Patient/deleted", valid("deleted", 2)).await);
    is_kept(&app.delete("/Patient/re-created").await);
    app.sandbox.clear_faults();
    assert_eq!(app.delete("/Patient/deleted").await.status, 204);
    assert_eq!(app.put("/Patient/re-created", patient("re-created", 3)).await.status, 200);

    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    for key in ["deleted", "re-created"] {
        assert!(ran.out.contains(&format!("Patient/{key}  not sent: nothing tells")), "{ran:?}");
    }
    assert_eq!(app.alive(), ["Patient/re-created"]);
    assert_eq!(fixture.kept().await.len(), 2);

    // Who can tell is asked.
    resources.lock().unwrap().insert("re-created".into(), patient("re-created", 3));
    let mut fixture = fixture;
    fixture.app.kill().await;
    let fixture = fixture.arg("--cdr-url", &url);
    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fixture.app.alive(), ["Patient/re-created"]);
    assert_eq!(fixture.kept().await, [] as [&str; 0]);
}

#[tokio::test]
async fn with_a_cdr_its_current_version_or_deletion_is_forwarded() {
    let (resources, url) = cdr().await;
    let fixture = Fixture::with(|builder| builder.arg("--cdr-url", &url)).await.arg("--cdr-url", &url);
    let app = &fixture.app;
    app.put("/Patient/deleted", patient("deleted", 1)).await;
    for id in ["cured", "deleted", "same", "worse"] {
        is_kept(&app.put(&format!("/Patient/{id}"), invalid(id, 2)).await);
    }
    let set = |id: &str, json: String| resources.lock().unwrap().insert(id.into(), json);
    set("cured", patient("cured", 3));
    set("same", invalid("same", 2));
    set("worse", invalid("worse", 9));

    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("2 redriven and removed (2 mirrored); 2 still refused, kept"), "{ran:?}");
    assert_eq!(app.alive(), ["Patient/cured"]);
    assert_eq!(app.stored("Patient/cured").unwrap()["name"][0]["family"], "F3");
    // One letter a resource: of the version that the CDR has now.
    let letters = fixture.letters().await;
    let of = |key: &str| letters.iter().find(|letter| letter["key"] == key).unwrap();
    assert_eq!(letters.len(), 2, "{letters:?}");
    assert_eq!((&of("Patient/same")["versionId"], &of("Patient/same")["attempts"]), (&json!("2"), &json!(2)));
    assert_eq!(of("Patient/worse")["versionId"], "9");
    assert_eq!(fixture.payload("Patient/worse").await, invalid("worse", 9));
}

#[tokio::test]
async fn what_can_not_be_settled_now_stays_and_is_told_apart_from_refusals() {
    let fixture = Fixture::start().await;
    fixture.app.fault(REFUSE);
    is_kept(&fixture.app.put("/Patient/p1", valid("p1", 1)).await);
    fixture.app.sandbox.clear_faults();
    fixture.app.fault(r#"{"status":500,"service":"healthlake"}"#);
    let ran = fixture.run(&["redrive", "--patience", "1s"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.out.contains("Patient/p1  not settled: healthlake-failed"), "{ran:?}");
    assert!(ran.out.contains("1 not settled, kept: redriving again is safe"), "{ran:?}");
    assert_eq!(fixture.kept().await.len(), 1);
    // An outage that passes is waited out.
    fixture.app.sandbox.clear_faults();
    fixture.app.fault(r#"{"status":503,"service":"healthlake","count":2}"#);
    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fixture.kept().await, [] as [&str; 0]);
    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 0, "nothing to do is done: {ran:?}");
}

/// A refused XML resource is kept as XML, and read again as it came.
#[tokio::test]
async fn what_was_kept_as_xml_is_read_again() {
    let fixture = Fixture::start().await;
    let app = &fixture.app;
    let xml = format!("<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"x\"/><{MARK}/></Patient>");
    let put = app.request(reqwest::Method::PUT, "/Patient/x").header("content-type", "application/fhir+xml");
    is_kept(&crate::support::app::send(put.body(xml)).await);
    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("Patient/x  still refused: invalid"), "{ran:?}");
    // As another version of lakehook may take what this one refuses: the same letter with a body that is right.
    let path = std::fs::read_dir(fixture.letters_directory()).unwrap().next().unwrap().unwrap().path();
    let letter = std::fs::read_to_string(&path).unwrap();
    let right = letter.replace(&format!("<{MARK}/>"), &" ".repeat(MARK.len() + 3));
    std::fs::write(&path, right).unwrap();
    let ran = fixture.run(&["redrive"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(app.alive(), ["Patient/x"]);
}

#[tokio::test]
async fn an_interrupted_redrive_loses_nothing_and_goes_on() {
    let fixture = Fixture::start().await;
    fixture.app.fault(REFUSE);
    for n in 0..30 {
        is_kept(&fixture.app.put(&format!("/Patient/p{n}"), valid(&format!("p{n}"), 1)).await);
    }
    fixture.app.sandbox.clear_faults();
    let mut command = crate::support::app::lakehook();
    command.args([
        "dead-letters",
        "redrive",
        "--rate",
        "4",
        "--data-dir",
        fixture.directory.path().to_str().unwrap(),
    ]);
    command.args(["--healthlake-endpoint", &fixture.app.sandbox.endpoint(fixture.app.sandbox_address)]);
    command.args(["--region", "us-east-1"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let child = command.spawn().unwrap();
    while fixture.app.writes() < 3 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output = child.wait_with_output().await.unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("not tried, kept"), "{output:?}");
    let (left, done) = (fixture.kept().await.len(), fixture.app.alive().len());
    assert_eq!(left + done, 30, "each is either kept or mirrored");
    assert!(left > 0);
    let ran = fixture.run(&["redrive", "--rate", "1000"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fixture.app.alive().len(), 30);
}
