//! Storms over processes: a CDR that updates, deletes and re-creates, a sender that keeps no order and repeats old
//! bytes, a HealthLake that fails, cuts, stalls and carries out late. Three replicas over one DynamoDB table, or one
//! with a file that is killed again and again. In the end the mirror is equal, and at no moment did a resource go back.
//!
//! `src/simulation` does the same in simulated time, with thousands of seeds that are reproducible; here the wires, the
//! emulator and the processes are real, and so is the clock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures_util::StreamExt;
use lakehook::sandbox::{Interaction, Sandbox};
use reqwest::Method;

use crate::dynamodb::bench::{Bench, TABLE};
use crate::support::app::{Builder, TOKEN, TestApp, patient};
use crate::support::process::http_client;

const RESOURCES: usize = 4;
const CHANGES: usize = 40;
/// Deliveries of one storm at once: as HAPI has them.
const WORKERS: usize = 2;
/// Storms at once.
const ABREAST: usize = 4;

/// Each resource's versions in order; None: a deletion, which takes a number too.
type History = HashMap<String, Vec<Option<u32>>>;

fn current(history: &History, id: &str) -> Option<u32> {
    history.get(id)?.last().copied().flatten()
}

/// The CDR that is asked, and where lakehook is.
#[derive(Clone)]
struct World {
    history: Arc<Mutex<History>>,
    cdr: String,
    endpoints: Arc<Mutex<Vec<String>>>,
    http: reqwest::Client,
}

impl World {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cdr = format!("http://{}/fhir", listener.local_addr().unwrap());
        let history: Arc<Mutex<History>> = Arc::default();
        let shared = history.clone();
        let read = async move |axum::extract::Path(id): axum::extract::Path<String>| {
            let version = current(&shared.lock().unwrap(), &id);
            match version {
                Some(version) => (http::StatusCode::OK, patient(&id, version)),
                None => (http::StatusCode::GONE, String::new()),
            }
        };
        let routes = axum::Router::new().route("/fhir/Patient/{id}", axum::routing::get(read));
        tokio::spawn(axum::serve(listener, routes).into_future());
        Self { history, cdr, endpoints: Arc::default(), http: http_client() }
    }

    /// With times short enough for a test.
    fn settings(&self, builder: Builder) -> Builder {
        builder.arg("--cdr-url", &self.cdr).arg("--deadline", "1s").arg("--order-settle", "2500ms")
    }

    /// Repeats the same bytes until they are taken, as a sender with patience does.
    async fn deliver(&self, id: String, change: Option<u32>, mut turn: usize) {
        let started = Instant::now();
        let mut pause = Duration::from_millis(50);
        loop {
            let endpoint = {
                let endpoints = self.endpoints.lock().unwrap();
                endpoints[turn % endpoints.len()].clone()
            };
            let method = if change.is_some() { Method::PUT } else { Method::DELETE };
            let mut request =
                self.http.request(method, format!("{endpoint}/Patient/{id}")).bearer_auth(TOKEN);
            if let Some(version) = change {
                request = request.header("content-type", "application/fhir+json").body(patient(&id, version));
            }
            // A connection refused or cut is repeated too: a process that was killed.
            if let Ok(answer) = request.send().await {
                let status = answer.status().as_u16();
                if status < 300 {
                    return;
                }
                assert!([409, 429, 502, 503, 504].contains(&status), "{answer:?}");
            }
            assert!(started.elapsed() < Duration::from_secs(180), "{id} {change:?} is never taken");
            tokio::time::sleep(pause).await;
            pause = pause.mul_f64(1.1);
            turn += 1;
        }
    }

    /// The CDR runs ahead of its sender, which takes from a window in no order.
    async fn storm(&self, seed: u64, changes: usize) {
        let mut random = Rng::with_seed(seed);
        let mut window: Vec<(String, Option<u32>)> = Vec::new();
        let mut running = tokio::task::JoinSet::new();
        let mut made = 0;
        while made < changes || !window.is_empty() || !running.is_empty() {
            while made < changes && window.len() < 6 {
                let id = format!("{seed}-{}", random.usize(..RESOURCES));
                let mut history = self.history.lock().unwrap();
                let versions = history.entry(id.clone()).or_default();
                let next = versions.len() as u32 + 1;
                let alive = versions.last().is_some_and(Option::is_some);
                let change = if alive && random.f64() < 0.3 { None } else { Some(next) };
                versions.push(change);
                window.push((id, change));
                made += 1;
            }
            while running.len() < WORKERS && !window.is_empty() {
                let (id, change) = window.swap_remove(random.usize(..window.len()));
                let (world, turn) = (self.clone(), random.usize(..3));
                running.spawn(async move { world.deliver(id, change, turn).await });
            }
            if let Some(ended) = running.join_next().await {
                ended.unwrap();
            }
        }
    }

    /// Once what was given up on has landed.
    async fn judge(&self, app: &TestApp) {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        let history = self.history.lock().unwrap().clone();
        never_went_back(&app.sandbox, &history);
        for id in history.keys() {
            let shown = app.stored(&format!("Patient/{id}"));
            let shown = shown.map(|patient| patient["name"][0]["family"].as_str().unwrap().to_owned());
            let expected = current(&history, id).map(|version| format!("F{version}"));
            assert_eq!(shown, expected, "Patient/{id} (the seed is the first part of the id)");
        }
    }
}

fn faults(app: &TestApp) {
    for fault in [
        r#"{"status":503,"rate":0.05,"service":"healthlake"}"#,
        r#"{"cut":"before","rate":0.03,"service":"healthlake"}"#,
        r#"{"cut":"after","rate":0.03,"service":"healthlake"}"#,
        r#"{"lateMs":900,"rate":0.03,"service":"healthlake"}"#,
        r#"{"delayMs":40,"rate":0.3,"service":"healthlake"}"#,
    ] {
        app.fault(fault);
    }
}

/// The versions that HealthLake showed, per resource: none older than one before, and after a deletion only one
/// that the CDR wrote after a deletion of its own.
fn never_went_back(sandbox: &Sandbox, history: &History) {
    let mut newest = HashMap::<String, (u32, bool)>::new();
    for write in sandbox.history() {
        let id = write.key.strip_prefix("Patient/").unwrap();
        let (version, deleted) = newest.entry(write.key.clone()).or_insert((0, false));
        if write.interaction == Interaction::Delete {
            *deleted = true;
            continue;
        }
        let put: u32 = write.cdr_version.as_deref().unwrap().parse().unwrap();
        assert!(put >= *version, "{} went back from {version} to {put}", write.key);
        if *deleted {
            let between = &history[id][*version as usize..put as usize];
            assert!(between.contains(&None), "{} reappeared with {put} after {version}", write.key);
        }
        (*version, *deleted) = (put, false);
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// The seed says which changes are made and in which order they are delivered; what meets what is the machine's doing.
#[tokio::test]
#[allow(clippy::print_stdout)]
async fn storms_over_three_replicas_end_equal_and_never_go_back() {
    let storms = variable("LAKEHOOK_TEST_STORMS").unwrap_or(24);
    let first = variable("LAKEHOOK_TEST_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("LAKEHOOK_TEST_SEED={first}, {storms} storms");
    let world = World::start().await;
    let bench = Bench::dynalite().await;
    let with = |builder: Builder| {
        let builder = builder.arg("--order-store", format!("dynamodb:{TABLE}"));
        world.settings(builder.arg("--order-dynamodb-endpoint", bench.endpoint_url()))
    };
    let app = with(TestApp::builder()).start().await;
    let others = [
        with(TestApp::builder()).start_beside(&app).await,
        with(TestApp::builder()).start_beside(&app).await,
    ];
    let replicas = std::iter::once(&app).chain(&others);
    world.endpoints.lock().unwrap().extend(replicas.map(|app| app.endpoint().to_owned()));
    faults(&app);
    let all = (first..first + storms).map(|seed| world.storm(seed, CHANGES));
    futures_util::stream::iter(all).buffer_unordered(ABREAST).collect::<Vec<()>>().await;
    world.judge(&app).await;
    let (changes, writes) = (storms as usize * CHANGES, app.writes());
    println!("{changes} changes, {writes} writes took effect, {} requests", app.forwarded());
    bench.stop().await;
}

/// `kill -9` in mid-storm, again and again. What the file remembers, and what it makes of what it can't know, is enough.
#[tokio::test]
#[allow(clippy::print_stdout)]
async fn storms_over_a_file_that_is_killed_end_equal_and_never_go_back() {
    const KILLS: usize = 5;
    let seed = variable("LAKEHOOK_TEST_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("LAKEHOOK_TEST_SEED={seed}");
    let world = World::start().await;
    let directory = tempfile::tempdir().unwrap();
    let with = |builder: Builder| world.settings(builder.arg("--data-dir", directory.path().display()));
    let mut app = with(TestApp::builder()).start().await;
    world.endpoints.lock().unwrap().push(app.endpoint().to_owned());
    faults(&app);
    // So long as it takes to be killed so often, and a little longer.
    let storming = world.clone();
    let storms = tokio::spawn(async move {
        let all = (0..3 * ABREAST as u64).map(|n| storming.storm(seed + n, CHANGES));
        futures_util::stream::iter(all).buffer_unordered(ABREAST).collect::<Vec<()>>().await;
    });
    let mut kills = 0;
    let mut random = Rng::with_seed(seed);
    while kills < KILLS && !storms.is_finished() {
        tokio::time::sleep(Duration::from_millis(random.u64(300..1500))).await;
        app.kill().await;
        kills += usize::from(!storms.is_finished());
        let next = with(TestApp::builder()).start_beside(&app).await;
        world.endpoints.lock().unwrap()[0] = next.endpoint().to_owned();
        app = next;
    }
    storms.await.unwrap();
    world.judge(&app).await;
    println!("{kills} kills, {} writes took effect, {} requests", app.writes(), app.forwarded());
    assert!(kills >= 2, "too few kills in mid-storm");
}
