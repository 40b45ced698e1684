//! list, show, drop, export.

use std::os::unix::fs::PermissionsExt;

use super::{Fixture, MARK, REFUSE, invalid, is_kept, valid};

async fn three() -> Fixture {
    let fixture = Fixture::start().await;
    is_kept(&fixture.app.put("/Patient/p1", invalid("p1", 1)).await);
    let observation = format!(r#"{{"resourceType":"Observation","id":"o1","status":"{MARK}","code":7}}"#);
    is_kept(&fixture.app.put("/Observation/o1", observation).await);
    fixture.app.fault(REFUSE);
    is_kept(&fixture.app.put("/Patient/p2", valid("p2", 1)).await);
    fixture
}

async fn keys(fixture: &Fixture, filter: &[&str]) -> Vec<String> {
    let ran = fixture.run(&[&["list", "--json"], filter].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.lines().iter().map(|letter| letter["key"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_listing_can_be_narrowed_and_shows_no_content() {
    let fixture = three().await;
    let all = ["Patient/p1", "Observation/o1", "Patient/p2"];
    assert_eq!(keys(&fixture, &[]).await, all);
    assert_eq!(keys(&fixture, &["--type", "Patient"]).await, ["Patient/p1", "Patient/p2"]);
    assert_eq!(keys(&fixture, &["--type", "Patient,Observation"]).await, all);
    assert_eq!(keys(&fixture, &["--reason", "refused-by-healthlake"]).await, ["Patient/p2"]);
    assert_eq!(keys(&fixture, &["--type", "Patient", "--reason", "invalid"]).await, ["Patient/p1"]);
    assert_eq!(keys(&fixture, &["--since", "1h"]).await, all);
    assert_eq!(keys(&fixture, &["--until", "1h"]).await, [] as [&str; 0]);
    let second = fixture.letters().await[1]["last"].as_str().unwrap().to_owned();
    assert_eq!(keys(&fixture, &["--since", &second]).await, all[1..]);
    assert_eq!(keys(&fixture, &["--until", &second]).await, all[..1]);
    assert_eq!(keys(&fixture, &["Observation/o1"]).await, ["Observation/o1"]);

    let table = fixture.run(&["list"]).await;
    let lines: Vec<_> = table.out.lines().collect();
    assert_eq!(lines.len(), 4, "{table:?}");
    assert!(
        lines[0].starts_with("LETTER") && lines[1].contains("Patient/p1") && lines[1].contains("invalid")
    );
    for ran in [table, fixture.run(&["list", "--json"]).await] {
        assert!(!ran.out.contains(MARK) && !ran.err.contains(MARK), "{ran:?}");
    }

    for (wrong, says) in [
        (&["list", "--type", "patient"][..], "resource type"),
        (&["list", "--reason", "because"], "refused-by-healthlake"),
        (&["list", "--since", "yesterday"], "2h (ago)"),
        (&["show"], "which letters"),
        (&["drop"], "--all"),
        (&["show", "p1"], "Type/id"),
    ] {
        let ran = fixture.run(wrong).await;
        assert_eq!(ran.code, 2, "{ran:?}");
        assert!(ran.err.contains(says), "{ran:?}");
    }
    let ran = fixture.run(&["show", "Patient/unknown"]).await;
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("no dead letter of Patient/unknown"), "{ran:?}");
    let ran = fixture.run_with(&["list"], &[]).await;
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--data-dir"), "{ran:?}");
}

#[tokio::test]
async fn show_tells_all_but_the_payload_which_comes_when_asked_for() {
    let fixture = three().await;
    let id = fixture.letters().await[0]["id"].as_str().unwrap().to_owned();
    let ran = fixture.run(&["show", &id]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for text in ["Patient/p1", "invalid", "Patient.birthDate", "times refused", "versionId"] {
        assert!(ran.out.contains(text), "{text}: {ran:?}");
    }
    assert!(!ran.out.contains(MARK), "our own issues quote nothing: {ran:?}");
    let ran = fixture.run(&["show", &id, "--payload"]).await;
    assert!(ran.out.ends_with(&format!("\n\n{}\n", invalid("p1", 1))), "{ran:?}");
    // HealthLake's words, as the CDR would have got them.
    assert!(fixture.run(&["show", "Patient/p2"]).await.out.contains("it quotes"));
}

#[tokio::test]
async fn export_writes_ndjson_for_its_user_only() {
    let fixture = three().await;
    let ran = fixture.run(&["export"]).await;
    assert_eq!(ran.lines().len(), 3);
    assert!(ran.lines().iter().all(|line| line.get("payload").is_none()), "{ran:?}");
    let path = fixture.directory.path().join("export.ndjson");
    let path = path.to_str().unwrap();
    let ran = fixture.run(&["export", "--payload", "--output", path, "--type", "Patient"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let text = std::fs::read_to_string(path).unwrap();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[1]["payload"], valid("p2", 1));
    assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    let again = fixture.run(&["export", "--output", path]).await;
    assert_eq!(again.code, 1, "nothing is overwritten: {again:?}");
}

#[tokio::test]
async fn drop_removes_what_was_named_and_nothing_else() {
    let fixture = three().await;
    let ran = fixture.run(&["drop", "--type", "Observation"]).await;
    assert_eq!((ran.code, ran.out.trim()), (0, "1 dropped"), "{ran:?}");
    assert_eq!(fixture.kept().await.len(), 2);
    assert_eq!(fixture.run(&["drop", "--all"]).await.out.trim(), "2 dropped");
    let ran = fixture.run(&["list"]).await;
    assert_eq!((ran.code, ran.out.as_str()), (0, ""));
    assert!(ran.err.contains("no dead letters"), "{ran:?}");
}
