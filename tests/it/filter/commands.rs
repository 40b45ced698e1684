//! The filter holds for every command that writes, and explain and the console show it.

use serde_json::json;

use super::{CONFIDENTIALITY, counted, denying, observation, restricted};
use crate::dead_letters::{Fixture, invalid};
use crate::reconcile::cdr::{RESTRICTED, TestCdr};
use crate::support::app::patient;
use crate::support::cdr::SmallCdr;

#[tokio::test]
async fn resend_and_explain_say_that_the_filter_keeps_it_out() {
    let cdr = TestCdr::start().await;
    let data = tempfile::tempdir().unwrap();
    let app = denying()
        .env("LAKEHOOK_DATA_DIR", data.path().display())
        .env("LAKEHOOK_CDR_URL", cdr.url())
        .start()
        .await;
    cdr.put("Patient/a", 1);
    assert_eq!(app.put("/Patient/a", cdr.json("Patient/a").unwrap()).await.status, 201);
    // The delivery of the version with the label was lost.
    cdr.put("Patient/a", RESTRICTED);
    let explained = app.command(&["explain", "Patient/a"]).await;
    assert!(explained.out.contains("kept out by --filter-deny-security-labels"), "{explained:?}");
    assert!(explained.out.contains("the filter deletes it there"), "{explained:?}");

    let ran = app.command(&["resend", "Patient/a"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("Patient/a  filtered (deny-security-labels)  version 2"), "{ran:?}");
    assert!(app.alive().is_empty());
    assert_eq!(counted(&app, &[r#"withdrawn="true""#]).await, 1);
    let explained = app.command(&["explain", "Patient/a"]).await;
    assert!(explained.out.contains("kept out version 2"), "{explained:?}");
    assert!(
        explained.out.contains("it is not mirrored") && !explained.out.contains("lakehook resend"),
        "{explained:?}"
    );
    let code = app.command(&["explain", "filtered"]).await;
    assert!(code.code == 0 && code.out.contains("--filter-"), "{code:?}");
}

/// A letter holds an older version: it may not bring it back.
#[tokio::test]
async fn a_version_that_is_kept_out_lets_go_of_older_letters() {
    let label = format!("{CONFIDENTIALITY}|R");
    let fixture = Fixture::with(|builder| builder.arg("--filter-deny-security-labels", label)).await;
    assert_eq!(fixture.app.put("/Patient/a", invalid("a", 1)).await.verdict(), "dead-lettered");
    assert_eq!(fixture.kept().await.len(), 1);
    assert_eq!(fixture.app.put("/Patient/a", restricted("a", 2)).await.verdict(), "filtered");
    for _ in 0..200 {
        if fixture.kept().await.is_empty() {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("{:?}", fixture.kept().await);
}

#[tokio::test]
async fn a_backfill_brings_none_of_it_neither_directly_nor_by_files() {
    let cdr = SmallCdr::start().await;
    let security = json!([{"system": CONFIDENTIALITY, "code": "R"}]);
    cdr.put("Patient/a", json!({"active": true}));
    cdr.put("Patient/b", json!({"active": true, "meta": {"versionId": "1", "lastUpdated": "2026-01-01T00:02:00Z", "security": security}}));
    cdr.put("Observation/o", json!({"status": "final", "code": {"text": "t"}}));
    let data = tempfile::tempdir().unwrap();
    let app = denying()
        .env("LAKEHOOK_FILTER_DENY_TYPES", "Observation")
        .env("LAKEHOOK_DATA_DIR", data.path().display())
        .env("LAKEHOOK_CDR_URL", &cdr.url)
        .start()
        .await;
    // Mirrored before it had the label.
    assert_eq!(app.put("/Patient/b", patient("b", 0)).await.status, 201);
    let ran = app.command(&["backfill"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(app.alive(), ["Patient/a"]);
    assert!(ran.err.contains("1 kept out by the filter"), "{ran:?}");
    assert!(ran.err.contains("types that the filter keeps out: Observation"), "{ran:?}");

    let files = data.path().join("files");
    let ran = app.command(&["backfill", "--to", files.to_str().unwrap()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("1 kept out by the filter"), "{ran:?}");
    let mut text = String::new();
    for entry in std::fs::read_dir(&files).unwrap() {
        text += &std::fs::read_to_string(entry.unwrap().path()).unwrap();
    }
    assert!(text.contains(r#""id":"a""#) && !text.contains(r#""id":"b""#), "{text}");
    assert!(!text.contains("Observation"), "{text}");
}

#[tokio::test]
async fn digest_leaves_it_out_of_the_cdr_s_export() {
    let app = denying().env("LAKEHOOK_FILTER_DENY_TYPES", "Observation").start().await;
    let folder = tempfile::tempdir().unwrap();
    let lines = [patient("a", 1), restricted("b", 1), observation("o", 1)].join("\n");
    let file = folder.path().join("export.ndjson");
    std::fs::write(&file, lines).unwrap();
    let ran = app.command(&["digest", file.to_str().unwrap()]).await;
    assert!(ran.code == 0 && ran.out.lines().count() == 1 && ran.out.contains(r#""id":"a""#), "{ran:?}");
}
