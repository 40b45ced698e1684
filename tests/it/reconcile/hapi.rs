//! Before a real HAPI: its searches, its versions, its spelling, its `$export`. With `LAKEHOOK_SYNTHEA` the resources
//! are Synthea's, at least `LAKEHOOK_RECONCILE_N` of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::damage::{DAMAGES, at_healthlake, damages, findings, kind_of, size};
use crate::support::app::{Ran, TestApp};
use crate::support::corpus::note;
use crate::support::exact::content;
use crate::support::hapi::Hapi;
use crate::support::synthea;

const PART: usize = 200;

fn resource(at: usize) -> (String, String) {
    let narrative = r#""text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &lt; b</p>\n<b>c</b></div>"}"#;
    let kind = ["Patient", "Observation", "Practitioner"][at % 3];
    let rest = match kind {
        "Observation" => format!(
            r#"{narrative},"status":"final","code":{{"text":"c"}},"subject":{{"reference":"Patient/h0"}},"valueQuantity":{{"value":1.50}}"#
        ),
        _ => format!(r#"{narrative},"name":[{{"family":"F"}}]"#),
    };
    (format!("{kind}/h{at}"), format!(r#"{{"resourceType":"{kind}","id":"h{at}",{rest}}}"#))
}

fn our_own(n: usize) -> impl Iterator<Item = String> {
    (0..n).step_by(PART).map(move |from| {
        let entries: Vec<String> = (from..n.min(from + PART))
            .map(|at| {
                let (key, resource) = resource(at);
                format!(r#"{{"resource":{resource},"request":{{"method":"PUT","url":"{key}"}}}}"#)
            })
            .collect();
        format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","))
    })
}

/// The keys of what HAPI took, at least `n` of them.
async fn load(hapi: &Hapi, n: usize) -> Vec<String> {
    let transactions: Box<dyn Iterator<Item = String> + Send> = match synthea::directory() {
        Some(directory) => Box::new(synthea::transactions(&directory)),
        None => Box::new(our_own(n)),
    };
    let mut keys = Vec::new();
    for transaction in transactions {
        hapi.transaction_text(&transaction).await;
        let transaction: Value = serde_json::from_str(&transaction).unwrap();
        let entries = transaction["entry"].as_array().unwrap();
        keys.extend(entries.iter().map(|entry| entry["request"]["url"].as_str().unwrap().to_owned()));
        if keys.len() >= n {
            break;
        }
    }
    assert!(keys.len() >= n && keys.iter().collect::<BTreeSet<_>>().len() == keys.len(), "{}", keys.len());
    keys
}

/// HAPI, its mirror, somebody else who writes there, and what HAPI held at first.
struct Pair {
    hapi: Hapi,
    app: TestApp,
    other: TestApp,
    keys: Vec<String>,
    report: PathBuf,
    _folder: TempDir,
}

impl Pair {
    async fn start(n: usize) -> Self {
        let quick = ["-Dhapi.submitIntervalMs=200", "-Dhapi.batchIntervalMs=1000"];
        let hapi = Hapi::start_with(&quick).await;
        let folder = tempfile::tempdir().unwrap();
        let app = TestApp::builder()
            .env("LAKEHOOK_DATA_DIR", folder.path().to_str().unwrap())
            .env("LAKEHOOK_CDR_URL", hapi.base_url())
            .env("LAKEHOOK_RECONCILE_SETTLE", "1s")
            .env("LAKEHOOK_RECONCILE_RATE", "0")
            .start()
            .await;
        let other = TestApp::builder().start_beside(&app).await;
        let keys = load(&hapi, n).await;
        let report = folder.path().join("report.ndjson");
        Self { hapi, app, other, keys, report, _folder: folder }
    }

    /// Of the types that were loaded
    async fn run(&self, more: &[&str]) -> Ran {
        let kinds: BTreeSet<&str> = self.keys.iter().map(|key| key.split_once('/').unwrap().0).collect();
        let kinds = kinds.into_iter().collect::<Vec<_>>().join(",");
        self.run_of_all(&[&["--reconcile-types", &kinds], more].concat()).await
    }

    async fn run_of_all(&self, more: &[&str]) -> Ran {
        let arguments = [&["reconcile", "--report", self.report.to_str().unwrap()], more].concat();
        let ran = self.app.command_within(&arguments, Duration::from_secs(1800)).await;
        note(&format!("{more:?}\n{}", ran.out));
        ran
    }

    /// One of each five, from `first` on, spread over all; gives what has to be found.
    async fn damage(&self, count: usize, first: usize) -> BTreeMap<String, String> {
        let step = self.keys.len() / count;
        let mut expected = BTreeMap::new();
        for damaged in 0..count {
            let (key, what) = (&self.keys[damaged * step + first], DAMAGES[damaged % 5]);
            self.damage_one(key, what).await;
            expected.insert(key.clone(), kind_of(what).to_owned());
        }
        expected
    }

    async fn damage_one(&self, key: &str, what: &str) {
        let Self { hapi, app, other, .. } = self;
        let (kind, id) = key.split_once('/').unwrap();
        let path = format!("/{key}");
        let held = hapi.read_text(key).await.unwrap();
        match what {
            "dropped" => assert_eq!(other.delete(&path).await.status, 204),
            "altered" => assert_eq!(other.put(&path, in_language(&held, "en")).await.status, 200),
            "stale" => hapi.put_text(key, &in_language(&held, "fr")).await,
            // HAPI keeps no references' integrity here.
            "extra" => hapi.delete(kind, id).await,
            _ => {
                hapi.delete(kind, id).await;
                assert_eq!(app.delete(&path).await.status, 204);
                assert_eq!(other.put(&path, held).await.status, 201);
            }
        }
    }

    async fn equal(&self) {
        let mirrored = at_healthlake(&self.app);
        let mut alive = 0;
        for key in &self.keys {
            let (ours, theirs) = (self.hapi.read_text(key).await, mirrored.get(key));
            assert_eq!(ours.as_deref().map(content), theirs.map(|json| content(json)), "{key}");
            alive += usize::from(ours.is_some());
        }
        assert_eq!(mirrored.len(), alive);
        note(&format!("{alive} equal"));
    }
}

/// The resource with another content.
fn in_language(resource: &str, language: &str) -> String {
    let (start, rest) = resource.split_once(',').unwrap();
    format!(r#"{start},"language":"{language}",{rest}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_hapi_s_mirror_is_filled_damaged_and_repaired() {
    let pair = Pair::start(size()).await;
    let (app, n) = (&pair.app, pair.keys.len());
    pair.hapi
        .put_text(
            "CodeSystem/c",
            r#"{"resourceType":"CodeSystem","id":"c","status":"draft","content":"complete"}"#,
        )
        .await;

    // Nothing is there yet: all are missing, and repaired.
    let ran = pair.run(&["--repair"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let (found, _) = findings(&pair.report);
    assert!(found.len() == n && found.values().all(|kind| kind == "missing"), "{found:?}");
    assert_eq!((app.writes(), app.alive().len()), (n, n));
    pair.equal().await;

    for (round, count) in damages(n).into_iter().enumerate() {
        let expected = pair.damage(count, round).await;
        let writes = app.writes();
        let ran = pair.run(&[]).await;
        assert_eq!((ran.code, app.writes()), (3, writes), "{ran:?}");
        let (found, totals) = findings(&pair.report);
        assert_eq!((found, &totals["extent"]), (expected, &Value::from("changes")));
        let ran = pair.run(&["--repair"]).await;
        assert_eq!((ran.code, app.writes()), (0, writes + count), "{ran:?}");
        pair.equal().await;
    }

    // Every type that both serve, as their CapabilityStatements say.
    let writes = app.writes();
    let ran = pair.run_of_all(&["--everything"]).await;
    assert_eq!((ran.code, app.writes()), (0, writes), "{ran:?}");
    let (_, totals) = findings(&pair.report);
    assert!(totals["notCompared"]["CodeSystem"].is_string(), "{totals}");
    assert!(totals["types"].as_object().unwrap().len() > 80, "{totals}");

    from_its_export(&pair).await;
    pair.hapi.stop().await;
}

/// HAPI's export of itself, with HealthLake's lists.
async fn from_its_export(pair: &Pair) {
    let expected = pair.damage(DAMAGES.len(), damages(pair.keys.len()).len()).await;
    let writes = pair.app.writes();
    let ran = pair.run(&["--cdr-bulk-export"]).await;
    assert_eq!((ran.code, pair.app.writes()), (3, writes), "{ran:?}");
    let (found, _) = findings(&pair.report);
    assert_eq!(found, expected, "{ran:?}");
    let ran = pair.run(&["--repair"]).await;
    assert_eq!((ran.code, pair.app.writes()), (0, writes + expected.len()), "{ran:?}");
    pair.equal().await;
}
