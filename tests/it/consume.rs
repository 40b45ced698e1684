//! `consume`, with a real Kafka broker: what is committed, and when.

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

#[tokio::test]
async fn a_message_that_is_not_understood_stops_it_or_is_passed_over() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 1).await;
    let poison = message("Patient/a").replace("payloadId", "somethingElse").replace("resourceType", "other");
    for key in ["Patient/a", "Patient/b", "Patient/c"] {
        cdr.has(key, 1);
    }
    let messages = [message("Patient/a"), message("Patient/b"), poison, message("Patient/c"), String::new()];
    broker.send("failed", messages.map(|message| (0, message))).await;

    // It stays the first one that is not committed, however often it is tried; continuously it ends as well.
    for more in [&["--once"][..], &[]] {
        let ran = app.command(&arguments(&broker, "failed", more)).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        for word in ["message 2 of partition 0 of `failed`", "names no resource", "--on-poison skip"] {
            assert!(ran.err.contains(word), "{word}: {ran:?}");
        }
        nothing_told(&(ran.err + &ran.out));
        assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 2)]));
        assert_eq!(app.alive(), ["Patient/a", "Patient/b"]);
    }
    let ran = once(&app, &broker, "failed", &["--on-poison", "skip"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("not understood and skipped: 2"), "{ran:?}");
    assert!(ran.err.contains("it is empty"), "{ran:?}");
    nothing_told(&(ran.err + &ran.out));
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 5)]));
    assert_eq!(app.alive(), ["Patient/a", "Patient/b", "Patient/c"]);
    broker.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_understood_becomes_a_dead_letter_where_they_are_kept() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let app = TestApp::builder().env("LAKEHOOK_DATA_DIR", data).env("LAKEHOOK_CDR_URL", &url).start().await;
    broker.create("failed", 1).await;
    let poison = message("Patient/a").replace("payloadId", "somethingElse").replace("resourceType", "other");
    for key in ["Patient/a", "Patient/b"] {
        cdr.has(key, 1);
    }
    let messages = [message("Patient/a"), poison, String::new(), message("Patient/b")];
    broker.send("failed", messages.map(|message| (0, message))).await;
    let ran = once(&app, &broker, "failed", &[]).await;
    assert!(ran.out.contains("not understood and kept: 2"), "{ran:?}");
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 4)]));
    assert_eq!(app.alive(), ["Patient/a", "Patient/b"]);
    nothing_told(&(ran.err + &ran.out));

    let listed = app.command(&["dead-letters", "list", "--json"]).await;
    assert_eq!(listed.out.matches("not-understood").count(), 2, "{listed:?}");
    nothing_told(&listed.out);
    // It is read again, and never taken for a resource that the CDR does not have.
    let ran = app.command(&["dead-letters", "redrive"]).await;
    assert!(ran.code == 3 && ran.out.contains("still not understood"), "{ran:?}");
    let listed = app.command(&["dead-letters", "list", "--json"]).await;
    assert_eq!(listed.out.matches("not-understood").count(), 2, "{listed:?}");
    broker.stop().await;
}

#[tokio::test]
async fn nothing_is_lost_when_it_is_killed_or_healthlake_is_away() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::from_millis(20)).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 2).await;
    let key = |n: i64| format!("Patient/p{n}");
    for n in 0..300 {
        cdr.has(&key(n), 3);
    }
    broker.send("failed", (0..300).map(|n| ((n % 2) as i32, message(&key(n))))).await;

    // kill -9 in mid-stream: what is committed by then is at HealthLake, and not everything is.
    let mut run = app.spawn(&arguments(&broker, "failed", &[]));
    let committed = loop {
        let committed = broker.committed("lakehook").await;
        if committed.values().sum::<i64>() > 0 {
            break committed;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    run.signal("-KILL");
    assert_eq!(run.ended().await, None);
    let before: BTreeSet<String> = app.alive().into_iter().collect();
    for (partition, next) in committed {
        for offset in 0..next {
            assert!(
                before.contains(&key(2 * offset + i64::from(partition))),
                "committed before it was there"
            );
        }
    }
    assert!(before.len() < 300, "killed too late to tell anything");

    // The next one waits for the dead member's session, and goes on where the commits ended.
    let ran = once(&app, &broker, "failed", &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 150), (1, 150)]));
    assert_eq!(app.alive().len(), 300);

    // HealthLake is away for longer than the group waits for a silent member: nothing is committed, none is lost.
    app.fault(r#"{"status":503}"#);
    let mut run = app.spawn(&arguments(&broker, "failed", &["--patience", "1s"]));
    run.says(&["partitions assigned", "0, 1"]).await;
    for n in 0..10 {
        cdr.has(&key(n), 4);
    }
    broker.send("failed", (0..10).map(|n| ((n % 2) as i32, message(&key(n))))).await;
    run.says(&["not settled yet"]).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 150), (1, 150)]));
    app.sandbox.clear_faults();
    broker.until_committed("lakehook", &[155, 155]).await;
    for n in 0..10 {
        assert_eq!(app.stored(&key(n)).unwrap()["name"][0]["given"][0], "v4");
    }

    // SIGTERM ends in order: what is in flight is settled and committed.
    run.signal("-TERM");
    assert_eq!(run.ended().await, Some(0), "{}", run.log());
    let log = run.log();
    assert_eq!(log.matches("partitions assigned").count(), 1, "it stayed a member: {log}");
    assert!(!log.contains("partitions lost") && log.contains("10 messages done with"), "{log}");
    nothing_told(&log);
    broker.stop().await;
}

#[tokio::test]
async fn the_members_of_a_group_share_the_partitions() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::from_millis(5)).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 4).await;
    let send = async |from: i64, to: i64| {
        for n in from..to {
            cdr.has(&format!("Patient/p{n}"), 1);
        }
        let messages = (from..to).map(|n| ((n % 4) as i32, message(&format!("Patient/p{n}"))));
        broker.send("failed", messages).await;
    };
    let mut first = app.spawn(&arguments(&broker, "failed", &[]));
    first.says(&["partitions assigned", "0, 1, 2, 3"]).await;
    send(0, 40).await;
    broker.until_committed("lakehook", &[10; 4]).await;

    // Another comes: it gets two partitions, and the first one keeps the others.
    let mut second = app.spawn(&arguments(&broker, "failed", &[]));
    second.says(&["partitions assigned", ", "]).await;
    send(40, 80).await;
    broker.until_committed("lakehook", &[20; 4]).await;

    // The first one goes in order: the second has them all at once, without waiting for a session to end.
    first.signal("-INT");
    assert_eq!(first.ended().await, Some(0), "{}", first.log());
    send(80, 120).await;
    broker.until_committed("lakehook", &[30; 4]).await;
    second.signal("-TERM");
    assert_eq!(second.ended().await, Some(0), "{}", second.log());
    assert_eq!(app.alive().len(), 120);
    let done = |log: &str| -> u64 {
        let line = log.lines().find_map(|line| line.split_once(" messages done with")).expect("a summary");
        line.0.parse().unwrap()
    };
    let (by_first, by_second) = (done(&first.log()), done(&second.log()));
    assert!(by_first >= 60 && by_second >= 60 && by_first + by_second >= 120, "{by_first} {by_second}");
    broker.stop().await;
}

#[tokio::test]
async fn brokers_are_reached_under_tls_and_sasl_and_errors_say_what_to_do() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 1).await;
    cdr.has("Patient/a", 1);
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ca = file("ca.pem", &broker.authority.pem());
    let scram = file("scram", &format!("{}\n", SCRAM.1));
    let plain = file("plain", PLAIN.1);
    let secure = ["consume", "--once", "--kafka-topic", "failed", "--kafka", &broker.secure];
    let sasl = ["--kafka-security-protocol", "SASL_SSL", "--kafka-sasl-mechanism"];
    let by_scram = ["SCRAM-SHA-512", "--kafka-sasl-user", SCRAM.0, "--kafka-sasl-password-file", &scram];
    let by_plain = ["PLAIN", "--kafka-sasl-user", PLAIN.0, "--kafka-sasl-password-file", &plain];

    for (n, by) in [by_scram, by_plain].iter().enumerate() {
        broker.send("failed", [(0, message("Patient/a"))]).await;
        let ran = app.command(&[&secure[..], &sasl, by, &["--ca-file", &ca]].concat()).await;
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(broker.committed("lakehook").await[&0], n as i64 + 1);
    }

    // As the brokers and the network refuse it
    let wrong = ["PLAIN", "--kafka-sasl-user", PLAIN.0, "--kafka-sasl-password-file", &scram];
    let nobody = ["consume", "--once", "--kafka-topic", "failed", "--kafka", "127.0.0.1:1"];
    let unknown = arguments(&broker, "faild", &["--once"]);
    let cases: [(Vec<&str>, &[&str]); 5] = [
        ([&secure[..], &sasl, &wrong, &["--ca-file", &ca]].concat(), &["--kafka", "uthentication"]),
        ([&secure[..], &sasl, &by_plain].concat(), &["--kafka", "certificate", "--ca-file"]),
        (nobody.to_vec(), &["--kafka", "127.0.0.1:1", "--kafka-security-protocol"]),
        (unknown, &["--kafka-topic", "no topic `faild`"]),
        (
            [&secure[..], &["--kafka-security-protocol", "PLAINTEXT"]].concat(),
            &["--kafka", "--kafka-security-protocol"],
        ),
    ];
    for (arguments, says) in cases {
        let ran = app.command(&arguments).await;
        assert_eq!(ran.code, 1, "{arguments:?}: {ran:?}");
        let error = ran.err.lines().last().unwrap();
        for word in says {
            assert!(error.contains(word), "{word}: {ran:?}");
        }
        assert!(!ran.err.contains(SCRAM.1) && !ran.err.contains(PLAIN.1), "{ran:?}");
    }

    // As the settings refuse it, before anybody is asked
    let cases: [(&[&str], &[&str]); 8] = [
        (&[], &["--kafka is missing"]),
        (&["--kafka", "host"], &["--kafka", "`host` is not host:port"]),
        (&["--kafka", "h:1"], &["--kafka-topic is missing"]),
        (&["--kafka", "h:1", "--kafka-topic", "t", "--kafka-sasl-mechanism", "PLAIN"], &["SASL_SSL"]),
        (
            &["--kafka", "h:1", "--kafka-topic", "t", "--kafka-security-protocol", "sasl_ssl"],
            &["--kafka-sasl-mechanism"],
        ),
        (
            &[&["--kafka", "h:1", "--kafka-topic", "t"], &sasl[..], &["PLAIN"]].concat(),
            &["--kafka-sasl-user is missing"],
        ),
        (
            &[&["--kafka", "h:1", "--kafka-topic", "t"], &sasl[..], &by_plain[..3]].concat(),
            &["--kafka-sasl-password-file is missing"],
        ),
        (&["--kafka", "h:1", "--kafka-topic", "t", "--kafka-client-key", "k"], &["--kafka-client-cert"]),
    ];
    for (arguments, says) in cases {
        let ran = app.command(&[&["consume"], arguments].concat()).await;
        assert_eq!(ran.code, 2, "{arguments:?}: {ran:?}");
        for word in says {
            assert!(ran.err.contains(word), "{word}: {ran:?}");
        }
    }
    let without = TestApp::start().await;
    let ran = without.command(&arguments(&broker, "failed", &["--once"])).await;
    assert!(ran.code == 2 && ran.err.contains("--cdr-url"), "{ran:?}");
    broker.stop().await;
}
