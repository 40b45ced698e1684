//! The program and its commands as processes.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::process::repository;

/// A command that ran beside an instance.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command that runs until it is told to end.
pub struct Running {
    pub(super) child: Child,
    pub(super) log: PathBuf,
}

/// The program under test, without the settings of whoever runs the tests.
pub fn lakehook() -> Command {
    cleared(Command::new(env!("CARGO_BIN_EXE_lakehook")))
}

pub(super) fn cleared(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if ["LAKEHOOK_", "AWS_", "OTEL_"].iter().any(|prefix| name.starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    // Off a cloud's machines nothing answers at IMDS's address, and a test must not ask.
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", "/dev/null");
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

pub(super) fn new_log() -> PathBuf {
    static N: AtomicUsize = AtomicUsize::new(0);
    let name = format!("lakehook-{}-{}.log", std::process::id(), N.fetch_add(1, Ordering::Relaxed));
    let log = repository().join("target/test-logs").join(name);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    log
}

pub(super) async fn spawn(mut command: Command) -> (Child, PathBuf, Vec<String>) {
    let log = new_log();
    let stderr = File::create(&log).unwrap();
    let mut child = command.stdout(Stdio::piped()).stderr(stderr).kill_on_drop(true).spawn().unwrap();
    let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    let ready = async {
        while let Some(line) = stdout.next_line().await.unwrap() {
            let done = line.starts_with("ready ");
            lines.push(line);
            if done {
                break;
            }
        }
    };
    timeout(Duration::from_secs(60), ready).await.expect("ready or ended within a minute");
    (child, log, lines)
}

impl Running {
    /// Both of its outputs
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until the log has a line with all of this.
    pub async fn says(&self, words: &[&str]) {
        for _ in 0..1200 {
            if self.log().lines().any(|line| words.iter().all(|word| line.contains(word))) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no line with {words:?}: {}", self.log());
    }

    pub fn signal(&self, name: &str) {
        let pid = self.child.id().unwrap().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// Its exit code; none where a signal ended it.
    pub async fn ended(&mut self) -> Option<i32> {
        timeout(Duration::from_secs(120), self.child.wait()).await.expect("ends").unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(!self.log().contains("panicked at"), "lakehook panicked, see {}", self.log.display());
            let _ = std::fs::remove_file(&self.log);
        }
    }
}
