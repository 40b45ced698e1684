//! A program as a child process: its output in a file, its end by its own handle.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::process::{Child, Command};

use crate::Result;

pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Its output goes to `NAME.log` in `logs`. Its standard input stays open until it is dropped.
    pub fn start(name: &str, logs: &Path, mut command: Command) -> Result<Self> {
        let log = logs.join(format!("{name}.log"));
        let output = File::create(&log)?;
        let child = command
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Out of the terminal's group: Ctrl-C reaches the storm, and the storm ends its children.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("{name} does not start: {error}"))?;
        Ok(Self { name: name.to_owned(), child, log })
    }

    /// Waits for a line that begins with `prefix`, and returns its rest.
    pub async fn said(&mut self, prefix: &str, bound: Duration) -> Result<String> {
        let start = Instant::now();
        loop {
            let text = fs::read_to_string(&self.log).unwrap_or_default();
            // A line that is still being written has no end yet.
            let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
            if let Some(rest) = whole.lines().find_map(|line| line.strip_prefix(prefix)) {
                return Ok(rest.trim().to_owned());
            }
            let (name, log) = (&self.name, self.log.display());
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("{name} ended before it was ready ({status}), see {log}").into());
            }
            if start.elapsed() > bound {
                return Err(format!("{name} is not ready after {bound:?}, see {log}").into());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub fn pid(&self) -> Result<u32> {
        self.child.id().ok_or_else(|| format!("{} has ended, see {}", self.name, self.log.display()).into())
    }

    pub fn log(&self) -> &Path {
        &self.log
    }

    /// `kill -9`
    pub async fn kill(&mut self) -> Result<()> {
        Ok(self.child.kill().await?)
    }

    /// SIGTERM, and its end; beyond `bound` it is killed, and that is said.
    pub async fn terminate(&mut self, bound: Duration) -> Result<bool> {
        if let Some(pid) = self.child.id() {
            Command::new("kill").args(["-TERM", &pid.to_string()]).status().await?;
        }
        match tokio::time::timeout(bound, self.child.wait()).await {
            Ok(status) => Ok(status?.success()),
            Err(_) => {
                self.child.kill().await?;
                Ok(false)
            }
        }
    }

    /// Whether it ended although nobody ended it.
    pub fn ended(&mut self) -> Result<Option<String>> {
        Ok(self
            .child
            .try_wait()?
            .map(|status| format!("{} ended by itself ({status}), see {}", self.name, self.log.display())))
    }
}

/// A loopback port that was free a moment ago.
pub async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// A client that ignores the environment's proxies: everything is on loopback.
pub fn http_client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(120)).build()?)
}

/// Without the settings of whoever runs it.
pub fn clean(program: &Path) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("LAKEHOOK_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", "/dev/null");
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

/// Milliseconds since the epoch
pub fn now() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}
