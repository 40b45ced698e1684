//! A storm: a CDR that updates, deletes and re-creates, a sender that keeps no order and repeats old bytes, a
//! HealthLake that fails, cuts, stalls and carries out late, two replicas over one DynamoDB table. At the end the
//! mirror is equal, and at no moment did a resource go back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use lakehook::sandbox::Interaction;

use crate::dynamodb::bench::{Bench, TABLE};
use crate::support::app::{Builder, TestApp, patient};

const RESOURCES: usize = 8;
const CHANGES: usize = 160;
/// Deliveries at once, as HAPI has them; and the two replicas take turns.
const WORKERS: usize = 4;

/// Each resource's versions in order; None: a deletion, which takes a number too.
type History = Vec<Vec<Option<u32>>>;

fn current(history: &History, resource: usize) -> Option<u32> {
    history[resource].last().copied().flatten()
}

async fn cdr(history: Arc<Mutex<History>>) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/fhir", listener.local_addr().unwrap());
    let read = async move |axum::extract::Path(id): axum::extract::Path<String>| match current(
        &history.lock().unwrap(),
        id.parse().unwrap(),
    ) {
        Some(version) => (http::StatusCode::OK, patient(&id, version)),
        None => (http::StatusCode::GONE, String::new()),
    };
    let routes = axum::Router::new().route("/fhir/Patient/{id}", axum::routing::get(read));
    tokio::spawn(axum::serve(listener, routes).into_future());
    url
}

/// Repeats the same bytes until they are taken, as a sender with patience does.
async fn deliver(apps: &[TestApp], resource: usize, change: Option<u32>, mut turn: usize) {
    let started = Instant::now();
    let mut pause = Duration::from_millis(50);
    loop {
        let app = &apps[turn % apps.len()];
        let path = format!("/Patient/{resource}");
        let answer = match change {
            Some(version) => app.put(&path, patient(&resource.to_string(), version)).await,
            None => app.delete(&path).await,
        };
        if answer.status < 300 {
            return;
        }
        assert!([409, 429, 502, 503, 504].contains(&answer.status), "{answer:?}");
        assert!(started.elapsed() < Duration::from_secs(120), "{resource} {change:?}: {answer:?}");
        tokio::time::sleep(pause).await;
        pause = pause.mul_f64(1.1);
        turn += 1;
    }
}

#[tokio::test]
#[allow(clippy::print_stdout)]
async fn a_storm_over_two_replicas_ends_equal_and_never_goes_back() {
    let seed = std::env::var("LAKEHOOK_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("LAKEHOOK_TEST_SEED={seed}");
    let mut random = Rng::with_seed(seed);

    let history = Arc::new(Mutex::new(vec![Vec::new(); RESOURCES]));
    let bench = Bench::dynalite().await;
    let cdr = cdr(history.clone()).await;
    let with = |builder: Builder| {
        let table = format!("dynamodb:{TABLE}");
        let builder = builder.arg("--order-store", table).arg("--cdr-url", &cdr).arg("--deadline", "1s");
        builder.arg("--order-dynamodb-endpoint", bench.endpoint_url()).arg("--order-settle", "1500ms")
    };
    let first = with(TestApp::builder()).start().await;
    let second = with(TestApp::builder()).start_beside(&first).await;
    let apps = Arc::new([first, second]);
    for fault in [
        r#"{"status":503,"rate":0.05,"service":"healthlake"}"#,
        r#"{"cut":"before","rate":0.03,"service":"healthlake"}"#,
        r#"{"cut":"after","rate":0.03,"service":"healthlake"}"#,
        r#"{"lateMs":900,"rate":0.03,"service":"healthlake"}"#,
        r#"{"delayMs":40,"rate":0.3,"service":"healthlake"}"#,
    ] {
        apps[0].fault(fault);
    }

    // The CDR runs ahead of its sender, which takes from a window in no order.
    let mut window: Vec<(usize, Option<u32>)> = Vec::new();
    let mut running = tokio::task::JoinSet::new();
    let mut made = 0;
    while made < CHANGES || !window.is_empty() || !running.is_empty() {
        while made < CHANGES && window.len() < 6 {
            let resource = random.usize(..RESOURCES);
            let versions = &mut history.lock().unwrap()[resource];
            let next = versions.len() as u32 + 1;
            let alive = versions.last().is_some_and(Option::is_some);
            let change = if alive && random.f64() < 0.3 { None } else { Some(next) };
            versions.push(change);
            window.push((resource, change));
            made += 1;
        }
        while running.len() < WORKERS && !window.is_empty() {
            let (resource, change) = window.swap_remove(random.usize(..window.len()));
            let (apps, turn) = (apps.clone(), random.usize(..2));
            running.spawn(async move { deliver(&*apps, resource, change, turn).await });
        }
        if let Some(ended) = running.join_next().await {
            ended.unwrap();
        }
    }
    // What was given up on may still land.
    tokio::time::sleep(Duration::from_millis(1200)).await;

    let history = history.lock().unwrap().clone();
    never_went_back(&apps[0], &history);
    for resource in 0..RESOURCES {
        let shown = apps[0].stored(&format!("Patient/{resource}"));
        let shown = shown.map(|patient| patient["name"][0]["family"].as_str().unwrap().to_owned());
        let expected = current(&history, resource).map(|version| format!("F{version}"));
        assert_eq!(shown, expected, "Patient/{resource}, seed {seed}");
    }
    println!("{CHANGES} changes, {} writes took effect, {} requests", apps[0].writes(), apps[0].forwarded());
    bench.stop().await;
}

/// The versions that HealthLake showed, per resource: none older than one before, and after a deletion only one
/// that the CDR wrote after a deletion of its own.
fn never_went_back(app: &TestApp, history: &History) {
    let mut newest = HashMap::<String, (u32, bool)>::new();
    for write in app.sandbox.history() {
        let resource: usize = write.key.strip_prefix("Patient/").unwrap().parse().unwrap();
        let (version, deleted) = newest.entry(write.key.clone()).or_insert((0, false));
        if write.interaction == Interaction::Delete {
            *deleted = true;
            continue;
        }
        let put: u32 = write.cdr_version.as_deref().unwrap().parse().unwrap();
        assert!(put >= *version, "{} went back from {version} to {put}", write.key);
        if *deleted {
            let between = &history[resource][*version as usize..put as usize];
            assert!(between.contains(&None), "{} reappeared with {put} after {version}", write.key);
        }
        (*version, *deleted) = (put, false);
    }
}
