//! Clients that mean harm, against the real process: what they send is refused or cut, its memory stays within bounds,
//! and honest clients are served meanwhile. docs/security.md has the table.
//!
//! Bounds of memory are generous and are for growth: what an attack may cost, not what it costs.

// What was seen, for those who look with --nocapture.
#![allow(clippy::print_stdout)]

mod bodies;
mod connections;
mod heads;
mod http2;
mod paths;
mod smuggling;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::Client;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::support::app::{Builder, TOKEN, TestApp, patient};

/// Until somebody is cut or answered; nothing is measured by it.
const LONG: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;

/// With a deadline that is not what decides, however slow the machine is meanwhile.
fn builder() -> Builder {
    TestApp::builder().arg("--deadline", "28s")
}

/// The memory of the process under test.
struct Memory {
    pid: u32,
    before: u64,
}

impl Memory {
    /// After it has warmed up: what a first delivery allocates for good is no attack's.
    async fn of(app: &TestApp) -> Self {
        let warm = (0..8).map(|n| app.put("/Patient/warm", patient("warm", n)));
        futures_util::future::join_all(warm).await;
        let pid = app.pid();
        Self { pid, before: status(pid, "VmRSS") }
    }

    /// At no time since [`Memory::of`] it was more by `most` bytes.
    fn grew_within(&self, most: u64) {
        // VmHWM is the peak since the start, which was lower than the attack's or else is an upper bound all the same.
        let peak = status(self.pid, "VmHWM");
        let (before, grown) = (self.before / MIB, peak.saturating_sub(self.before));
        assert!(
            grown < most,
            "grew by {} MiB from {before} MiB; the bound is {} MiB",
            grown / MIB,
            most / MIB
        );
        println!("memory: {before} MiB, and at most {} MiB more", grown / MIB);
    }
}

/// A line of /proc/PID/status (bytes).
fn status(pid: u32, name: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    line.trim().strip_suffix(" kB").unwrap().trim().parse::<u64>().unwrap() * 1024
}

/// Delivers one resource after the other, each on a new connection, for as long as an attack goes on.
struct Honest {
    stop: Arc<AtomicBool>,
    running: JoinHandle<usize>,
}

impl Honest {
    fn start(app: &TestApp) -> Self {
        let client = Client::builder().no_proxy().timeout(LONG).pool_max_idle_per_host(0).build().unwrap();
        Self::start_with(app, client)
    }

    /// `client` opens a connection for each.
    fn start_with(app: &TestApp, client: Client) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, endpoint) = (stop.clone(), app.endpoint().to_owned());
        let running = tokio::spawn(async move {
            let mut served = 0;
            while !stopped.load(Ordering::SeqCst) || served < 5 {
                served += 1;
                let id = format!("honest-{served}");
                let put = client
                    .put(format!("{endpoint}/Patient/{id}"))
                    .bearer_auth(TOKEN)
                    .header("content-type", "application/fhir+json")
                    .body(patient(&id, 1));
                let answer =
                    put.send().await.unwrap_or_else(|error| panic!("{id} was not served: {error:?}"));
                assert_eq!(answer.status(), 201, "{id}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            served
        });
        Self { stop, running }
    }

    /// All of them were served.
    async fn were_served(self) {
        self.stop.store(true, Ordering::SeqCst);
        let served = timeout(LONG, self.running).await.expect("served").unwrap();
        println!("{served} honest deliveries meanwhile");
    }
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.address()).await.unwrap()
}

/// All that comes until the other side ends the connection.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    timeout(LONG, async {
        let mut buffer = [0; 4096];
        // A reset is an end too.
        while let Ok(read @ 1..) = stream.read(&mut buffer).await {
            bytes.extend(&buffer[..read]);
        }
    })
    .await
    .expect("the connection ends");
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends it; what is answered until the other side ends, or until nothing comes for a while and we end.
async fn exchange(app: &TestApp, bytes: &[u8]) -> String {
    let (mut read, mut write) = connect(app).await.into_split();
    let bytes = bytes.to_vec();
    let writing = tokio::spawn(async move {
        // The other side may end before all is sent.
        let _ = write.write_all(&bytes).await;
        write
    });
    let (mut came, mut buffer) = (Vec::new(), [0; 4096]);
    // A reset is an end too.
    while let Ok(Ok(count @ 1..)) = timeout(Duration::from_millis(1500), read.read(&mut buffer)).await {
        came.extend(&buffer[..count]);
    }
    writing.abort();
    String::from_utf8_lossy(&came).into_owned()
}

/// Statuses of the answers in what came.
fn statuses(came: &str) -> Vec<u16> {
    came.match_indices("HTTP/1.").map(|(at, _)| came[at + 9..at + 12].parse().unwrap()).collect()
}

/// As many connections as `wanted`, or as the limit of open files lets this process have. The process under test has the
/// same limit.
fn connections_within_limit(wanted: usize) -> usize {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    let files = getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| files.try_into().unwrap());
    // Other tests run in this process at the same time.
    let most = wanted.min(files.saturating_sub(2_000));
    if most < wanted {
        println!("only {most} connections, not {wanted}: the hard limit of open files is {files}");
    }
    most
}
