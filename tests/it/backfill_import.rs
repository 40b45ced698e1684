//! `backfill --to`: NDJSON in files or in S3 (moto's), and HealthLake's import of it.

use aws_sdk_s3::Client;
use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::support::app::{Ran, TestApp};
use crate::support::cdr::SmallCdr;
use crate::support::import::ControlPlane;
use crate::support::moto::Moto;

fn fill(cdr: &SmallCdr, n: usize) {
    for at in 0..n {
        let apart = SignedDuration::from_millis([0, 70_000][at % 2]);
        let body = json!({ "active": true, "name": [{ "family": format!("F{at}") }] });
        cdr.put_after(&format!("Patient/p-{at}"), body, apart);
        let body = json!({ "status": "final", "code": { "text": "x" }, "valueQuantity": { "value": 1.5 } });
        cdr.put_after(&format!("Observation/o-{at}"), body, apart);
    }
    cdr.put("Basic/b", json!({ "code": { "text": "x" } }));
    cdr.put("Patient/bad", json!({ "active": "MARK" }));
}

async fn start(cdr: &SmallCdr, directory: &std::path::Path) -> TestApp {
    TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", directory.to_str().unwrap())
        .env("LAKEHOOK_CDR_URL", &cdr.url)
        .start()
        .await
}

fn lines(directory: &std::path::Path) -> Vec<(String, Value)> {
    let mut lines = Vec::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.len() <= 3_000, "{}", path.display());
        for line in text.lines() {
            let resource: Value = serde_json::from_str(line).unwrap();
            let kind = resource["resourceType"].as_str().unwrap();
            assert!(path.file_name().unwrap().to_str().unwrap().starts_with(kind), "a type a file");
            lines.push((format!("{kind}/{}", resource["id"].as_str().unwrap()), resource));
        }
    }
    lines.sort_by(|a, b| a.0.cmp(&b.0));
    lines
}

#[tokio::test]
async fn files_hold_each_resource_once_even_if_the_run_was_killed() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, 150);
    let directory = tempfile::tempdir().unwrap();
    let app = start(&cdr, &directory.path().join("data")).await;
    let out = directory.path().join("out");
    let to = out.to_str().unwrap();
    let arguments = ["backfill", "--to", to, "--file-size", "3000", "--window-size", "8", "--page-size", "3"];
    // Killed at whatever point it is.
    for _ in 0..3 {
        let mut child = app.start_command(&arguments);
        tokio::time::sleep(std::time::Duration::from_millis(fastrand::u64(100..800))).await;
        let _ = child.start_kill();
        // It was done before: 3, since one is refused.
        if child.wait().await.unwrap().code() == Some(3) {
            break;
        }
    }
    let cursor = directory.path().join("data/export.json");
    if cursor.exists() || !out.exists() {
        let ran = app.command(&arguments).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.err.contains("lakehook backfill --since"), "{ran:?}");
    }
    let lines = lines(&out);
    let keys: Vec<&str> = lines.iter().map(|(key, _)| key.as_str()).collect();
    // Basic is none of HealthLake's types, and the invalid one is refused here.
    let expected: Vec<String> =
        cdr.keys().into_iter().filter(|key| !["Basic/b", "Patient/bad"].contains(&key.as_str())).collect();
    assert_eq!(keys, expected, "each once");
    for (key, resource) in &lines {
        let original: Value = serde_json::from_str(&cdr.json(key).unwrap()).unwrap();
        assert_eq!(*resource, original);
    }
    let report = std::fs::read_to_string(directory.path().join("data/export.json.refused.ndjson")).unwrap();
    assert!(report.contains("Patient/bad") && !report.contains("MARK"), "{report}");
    assert_eq!(app.writes(), 0);

    let again = app.command(&arguments).await;
    assert!(again.code == 1 && again.err.contains("name an empty directory"), "{again:?}");
}

struct Aws {
    moto: Moto,
    s3: Client,
    plane: ControlPlane,
}

impl Aws {
    async fn start() -> Self {
        let moto = Moto::start().await;
        let s3 = moto.s3(&["lakehook-in", "lakehook-out"]).await;
        let plane = ControlPlane::start(s3.clone()).await;
        Self { moto, s3, plane }
    }

    fn arguments(&self) -> Vec<String> {
        let settings = [
            ("--to", "s3://lakehook-in/feed"),
            ("--import-role-arn", "arn:aws:iam::000000000000:role/import"),
            ("--import-output", "s3://lakehook-out/results"),
            ("--import-kms-key", "arn:aws:kms:us-east-1:000000000000:key/k"),
            ("--import-endpoint", &self.plane.url),
            ("--s3-endpoint", self.moto.endpoint_url()),
            ("--file-size", "5000"),
        ];
        let settings = settings.into_iter().flat_map(|(flag, value)| [flag.to_owned(), value.to_owned()]);
        ["backfill".to_owned(), "--import".to_owned()].into_iter().chain(settings).collect()
    }
}

async fn run(app: &TestApp, arguments: &[String]) -> Ran {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    app.command(&arguments).await
}

#[tokio::test]
async fn an_import_is_started_once_watched_and_followed_by_what_changed() {
    let aws = Aws::start().await;
    let cdr = SmallCdr::start().await;
    fill(&cdr, 40);
    let directory = tempfile::tempdir().unwrap();
    let app = start(&cdr, directory.path()).await;
    aws.plane.refuse("Patient/p-7");
    // What is written while the import runs must win: its clock is the test's present.
    let ahead = SignedDuration::from_hours(24 * 365 * 5);
    cdr.put_after("Patient/p-1", json!({ "active": false }), ahead);

    let arguments = aws.arguments();
    let mut child = app.start_command(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    while aws.plane.starts().is_empty() {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        assert!(child.try_wait().unwrap().is_none(), "ended before the job was started");
    }
    child.start_kill().unwrap();
    child.wait().await.unwrap();

    let ran = run(&app, &arguments).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    let starts = aws.plane.starts();
    assert_eq!(starts.len(), 1, "one job, however often the command ran");
    assert_eq!(starts[0]["InputDataConfig"]["S3Uri"], "s3://lakehook-in/feed/");
    assert_eq!(starts[0]["DatastoreId"], app.sandbox.config().datastore_id);
    let imported = aws.plane.imported();
    assert_eq!(imported.len(), 79, "80, one of them refused: {:?}", imported.keys());
    for (key, line) in &imported {
        let original: Value = serde_json::from_str(&cdr.json(key).unwrap()).unwrap();
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), original);
    }
    // Only what is younger than the start of the files was forwarded.
    assert_eq!(app.alive(), ["Patient/p-1"]);
    let report = std::fs::read_to_string(directory.path().join("export.json.refused.ndjson")).unwrap();
    let report: Vec<Value> = report.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(report.len(), 2, "{report:?}");
    let refused = report.iter().find(|line| line["verdict"] == "refused-by-healthlake").unwrap();
    assert_eq!(refused["key"], "Patient/p-7", "{report:?}");
    assert_eq!((&refused["healthlakeStatus"], &refused["codes"]), (&json!(400), &json!(["processing"])));
    assert!(!format!("{report:?}{ran:?}").contains("MARK"));
    assert!(ran.err.contains("79 imported, 1 refused"), "{ran:?}");
    let left: Vec<_> =
        std::fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name == "export.json" || name == "export.json.files"), "{left:?}");
    let listed = aws.s3.list_objects_v2().bucket("lakehook-in").send().await.unwrap();
    assert!(listed.contents().len() > 2, "several files of 5 KB");
    aws.moto.stop().await;
}
