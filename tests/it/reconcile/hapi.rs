//! Before a real HAPI: its searches, its versions, its spelling.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::damage::{DAMAGES, at_healthlake, damages, findings, kind_of, size};
use crate::support::app::TestApp;
use crate::support::corpus::note;
use crate::support::exact::content;
use crate::support::hapi::Hapi;

fn key(at: usize) -> String {
    format!("{}/h{at}", ["Patient", "Observation", "Practitioner"][at % 3])
}

fn resource(at: usize, content: u64) -> String {
    let key = key(at);
    let (kind, id) = key.split_once('/').unwrap();
    let narrative = r#""text":{"status":"generated","div":"<div xmlns=\"http://www.w3.org/1999/xhtml\"><p>a &lt; b</p>\n<b>c</b></div>"}"#;
    let rest = match kind {
        "Observation" => format!(
            r#"{narrative},"status":"final","code":{{"text":"c"}},"subject":{{"reference":"Patient/h0"}},"valueQuantity":{{"value":{content}.50}}"#
        ),
        _ => format!(r#"{narrative},"name":[{{"family":"F {content}"}}]"#),
    };
    format!(r#"{{"resourceType":"{kind}","id":"{id}",{rest}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_hapi_s_mirror_is_filled_damaged_and_repaired() {
    let hapi = Hapi::start().await;
    let (folder, n) = (tempfile::tempdir().unwrap(), size());
    let app = TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", folder.path().to_str().unwrap())
        .env("LAKEHOOK_CDR_URL", hapi.base_url())
        .env("LAKEHOOK_RECONCILE_SETTLE", "1s")
        .env("LAKEHOOK_RECONCILE_RATE", "0")
        .start()
        .await;
    let other = TestApp::builder().start_beside(&app).await;
    for from in (0..n).step_by(200) {
        let entries: Vec<String> = (from..n.min(from + 200))
            .map(|at| {
                let (key, resource) = (key(at), resource(at, 1));
                format!(r#"{{"resource":{resource},"request":{{"method":"PUT","url":"{key}"}}}}"#)
            })
            .collect();
        let bundle =
            format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{}]}}"#, entries.join(","));
        hapi.transaction_text(&bundle).await;
    }
    hapi.put("CodeSystem", "c", &json!({"status": "draft", "content": "complete"})).await;

    let report = folder.path().join("report.ndjson");
    let types = ["--reconcile-types", "Observation,Patient,Practitioner"];
    let run = async |more: &[&str]| {
        let ran =
            app.command(&[&["reconcile", "--report", report.to_str().unwrap()][..], more].concat()).await;
        note(&format!("{more:?}\n{}", ran.out));
        ran
    };
    // Nothing is there yet: all are missing, and repaired.
    let ran = run(&[&types[..], &["--repair"]].concat()).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    let (found, _) = findings(&report);
    assert!(found.len() == n && found.values().all(|kind| kind == "missing"), "{found:?}");
    assert_eq!((app.writes(), app.alive().len()), (n, n));

    let mut expected = BTreeMap::new();
    let count = damages(n)[0];
    let step = n / count;
    for damaged in 0..count {
        let (at, what) = (damaged * step, DAMAGES[damaged % 5]);
        let key = key(at);
        let (kind, id) = key.split_once('/').unwrap();
        let path = format!("/{key}");
        match what {
            "dropped" => assert_eq!(other.delete(&path).await.status, 204),
            "altered" => assert_eq!(other.put(&path, resource(at, 99)).await.status, 200),
            "stale" => hapi.put_text(&key, &resource(at, 2)).await,
            // HAPI keeps no references' integrity here.
            "extra" => hapi.delete(kind, id).await,
            _ => {
                hapi.delete(kind, id).await;
                assert_eq!(app.delete(&path).await.status, 204);
                assert_eq!(other.put(&path, resource(at, 1)).await.status, 201);
            }
        }
        expected.insert(key, kind_of(what).to_owned());
    }
    let writes = app.writes();
    let ran = run(&types).await;
    assert_eq!((ran.code, app.writes()), (3, writes), "{ran:?}");
    let (found, totals) = findings(&report);
    assert_eq!((found, &totals["extent"]), (expected, &Value::from("changes")));
    let ran = run(&[&types[..], &["--repair"]].concat()).await;
    assert_eq!((ran.code, app.writes()), (0, writes + count), "{ran:?}");

    let mirrored = at_healthlake(&app);
    let mut alive = 0;
    for at in 0..n {
        let (ours, theirs) = (hapi.read_text(&key(at)).await, mirrored.get(&key(at)));
        assert_eq!(ours.as_deref().map(content), theirs.map(|json| content(json)), "{}", key(at));
        alive += usize::from(ours.is_some());
    }
    assert_eq!(mirrored.len(), alive);

    // Every type that both serve, as their CapabilityStatements say.
    let ran = run(&["--everything"]).await;
    assert_eq!((ran.code, app.writes()), (0, writes + count), "{ran:?}");
    let (_, totals) = findings(&report);
    assert!(totals["notCompared"]["CodeSystem"].is_string(), "{totals}");
    assert!(totals["types"].as_object().unwrap().len() > 80, "{totals}");
    hapi.stop().await;
}
