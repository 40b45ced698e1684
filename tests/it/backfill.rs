//! `backfill`, the direct way: windows, pages, kill and resume, throttling, refusals, types that are not taken, and
//! live updates meanwhile.

use std::process::Stdio;
use std::time::Duration;

use jiff::SignedDuration;
use lakehook::sandbox::Config;
use serde_json::{Value, json};

use crate::support::app::{Ran, TestApp, lakehook};
use crate::support::cdr::SmallCdr;

pub struct Bench {
    pub cdr: SmallCdr,
    pub app: TestApp,
    pub directory: tempfile::TempDir,
}

impl Bench {
    async fn start(cdr: SmallCdr) -> Self {
        Self::start_with(cdr, |_| {}).await
    }

    pub async fn start_with(cdr: SmallCdr, sandbox: impl FnOnce(&mut Config)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let app = TestApp::builder()
            .sandbox(sandbox)
            .env("LAKEHOOK_DATA_DIR", directory.path().to_str().unwrap())
            .env("LAKEHOOK_CDR_URL", &cdr.url)
            .start()
            .await;
        Self { cdr, app, directory }
    }

    async fn backfill(&self, arguments: &[&str]) -> Ran {
        self.app.command(&[&["backfill"], arguments].concat()).await
    }

    /// What HealthLake has is what the CDR has.
    pub fn assert_equal(&self) {
        let mut alive = self.app.alive();
        alive.sort();
        assert_eq!(alive, self.cdr.keys());
        for key in alive {
            let (here, there) = (self.app.stored(&key).unwrap(), self.cdr.json(&key).unwrap());
            let there: Value = serde_json::from_str(&there).unwrap();
            assert_eq!(without_meta(here), without_meta(there), "{key}");
        }
    }

    fn report(&self) -> Vec<Value> {
        let path = self.directory.path().join("backfill.json.refused.ndjson");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn cursor(&self) -> Option<Value> {
        let text = std::fs::read_to_string(self.directory.path().join("backfill.json")).ok()?;
        Some(serde_json::from_str(&text).unwrap())
    }
}

fn without_meta(mut resource: Value) -> Value {
    resource.as_object_mut().unwrap().remove("meta");
    resource
}

pub fn fill(cdr: &SmallCdr, kind: &str, n: usize) {
    for at in 0..n {
        // Some in the same millisecond, some far apart.
        let apart = [0, 1, 50_000, 9_000_000][at % 4];
        cdr.put_after(&format!("{kind}/{kind}-{at}"), body(kind, at), SignedDuration::from_millis(apart));
    }
}

fn body(kind: &str, n: usize) -> Value {
    match kind {
        "Patient" => json!({ "active": true, "name": [{ "family": format!("F{n}") }] }),
        "Observation" => json!({ "status": "final", "code": { "text": format!("C{n}") } }),
        "Basic" => json!({ "code": { "text": "x" } }),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn everything_arrives_and_is_told() {
    for cdr in [SmallCdr::start().await, SmallCdr::start().await.with_snapshots()] {
        fill(&cdr, "Patient", 130);
        fill(&cdr, "Observation", 70);
        let bench = Bench::start(cdr).await;
        let ran = bench.backfill(&["--window-size", "25", "--page-size", "10"]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        bench.assert_equal();
        assert_eq!(bench.app.writes(), 200, "each once");
        assert!(ran.err.contains("200 of 200 resources settled, 0 refused"), "{ran:?}");
        assert!(bench.cursor().is_none(), "the next one begins anew");
        let log = bench.app.delivery_lines(200).await;
        assert!(log.iter().all(|line| line["source"] == "backfill"));
        let patients = bench.cdr.searches().iter().position(|search| search.contains("offset")).unwrap();
        assert!(
            bench.cdr.searches()[patients].starts_with("Patient?"),
            "patients before what refers to them"
        );

        // Again, of one type, since the last ones.
        let last = bench.cdr.put("Patient/new", body("Patient", 7));
        assert_eq!(last, 1);
        let at = serde_json::from_str::<Value>(&bench.cdr.json("Patient/new").unwrap()).unwrap();
        let since = at["meta"]["lastUpdated"].as_str().unwrap();
        let ran = bench.backfill(&["--type", "Patient", "--since", since]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(bench.app.writes(), 201, "{ran:?}");
        bench.assert_equal();
    }
}

#[tokio::test]
async fn pages_that_shift_or_expire_lose_nothing() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Patient", 60);
    let bench = Bench::start(cdr).await;
    // Those of the first page leave it while the later ones are made: what follows moves up by one each time.
    bench.cdr.update_between_pages(&["Patient/Patient-1", "Patient/Patient-5", "Patient/Patient-2"]);
    let ran = bench.backfill(&["--page-size", "10"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    // The updated ones are live deliveries' business.
    for key in ["Patient/Patient-1", "Patient/Patient-5", "Patient/Patient-2"] {
        let answer = bench.app.put(&format!("/{key}"), bench.cdr.json(key).unwrap()).await;
        assert_eq!(answer.status, 200, "{answer:?}");
    }
    bench.assert_equal();

    bench.cdr.expire(2);
    bench.cdr.unavailable(3);
    let ran = bench.backfill(&["--page-size", "10"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    bench.assert_equal();
}

#[tokio::test]
async fn a_killed_run_goes_on_where_it_was() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Patient", 200);
    let bench = Bench::start(cdr).await;
    bench.app.fault(r#"{"method":"PUT","delayMs":20}"#);
    let arguments = ["backfill", "--window-size", "10", "--parallel", "2", "--max-rate", "100"];
    let mut kills = 0;
    let mut done_before = 0;
    while kills < 3 {
        let mut child = bench.app.start_command(&arguments);
        // Until the cursor has moved on.
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let done = bench.cursor().map_or(0, |cursor| cursor["counted"]["settled"].as_u64().unwrap());
            if done > done_before {
                done_before = done;
                break;
            }
            assert!(child.try_wait().unwrap().is_none(), "ended before it could be killed");
        }
        child.start_kill().unwrap();
        child.wait().await.unwrap();
        kills += 1;
    }
    assert!((10..190).contains(&done_before), "{done_before}");
    let writes = bench.app.writes();
    let ran = bench.backfill(&arguments[1..]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("resuming"), "{ran:?}");
    bench.assert_equal();
    let repeated = bench.app.writes() - 200;
    // What is saved lags by a second at the most, at 100 KB/s; a window was in flight each time.
    assert!(repeated <= kills * 150, "{repeated} of {writes} writes were repeated");
    assert!(bench.cursor().is_none());
}

#[tokio::test]
async fn ctrl_c_finishes_what_began_and_says_how_to_go_on() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Patient", 120);
    let bench = Bench::start(cdr).await;
    let arguments = ["backfill", "--window-size", "10", "--max-rate", "40"];
    let mut child = bench.app.start_command(&arguments);
    while bench.app.writes() < 15 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(child.try_wait().unwrap().is_none(), "ended too soon");
    }
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    let output =
        tokio::time::timeout(Duration::from_secs(60), child.wait_with_output()).await.unwrap().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{err}");
    assert!(err.contains("interrupted; the same command goes on from"), "{err}");
    let settled = bench.cursor().unwrap()["counted"]["settled"].as_u64().unwrap();
    assert!(settled >= 10 && settled as usize <= bench.app.writes(), "{settled}: {err}");

    // Another backfill does not take this one's cursor.
    let other = bench.backfill(&["--type", "Observation"]).await;
    assert!(other.code == 1 && other.err.contains("--restart"), "{other:?}");
    let before = bench.app.writes();
    let ran = bench.backfill(&["--window-size", "10"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    bench.assert_equal();
    assert!(bench.app.writes() - before <= 120 - settled as usize, "nothing settled is repeated");
}

#[tokio::test]
async fn the_order_table_keeps_the_cursor_where_no_disk_stays() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Patient", 100);
    let dynamodb = crate::dynamodb::bench::Bench::dynalite().await;
    let app = TestApp::builder()
        .env("LAKEHOOK_ORDER_STORE", format!("dynamodb:{}", crate::dynamodb::bench::TABLE))
        .env("LAKEHOOK_ORDER_DYNAMODB_ENDPOINT", dynamodb.endpoint_url())
        .env("LAKEHOOK_CDR_URL", &cdr.url)
        .start()
        .await;
    let arguments = ["backfill", "--window-size", "10", "--max-rate", "40"];
    let mut child = app.start_command(&arguments);
    while app.writes() < 70 {
        tokio::time::sleep(Duration::from_millis(20)).await;
        assert!(child.try_wait().unwrap().is_none(), "ended too soon");
    }
    child.start_kill().unwrap();
    child.wait().await.unwrap();
    let before = app.writes();
    let ran = app.command(&arguments[..3]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.err.contains("resuming"), "{ran:?}");
    assert_eq!(app.alive().len(), 100);
    assert!(app.writes() - before < 100, "what was settled is not repeated: {before} and {}", app.writes());
    // The cursor is gone: the next one is of everything again.
    let ran = app.command(&["backfill", "--type", "Observation"]).await;
    assert!(ran.code == 0 && !ran.err.contains("resuming"), "{ran:?}");
}

#[tokio::test]
async fn refusals_are_listed_and_types_that_are_not_taken_are_left_out() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Patient", 30);
    fill(&cdr, "Basic", 300);
    cdr.put("Patient/bad", json!({ "active": "MARK-not-a-boolean" }));
    let bench = Bench::start(cdr).await;
    bench.app.fault(
        r#"{"key":"Patient/Patient-3","status":422,"body":"{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"processing\",\"diagnostics\":\"MARK no\"}]}"}"#,
    );
    let ran = bench.backfill(&["--window-size", "20", "--parallel", "4"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let mut report = bench.report();
    report.sort_by_key(|line| line["key"].as_str().unwrap().to_owned());
    assert_eq!(report.len(), 2, "{report:?}");
    let (ours, theirs) = (&report[1], &report[0]);
    assert_eq!((ours["key"].as_str(), ours["verdict"].as_str()), (Some("Patient/bad"), Some("invalid")));
    assert_eq!(theirs["key"], "Patient/Patient-3");
    assert_eq!(theirs["verdict"], "refused-by-healthlake");
    assert!(report.iter().all(|line| line["deadLetter"] == true), "{report:?}");
    assert_eq!((&theirs["codes"], &theirs["healthlakeStatus"]), (&json!(["processing"]), &json!(422)));
    assert!(!format!("{report:?}{ran:?}").contains("MARK"), "{report:?} {ran:?}");
    assert!(ran.err.contains("types that HealthLake does not take: Basic"), "{ran:?}");
    assert!(ran.err.contains("29 of 331 resources settled, 2 refused, 300 of types"), "{ran:?}");
    let basics = bench.app.sandbox.requests().iter().filter(|line| line.path.contains("/Basic/")).count();
    assert!(basics <= 10, "asked {basics} times about a type that is not taken");
}

#[tokio::test]
async fn throttling_and_outages_are_outwaited() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Patient", 150);
    let bench = Bench::start(cdr).await;
    bench
        .app
        .fault(r#"{"method":"PUT","throttle":true,"rate":0.1,"headers":{"Retry-After":"1"},"count":10}"#);
    bench.app.fault(r#"{"method":"PUT","status":503,"rate":0.1,"count":10}"#);
    bench.app.fault(r#"{"method":"PUT","cut":"after","rate":0.1,"count":5}"#);
    let ran = bench.backfill(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    bench.assert_equal();

    // One that never ends is given up on, and the cursor stays before it.
    bench.app.fault(r#"{"key":"Patient/Patient-140","status":503}"#);
    let ran = bench.backfill(&["--patience", "1s", "--window-size", "20"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("Patient/Patient-140 is still healthlake-failed"), "{ran:?}");
    let settled = bench.cursor().unwrap()["counted"]["settled"].as_u64().unwrap();
    assert!(settled < 150, "{settled}");
    bench.app.sandbox.clear_faults();
    let ran = bench.backfill(&["--window-size", "20"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    bench.assert_equal();
}

#[tokio::test]
async fn a_newer_live_update_is_never_overwritten() {
    let cdr = SmallCdr::start().await.with_snapshots();
    fill(&cdr, "Patient", 40);
    let bench = Bench::start(cdr).await;
    // Live deliveries were faster: what the CDR's pages show is older than what HealthLake has.
    for at in [3, 17] {
        let newer = json!({
            "resourceType": "Patient", "id": format!("Patient-{at}"), "active": false,
            "meta": { "versionId": "9", "lastUpdated": "2026-06-01T00:00:00Z" },
        });
        bench.app.put(&format!("/Patient/Patient-{at}"), newer.to_string()).await;
    }
    let ran = bench.backfill(&["--page-size", "10"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    for at in 0..40 {
        let stored = bench.app.stored(&format!("Patient/Patient-{at}")).unwrap();
        assert_eq!(stored["active"], json!(![3, 17].contains(&at)), "{stored}");
    }
    let lines = bench.app.delivery_lines(42).await;
    assert_eq!(lines.iter().filter(|line| line["verdict"] == "superseded").count(), 2);
}

#[tokio::test]
async fn what_does_not_go_together_is_said() {
    let cdr = SmallCdr::start().await;
    let app = TestApp::builder().env("LAKEHOOK_CDR_URL", &cdr.url).start().await;
    for (arguments, code, says) in [
        (&["--alone"][..], 1, "--cursor is missing"),
        (&["--cursor", "order-table"], 2, "dynamodb"),
        (&["--search", "Patient?"], 2, "--trigger"),
        (&["--trigger", "s", "--to", "x"], 2, "two ways"),
        (&["--to", "s3://b/p", "--import"], 2, "--import-role-arn"),
        (&["--to", "x", "--import"], 2, "s3://"),
        (&["--type", "patient"], 2, "Patient"),
    ] {
        let ran = app.command(&[&["backfill"], arguments].concat()).await;
        assert!(ran.code == code && ran.err.contains(says), "{arguments:?}: {ran:?}");
    }
    let without = TestApp::start().await;
    let ran = without.command(&["backfill"]).await;
    assert!(ran.code == 2 && ran.err.contains("--cdr-url"), "{ran:?}");
    // Nothing there is nothing to do.
    let directory = tempfile::tempdir().unwrap();
    let cursor = directory.path().join("c.json");
    let ran = app.command(&["backfill", "--alone", "--cursor", cursor.to_str().unwrap()]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let mut probe = lakehook();
    probe.arg("backfill").arg("--help").stdout(Stdio::piped());
    assert!(String::from_utf8(probe.output().await.unwrap().stdout).unwrap().contains("Through the CDR:"));
}
