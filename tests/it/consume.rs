//! `consume`, with a real Kafka broker: what is committed, and when.

mod brokers;
mod group;
mod messages;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::{Path, State};
use http::StatusCode;

use crate::support::app::{Ran, TestApp};
use crate::support::kafka::{Broker, PLAIN, SCRAM};

/// What a CDR has: resources at a version, or gone; each read takes a moment.
#[derive(Clone, Default)]
struct Cdr(Arc<Mutex<(BTreeMap<String, u32>, u32)>>);

impl Cdr {
    async fn start(pause: Duration) -> (Self, String) {
        let cdr = Self::default();
        let read = async move |State(cdr): State<Self>, Path((kind, id)): Path<(String, String)>| {
            tokio::time::sleep(pause).await;
            let mut state = cdr.0.lock().unwrap();
            state.1 += 1;
            match state.0.get(&format!("{kind}/{id}")) {
                Some(version) => (StatusCode::OK, resource(&kind, &id, *version)),
                None => (StatusCode::GONE, String::new()),
            }
        };
        let routes =
            axum::Router::new().route("/fhir/{kind}/{id}", axum::routing::get(read)).with_state(cdr.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/fhir", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, routes).into_future());
        (cdr, url)
    }

    fn has(&self, key: &str, version: u32) {
        self.0.lock().unwrap().0.insert(key.to_owned(), version);
    }

    fn reads(&self) -> u32 {
        self.0.lock().unwrap().1
    }
}

fn resource(kind: &str, id: &str, version: u32) -> String {
    let rest = match kind {
        "Patient" => format!(r#","name":[{{"family":"Secret-name","given":["v{version}"]}}]"#),
        "Basic" => r#","code":{"text":"x"}"#.to_owned(),
        _ => r#","code":{"text":"x"},"status":"final""#.to_owned(),
    };
    let meta = format!(r#""meta":{{"versionId":"{version}"}}"#);
    format!(r#"{{"resourceType":"{kind}","id":"{id}",{meta}{rest}}}"#)
}

/// As HAPI's own classes write it, with another resource in it.
fn message(key: &str) -> String {
    let id = key.split_once('/').unwrap().1;
    include_str!("../../fixtures/kafka/delivery-update-wrapped.json")
        .replace(r#""payloadId":"Patient/p1""#, &format!(r#""payloadId":"{key}""#))
        .replace(r#"\"id\":\"p1\""#, &format!(r#"\"id\":\"{id}\""#))
}

async fn app(url: &str, directory: &tempfile::TempDir) -> TestApp {
    TestApp::builder()
        .env("LAKEHOOK_DATA_DIR", directory.path().to_str().unwrap())
        .env("LAKEHOOK_CDR_URL", url)
        // The verdicts themselves are looked at here.
        .env("LAKEHOOK_DEAD_LETTERS", "off")
        .start()
        .await
}

/// The arguments of a run on a broker without TLS.
fn arguments<'a>(broker: &'a Broker, topic: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let mut all = vec!["consume", "--kafka", &broker.address, "--kafka-topic", topic];
    all.extend(["--kafka-security-protocol", "PLAINTEXT", "--kafka-session-timeout", "6s"]);
    all.extend_from_slice(more);
    all
}

async fn once(app: &TestApp, broker: &Broker, topic: &str, more: &[&str]) -> Ran {
    app.command(&arguments(broker, topic, &[&["--once"], more].concat())).await
}

/// Neither what the resources say nor the channel's token is in any log.
fn nothing_told(log: &str) {
    for secret in ["Secret-name", "Example", "example-token-of-the-channel"] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn what_the_failed_channel_holds_is_forwarded_as_the_cdr_has_it_and_committed() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 2).await;

    // An empty topic is at its end at once.
    let ran = once(&app, &broker, "failed", &[]).await;
    assert_eq!((ran.code, broker.committed("lakehook").await.len()), (0, 0), "{ran:?}");

    // Changed since, deleted since, of a type that HealthLake does not have, and 20 versions of one.
    app.put("/Patient/gone", resource("Patient", "gone", 1)).await;
    cdr.has("Patient/a", 7);
    cdr.has("Observation/o", 2);
    cdr.has("Basic/none", 1);
    cdr.has("Patient/busy", 20);
    let mut messages = vec![
        (0, message("Patient/a")),
        (0, message("Patient/gone")),
        (1, message("Observation/o")),
        (1, message("Basic/none")),
    ];
    messages.extend((0..20).map(|_| (1, message("Patient/busy"))));
    broker.send("failed", messages).await;
    let ran = once(&app, &broker, "failed", &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 2), (1, 22)]));
    assert_eq!(app.alive(), ["Observation/o", "Patient/a", "Patient/busy"]);
    assert_eq!(app.stored("Patient/a").unwrap()["name"][0]["given"][0], "v7");
    assert!(ran.out.starts_with("24 messages done with; settled: mirrored 23, not-mirrored 1"), "{ran:?}");
    assert!(cdr.reads() < 24, "what waits for one resource is settled by one delivery: {}", cdr.reads());
    let log = app.delivery_lines(5).await;
    assert!(log.iter().any(|line| line["source"] == "consume" && line["key"] == "Patient/a"), "{log:?}");
    nothing_told(&(ran.err + &ran.out));

    // Nothing is read twice by the same group, and everything by another.
    let writes = app.writes();
    let ran = once(&app, &broker, "failed", &[]).await;
    assert_eq!((ran.code, app.writes()), (0, writes), "{ran:?}");
    assert!(ran.out.starts_with("0 messages"), "{ran:?}");
    let ran = once(&app, &broker, "failed", &["--kafka-group", "other"]).await;
    assert!(ran.code == 0 && ran.out.starts_with("24 messages"), "{ran:?}");

    // A refusal is a verdict too: it is told, and does not stop the others.
    app.fault(
        r#"{"key":"Patient/a","status":422,"body":"{\"resourceType\":\"OperationOutcome\",\"issue\":[{\"severity\":\"error\",\"code\":\"invalid\",\"diagnostics\":\"no\"}]}"}"#,
    );
    broker.send("failed", [(0, message("Patient/a")), (0, message("Observation/o"))]).await;
    let ran = once(&app, &broker, "failed", &[]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("refused: refused-by-healthlake 1"), "{ran:?}");
    assert!(ran.err.contains("Patient/a"), "{ran:?}");
    assert_eq!(broker.committed("lakehook").await[&0], 4);
    app.sandbox.clear_faults();

    // Not settled within the patience: told, and not committed, nor is what comes behind it.
    app.fault(r#"{"key":"Patient/a","status":503}"#);
    broker.send("failed", [(0, message("Patient/a")), (0, message("Observation/o"))]).await;
    let ran = once(&app, &broker, "failed", &["--patience", "100ms"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("not settled") && ran.err.contains("come again"), "{ran:?}");
    assert_eq!(broker.committed("lakehook").await[&0], 4);
    app.sandbox.clear_faults();
    let ran = once(&app, &broker, "failed", &[]).await;
    assert!(ran.code == 0 && ran.out.starts_with("2 messages"), "{ran:?}");
    assert_eq!(broker.committed("lakehook").await[&0], 6);
    broker.stop().await;
}
