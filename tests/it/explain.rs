//! `explain`, `status`, `log-level`, `faults`: what an operator asks at 3 a.m.

use crate::resend::cdr;
use crate::support::app::{TestApp, patient};

#[tokio::test]
async fn a_resource_is_explained_from_all_sides() {
    let (versions, url) = cdr().await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let mut app =
        TestApp::builder().env("LAKEHOOK_DATA_DIR", data).env("LAKEHOOK_CDR_URL", &url).start().await;
    versions.lock().unwrap().extend([("a".to_owned(), 2), ("lost".to_owned(), 1)]);
    app.put("/Patient/a", patient("a", 1)).await;
    app.put("/Patient/b", patient("b", 1)).await;

    let ran = app.command(&["explain", "Patient/a"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for says in [
        "CDR         has it, version 2",
        "HealthLake  has it, version 1",
        "forwarded version 1",
        "live     upsert    mirrored version 1",
        "version 1 was forwarded, and the CDR is at 2",
        "lakehook resend Patient/a",
    ] {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    assert!(!ran.out.contains("family") && !ran.out.contains("F1"), "nothing of the content");

    let ran = app.command(&["explain", "Patient/lost"]).await;
    assert!(ran.out.contains("no delivery of it is remembered"), "{}", ran.out);
    let ran = app.command(&["explain", "Patient/b"]).await;
    assert!(ran.out.contains("HealthLake has it and the CDR does not"), "{}", ran.out);
    let writes = app.writes();

    let ran = app.command(&["explain", "Patient/a", "--json"]).await;
    let json: serde_json::Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!(json["cdr"]["version"], "2", "{json}");
    assert_eq!(json["order"]["forwarded"]["version_id"], "1", "{json}");
    assert_eq!(json["deliveries"][0]["verdict"], "mirrored");

    // Without the instance the two sides, and the file, still tell.
    app.kill().await;
    let ran = app.command(&["explain", "Patient/a"]).await;
    assert!(ran.out.contains("forwarded version 1") && ran.out.contains("version 2"), "{ran:?}");
    assert_eq!(app.writes(), writes, "explaining changes nothing");
}

#[tokio::test]
async fn what_was_refused_and_kept_is_told_with_the_resource() {
    let directory = tempfile::tempdir().unwrap();
    let app = TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", directory.path().to_str().unwrap())
        .env("LAKEHOOK_ADMIN_TOKEN", "the-token-of-the-console")
        .start()
        .await;
    let answer = app.put("/Patient/bad", r#"{"resourceType":"Patient","id":"bad","secretmark":1}"#).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (200, "dead-lettered"));
    let ran = app.command(&["explain", "Patient/bad"]).await;
    for says in ["Dead letters", "upsert  invalid structure", "lakehook dead-letters show"] {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    let cookie = crate::console::login(&app, "the-token-of-the-console").await.1.unwrap();
    let page = app.http.get(format!("{}/console/dead-letters", app.admin_address()));
    let page = crate::support::app::send(page.header("cookie", cookie.split(';').next().unwrap())).await;
    assert!(
        page.status == 200 && page.body.contains("Patient/bad") && page.body.contains(">invalid<"),
        "{page:?}"
    );
    assert!(!page.body.contains("secretmark") && !ran.out.contains("secretmark"));
}

#[tokio::test]
async fn codes_are_explained_without_any_setting() {
    let app = TestApp::start().await;
    let ran = app.command(&["explain", "unsettled"]).await;
    assert!(ran.code == 0 && ran.out.contains("Sending it again: is safe"), "{ran:?}");
    let refused = app.post("", "").await;
    let codings = &refused.json()["issue"][0]["details"]["coding"];
    assert_eq!(codings[0]["code"], "bad-request", "{refused:?}");
    let reason = codings[1]["code"].as_str().unwrap();
    let ran = app.command(&["explain", reason]).await;
    assert!(ran.code == 0 && ran.out.contains("What to do"), "{ran:?}");
    let ran = app.command(&["explain", "nonsense"]).await;
    assert!(ran.code == 2 && ran.err.contains("explain codes"), "{ran:?}");
    let ran = app.command(&["explain", "codes"]).await;
    assert!(ran.out.lines().count() > 30, "{ran:?}");
}

#[tokio::test]
async fn the_running_instance_answers_and_a_missing_one_is_told() {
    let mut app = TestApp::start().await;
    let at = ["--instance", app.admin_address()].map(str::to_owned);
    let at: Vec<&str> = at.iter().map(String::as_str).collect();
    let ran = app.command(&[&["status"][..], &at].concat()).await;
    let valid = ran.out.lines().find(|line| line.starts_with("credentials.valid ")).unwrap_or_default();
    assert!(ran.code == 0 && valid.ends_with(" true"), "{ran:?}");
    let ran = app.command(&[&["log-level", "debug"][..], &at].concat()).await;
    assert!(ran.code == 0 && ran.out.contains("debug"), "{ran:?}");
    let ran = app.command(&[&["log-level"][..], &at].concat()).await;
    assert!(ran.out.contains("debug"), "{ran:?}");
    let ran = app.command(&[&["log-level", "a=b=c"][..], &at].concat()).await;
    assert!(ran.code == 2 && ran.err.contains("filter"), "{ran:?}");

    let sandbox = app.sandbox_address.to_string();
    let listen = ["--sandbox-listen", &sandbox];
    let ran = app.command(&[&["faults", r#"{"status":503,"count":1}"#][..], &listen].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 503);
    app.command(&[&["faults", r#"{"status":503}"#][..], &listen].concat()).await;
    let ran = app.command(&[&["faults", "--clear"][..], &listen].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(app.put("/Patient/a", patient("a", 1)).await.status < 300);
    let ran = app.command(&[&["faults", "{"][..], &listen].concat()).await;
    assert!(ran.code == 2 && ran.err.contains("refuses"), "{ran:?}");

    app.kill().await;
    let ran = app.command(&[&["status"][..], &at].concat()).await;
    assert!(ran.code == 1 && ran.err.contains("can't be reached"), "{ran:?}");
}
