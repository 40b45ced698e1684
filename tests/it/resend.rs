//! `resend`, and the way of every command that writes: through the running instance where it holds the order
//! memory, from the command's own process where nobody does.

use std::sync::{Arc, Mutex};

use axum::extract::{Path, State};
use http::StatusCode;

use crate::support::app::{TestApp, patient};

/// What a CDR has: `Patient/{id}` at a version, or gone.
pub type Versions = Arc<Mutex<std::collections::HashMap<String, u32>>>;

pub async fn cdr() -> (Versions, String) {
    let versions = Versions::default();
    let read = async |State(versions): State<Versions>, Path(id): Path<String>| match versions
        .lock()
        .unwrap()
        .get(&id)
    {
        Some(version) => (StatusCode::OK, patient(&id, *version)),
        None => (StatusCode::GONE, String::new()),
    };
    let routes = axum::Router::new()
        .route("/fhir/Patient/{id}", axum::routing::get(read))
        .with_state(versions.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    (versions, url)
}

fn version(app: &TestApp, key: &str) -> Option<String> {
    Some(app.stored(key)?["name"][0]["family"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn what_the_cdr_has_now_is_forwarded_through_the_running_instance_and_without_it() {
    let (versions, url) = cdr().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut app =
        TestApp::builder().env("LAKEHOOK_DATA_DIR", data).env("LAKEHOOK_CDR_URL", &url).start().await;
    app.put("/Patient/a", patient("a", 1)).await;
    app.put("/Patient/b", patient("b", 1)).await;
    versions.lock().unwrap().insert("a".into(), 4);

    // a changed, b is gone, c never was.
    let ran = app.command(&["resend", "Patient/a", "Patient/b", "Patient/c"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(version(&app, "Patient/a").as_deref(), Some("F4"));
    assert_eq!(app.alive(), ["Patient/a"]);
    let lines: Vec<_> = ran.out.lines().collect();
    assert!(lines[0].starts_with("Patient/a  mirrored  version 4"), "{ran:?}");
    let log = app.delivery_lines(5).await;
    assert_eq!(log.iter().filter(|line| line["source"] == "resend").count(), 3, "{log:?}");

    // What the instance knows counts: an old version that the CDR resends is superseded.
    let answer = app.put("/Patient/a", patient("a", 2)).await;
    assert_eq!(answer.verdict(), "superseded");

    // After a crash the file is free, and the command does it alone.
    app.kill().await;
    versions.lock().unwrap().insert("a".into(), 5);
    let ran = app.command(&["resend", "Patient/a"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(version(&app, "Patient/a").as_deref(), Some("F5"));
}

#[tokio::test]
async fn a_memory_in_another_process_is_found_or_the_command_does_not_run() {
    let (versions, url) = cdr().await;
    let token = "the-token-of-commands";
    let app =
        TestApp::builder().env("LAKEHOOK_CDR_URL", &url).env("LAKEHOOK_ADMIN_TOKEN", token).start().await;
    versions.lock().unwrap().insert("a".into(), 1);

    let ran = app.command(&["resend", "Patient/a"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    for word in ["--data-dir", "--instance", "--alone"] {
        assert!(ran.err.contains(word), "{word}: {ran:?}");
    }
    assert_eq!(app.writes(), 0);

    let at = ["--instance", app.admin_address()];
    let ran = app.command(&[&["resend", "Patient/a"][..], &at].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(app.alive(), ["Patient/a"]);

    let wrong = ["--admin-token", "another-token-altogether"];
    let ran = app.command(&[&["resend", "Patient/a"][..], &at, &wrong].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("does not take this token") && !ran.err.contains("altogether"), "{ran:?}");
    let bare = app.http.put(format!("{}/deliveries/Patient/x", app.admin_address())).send().await.unwrap();
    assert_eq!(bare.status(), 401, "nobody writes without the token");
    assert_eq!(app.writes(), 1);

    let ran = app.command(&["resend", "Patient/a", "--alone"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn refusals_and_outages_end_with_their_exit_codes() {
    let (versions, url) = cdr().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let app = TestApp::builder().env("LAKEHOOK_DATA_DIR", data).env("LAKEHOOK_CDR_URL", &url).start().await;
    versions.lock().unwrap().extend([("a".to_owned(), 1), ("b".to_owned(), 1)]);
    app.fault(
        r#"{"key":"Patient/a","status":422,"count":1,"body":"{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"invalid\",\"diagnostics\":\"no\"}]}"}"#,
    );
    let ran = app.command(&["resend", "Patient/a", "Patient/b"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("Patient/a  dead-lettered (refused-by-healthlake)"), "{ran:?}");
    assert_eq!(app.alive(), ["Patient/b"]);

    // An outage is outwaited within the patience.
    app.fault(r#"{"key":"Patient/a","status":503,"count":2}"#);
    let ran = app.command(&["resend", "Patient/a", "--patience", "60s"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    app.fault(r#"{"key":"Patient/a","status":503}"#);
    let ran = app.command(&["resend", "Patient/a", "--patience", "100ms"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("safe"), "{ran:?}");

    for (arguments, says) in [(["resend", "patient/a"], "Type/id"), (["resend", "Patient"], "Type/id")] {
        let ran = app.command(&arguments).await;
        assert!(ran.code == 2 && ran.err.contains(says), "{ran:?}");
    }
    let without = TestApp::start().await;
    let ran = without.command(&["resend", "Patient/a"]).await;
    assert!(ran.code == 2 && ran.err.contains("--cdr-url"), "{ran:?}");
}
