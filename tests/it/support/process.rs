//! A foreign server as a child process: its output in a file, its end tied to the test's.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::process::{Child, Command};

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`, which must end when its standard input does: a test that is killed outright runs no
    /// destructor, but its end of that pipe closes (the child handle holds it).
    pub fn start(name: &str, mut command: Command) -> Self {
        let log = repository().join("target/test-logs").join(format!("{name}.log"));
        fs::create_dir_all(log.parent().unwrap()).unwrap();
        let output = File::create(&log).unwrap();
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            // Out of the terminal's group: Ctrl-C reaches the test, and the test's end reaches the child.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .unwrap_or_else(|e| panic!("{name} does not start: {e}"));
        Self { name: name.to_owned(), child, log }
    }

    /// Asks `ready` until it says yes; panics with the log's place when the process ends or `bound` passes first.
    pub async fn ready_within(&mut self, bound: Duration, ready: impl AsyncFn(&Path) -> bool) {
        let start = Instant::now();
        while !ready(&self.log).await {
            let (name, log) = (&self.name, self.log.display());
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{name} ended before it was ready ({status}), see {log}");
            }
            assert!(start.elapsed() < bound, "{name} is not ready after {bound:?}, see {log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Ends it and waits until it is gone, for tests of a server that disappears.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_file(&self.log);
        }
    }
}

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A loopback port that was free a moment ago, for servers that cannot be told to choose one and say which.
pub async fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port()
}

/// A client that ignores the proxies of the environment: everything the tests talk to is on loopback.
pub fn http_client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(60)).build().unwrap()
}
