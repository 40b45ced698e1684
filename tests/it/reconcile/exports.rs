//! Bulk exports in folders instead of searches, and the query of docs/scale.md over the same files.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::cdr::MARK;
use super::cli::{damage, equal, key, start};
use super::damage::{DAMAGES, at_healthlake, findings, kind_of};
use crate::support::app::TestApp;
use crate::support::corpus::note;
use crate::support::process::repository;

/// A file for each type, one of them gzipped, in no order.
pub fn export(folder: &Path, resources: &BTreeMap<String, String>) {
    std::fs::create_dir_all(folder.join("job")).unwrap();
    for kind in ["Patient", "Observation"] {
        let lines: Vec<String> = resources
            .iter()
            .rev()
            .filter(|(key, _)| key.starts_with(kind))
            .map(|(_, json)| json.clone() + "\n")
            .collect();
        if kind == "Patient" {
            std::fs::write(folder.join("job/Patient-1.ndjson"), lines.concat()).unwrap();
        } else {
            let file = std::fs::File::create(folder.join("Observation.ndjson.gz")).unwrap();
            let mut gzip = flate2::write::GzEncoder::new(file, flate2::Compression::fast());
            gzip.write_all(lines.concat().as_bytes()).unwrap();
            gzip.finish().unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_compared_and_only_what_differs_is_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let (cdr, app, other) = start(200, folder.path().join("data").to_str().unwrap(), Duration::ZERO).await;
    let mut expected = BTreeMap::new();
    for (at, what) in DAMAGES.into_iter().cycle().take(10).enumerate() {
        damage(what, &key(at * 7), &cdr, &app, &other).await;
        expected.insert(key(at * 7), kind_of(what).to_owned());
    }
    let (ours, theirs) = (folder.path().join("cdr"), folder.path().join("healthlake"));
    export(&ours, &cdr.alive());
    export(&theirs, &at_healthlake(&app));
    // Since the exports were made one was repaired by a delivery, and is no difference any more.
    let repaired = key(21);
    app.put(&format!("/{repaired}"), cdr.json(&repaired).unwrap()).await;
    expected.remove(&repaired);

    let (before, asked) = (app.forwarded(), cdr.requests().len());
    let report = folder.path().join("report.ndjson");
    let arguments = |repair: &'static str| {
        let path = |path: &Path| path.to_str().unwrap().to_owned();
        [
            "reconcile",
            repair,
            "--cdr-export",
            &path(&ours),
            "--healthlake-export",
            &path(&theirs),
            "--report",
            &path(&report),
        ]
        .map(str::to_owned)
    };
    let run = async |repair| {
        let arguments = arguments(repair);
        app.command(&arguments.each_ref().map(String::as_str)).await
    };
    let ran = run("--dry-run").await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(findings(&report).0, expected);
    let requests = (app.forwarded() - before, cdr.requests().len() - asked);
    assert!(requests.0 < 30 && requests.1 < 40, "{requests:?}: nothing is listed");
    if let Some(found) = by_datafusion(&app, folder.path()).await {
        expected.insert(repaired, "different".into());
        // What the query can tell from the files alone
        let kinds = |kind: &str| {
            if matches!(kind, "stale" | "altered") { "different".to_owned() } else { kind.to_owned() }
        };
        let expected: BTreeMap<String, String> =
            expected.iter().map(|(key, kind)| (key.clone(), kinds(kind))).collect();
        assert_eq!(found, expected);
    }

    let ran = run("--repair").await;
    assert_eq!(ran.code, 0, "{ran:?}");
    equal(&cdr, &app);

    std::fs::write(ours.join("bad.ndjson"), "{\"resourceType\":\"Patient\"}\n").unwrap();
    let ran = run("--dry-run").await;
    assert!(ran.code == 1 && ran.err.contains("bad.ndjson, line 1"), "{ran:?}");
}

/// The SQL of docs/scale.md as it stands there, over what `digest` says; None where the package is not installed.
async fn by_datafusion(app: &TestApp, folder: &Path) -> Option<BTreeMap<String, String>> {
    for side in ["cdr", "healthlake"] {
        let ran = app.command(&["digest", "--parts", "16", folder.join(side).to_str().unwrap()]).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert!(!ran.out.contains(MARK));
        std::fs::write(folder.join(format!("{side}-digests.json")), ran.out).unwrap();
    }
    let python = std::env::var("LAKEHOOK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let mut command = std::process::Command::new(python);
    command.arg(repository().join("tests/foreign/datafusion_compare.py"));
    command.arg(repository().join("docs/scale.md"));
    command.args(["cdr", "healthlake"].map(|side| folder.join(format!("{side}-digests.json"))));
    let output = command.output().ok()?;
    let (out, err) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    if err.contains("No module named") && std::env::var_os("CI").is_none() {
        note("skipped: datafusion is not installed");
        return None;
    }
    assert!(output.status.success(), "{err}");
    Some(
        out.lines()
            .map(|line| line.split_once(' ').unwrap())
            .map(|(key, kind)| (key.into(), kind.into()))
            .collect(),
    )
}
