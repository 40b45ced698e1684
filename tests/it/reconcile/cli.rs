use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;

use super::cdr::{MARK, TestCdr, now};
use super::damage::{DAMAGES, at_healthlake, damages, findings, kind_of, size};
use crate::support::app::{Ran, TestApp};
use crate::support::corpus::note;
use crate::support::exact::content;

pub fn equal(cdr: &TestCdr, app: &TestApp) {
    let (mut ours, theirs) = (cdr.alive(), at_healthlake(app));
    ours.retain(|key, _| !key.starts_with("CodeSystem/"));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (key, json) in &ours {
        let (mut ours, theirs) = (content(json), content(&theirs[key]));
        // The CDR's own word for the request that wrote it
        if theirs["meta"].is_null() {
            ours.as_object_mut().unwrap().remove("meta");
        }
        assert_eq!(ours, theirs, "{key}");
    }
}

/// `n` resources at both sides, written over some days; an instance with a data directory, and another writer.
pub async fn start(n: usize, data: &str, lag: Duration) -> (TestCdr, TestApp, TestApp) {
    let cdr = TestCdr::start().await;
    let app = TestApp::builder()
        .sandbox(|config| config.search_lag = lag)
        .env("LAKEHOOK_DATA_DIR", data)
        .env("LAKEHOOK_CDR_URL", cdr.url())
        .env("LAKEHOOK_RECONCILE_SETTLE", "1s")
        .env("LAKEHOOK_RECONCILE_OVERLAP", "5s")
        .env("LAKEHOOK_RECONCILE_RATE", "0")
        // What is written here is no matter of validation, and of large sizes it would be most of the time.
        .env("LAKEHOOK_VALIDATION", if n > 10_000 { "off" } else { "strict" })
        .start()
        .await;
    let other = TestApp::builder().start_beside(&app).await;
    let from = now() - 86_400_000 * 10;
    for at in 0..n {
        cdr.put_at(&key(at), 1, from + at as i64 * 1000);
    }
    let written = futures_util::stream::iter(0..n).map(async |at| {
        let key = key(at);
        assert_eq!(app.put(&format!("/{key}"), cdr.json(&key).unwrap()).await.status, 201);
    });
    written.buffer_unordered(8).collect::<()>().await;
    (cdr, app, other)
}

pub fn key(at: usize) -> String {
    format!("{}/r{at}", ["Patient", "Observation"][at % 2])
}

/// As if the CDR's delivery had been lost, come late, or somebody else had written.
pub async fn damage(what: &str, key: &str, cdr: &TestCdr, app: &TestApp, other: &TestApp) {
    let path = format!("/{key}");
    match what {
        "dropped" => assert_eq!(other.delete(&path).await.status, 204),
        "altered" => {
            let altered = cdr.json(key).unwrap().replace(MARK, "someone else");
            assert_eq!(other.put(&path, altered).await.status, 200);
        }
        "extra" => cdr.delete(key),
        "stale" => cdr.put(key, 2),
        "resurrected" => {
            let old = cdr.json(key).unwrap();
            cdr.delete(key);
            assert_eq!(app.delete(&path).await.status, 204);
            assert_eq!(other.put(&path, old).await.status, 201);
        }
        other => panic!("{other}"),
    }
}

/// Of the large sizes one run takes long.
async fn within_an_hour(app: &TestApp, arguments: &[&str]) -> Ran {
    app.command_within(arguments, Duration::from_secs(3600)).await
}

/// The report says what it cost.
fn told(what: &str, ran: &Ran) {
    note(&format!("{what}\n{}", ran.out));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn seeded_damage_is_found_whole_and_nothing_else_and_repaired_to_equality() {
    let (folder, n) = (tempfile::tempdir().unwrap(), size());
    let data = folder.path().to_str().unwrap();
    let lag = Duration::from_secs(2);
    let (cdr, app, other) = start(n, data, lag).await;
    cdr.put("CodeSystem/c1", 1);
    let file = |name: &str| folder.path().join(name);
    let (report, html) = (file("report.ndjson"), file("report.html"));
    let reports = ["--report", report.to_str().unwrap(), "--html", html.to_str().unwrap()];

    // Nothing was wrong yet, and the instance runs all the while.
    let ran = within_an_hour(&app, &[&["reconcile"][..], &reports].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.ends_with("equal\n") && ran.out.contains("every resource of these types"), "{ran:?}");
    assert!(ran.out.contains("HealthLake does not support them: CodeSystem"), "{ran:?}");
    told("everything, 0 differences", &ran);

    let (mut page, mut repaired) = (String::new(), 0);
    for (round, count) in damages(n).into_iter().enumerate() {
        let mut expected = BTreeMap::new();
        for at in 0..count {
            let (key, what) = (key(at * (n / count) + round), DAMAGES[at % 5]);
            damage(what, &key, &cdr, &app, &other).await;
            expected.insert(key, kind_of(what).to_owned());
        }
        // Until then HealthLake's search shows what was deleted there, and nothing looks missing.
        tokio::time::sleep(lag).await;

        let writes = app.writes();
        let ran = within_an_hour(&app, &[&["reconcile"][..], &reports].concat()).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        told(&format!("changes, {count} differences"), &ran);
        let (found, totals) = findings(&report);
        assert_eq!(found, expected);
        assert_eq!((&totals["extent"], &totals["repair"]), (&"changes".into(), &false.into()));
        assert_eq!(app.writes(), writes, "a dry run writes nothing");

        page = std::fs::read_to_string(&html).unwrap();
        assert!(page.contains("<svg") && page.contains("Differences over time"), "{page}");
        for word in ["<script", "http://", "https://", "src=", "@import", "url("] {
            assert!(!page.contains(word), "{word}");
        }

        let ran = within_an_hour(&app, &[&["reconcile", "--repair"][..], &reports].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        told(&format!("changes, {count} repaired"), &ran);
        assert_eq!(app.writes(), writes + count, "one write for each, and none for what is equal");
        equal(&cdr, &app);
        repaired += count;
        let lines: Vec<_> = app.delivery_lines(n + repaired).await;
        assert_eq!(lines.iter().filter(|line| line["source"] == "reconcile").count(), repaired);
    }

    let writes = app.writes();
    let ran = within_an_hour(&app, &["reconcile", "--repair"]).await;
    assert_eq!((ran.code, app.writes()), (0, writes), "{ran:?}");
    told("changes, 0 differences", &ran);
    let ran = within_an_hour(&app, &["reconcile", "--repair", "--everything"]).await;
    assert_eq!((ran.code, app.writes()), (0, writes), "{ran:?}");
    told("everything, after the repair", &ran);

    for text in [&page, &std::fs::read_to_string(&report).unwrap(), &ran.out, &ran.err, &app.log()] {
        assert!(!text.contains(MARK), "a resource's content is told");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn filters_and_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let (cdr, app, other) = start(40, data, Duration::ZERO).await;
    damage("dropped", &key(2), &cdr, &app, &other).await;
    damage("stale", &key(3), &cdr, &app, &other).await;

    let ran = app.command(&["reconcile", "--id", &key(2), "--id", &key(4)]).await;
    assert!(ran.code == 3 && ran.out.contains("different: 1"), "{ran:?}");
    let ran = app.command(&["reconcile", "--reconcile-types", "Patient"]).await;
    assert!(ran.code == 3 && ran.out.contains("different: 1"), "{ran:?}");
    let ran =
        app.command(&["reconcile", "--since", "1h", "--repair", "--reconcile-types", "Observation"]).await;
    assert!(ran.code == 0 && ran.out.contains("equal, after repair"), "{ran:?}");
    let ran = app.command(&["reconcile", "--id", &key(2), "--repair"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    equal(&cdr, &app);

    // HealthLake refuses for good, or fails for now.
    damage("stale", &key(5), &cdr, &app, &other).await;
    app.fault(&format!(
        r#"{{"key":"{}","method":"PUT","status":422,"count":1,"body":"{{\"resourceType\":\"OperationOutcome\",\"issue\":[{{\"severity\":\"error\",\"code\":\"invalid\",\"diagnostics\":\"no\"}}]}}"}}"#,
        key(5)
    ));
    let ran = app.command(&["reconcile", "--id", &key(5), "--repair"]).await;
    assert!(ran.code == 3 && ran.out.contains("1 refused for good"), "{ran:?}");

    for (arguments, says) in [
        (&["reconcile", "--id", "patient/a"][..], "Type/id"),
        (&["reconcile", "--since", "yesterday"], "2026-11-24T17:00:00Z"),
        (&["reconcile", "--repair", "--dry-run"], "--dry-run"),
        (&["reconcile", "--reconcile-types", "patient"], "no resource type"),
    ] {
        let ran = app.command(arguments).await;
        assert!(ran.code == 2 && ran.err.contains(says), "{ran:?}");
    }
    let without = TestApp::start().await;
    let ran = without.command(&["reconcile"]).await;
    assert!(ran.code == 2 && ran.err.contains("--cdr-url"), "{ran:?}");
    let gone = ["reconcile", "--cdr-url", "http://127.0.0.1:9/fhir", "--reconcile-types", "Patient"];
    let ran = app.command(&gone).await;
    assert!(ran.code == 1 && ran.err.contains("the CDR could not be reached"), "{ran:?}");
}
