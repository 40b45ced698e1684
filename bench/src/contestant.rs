//! The programs that are measured: each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use clap::Args;
use procfs::process::Process;

use crate::Result;
use crate::upstream::{Upstream, free_port, wait_for};

pub const TOKEN: &str = "token-of-the-benchmark";
/// Of `/proc`'s times; it is 100 on every Linux that matters.
const TICKS: f64 = 100.0;

pub struct Contestant {
    pub name: String,
    pub address: SocketAddr,
    /// Before `Type/id`
    pub base_path: &'static str,
    command: Option<Command>,
    child: Option<Child>,
    pid: Option<u32>,
}

/// Where the programs are that are measured.
#[derive(Args)]
pub struct Programs {
    /// Where `lakehook` and `bare-proxy` are
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// aws-sigv4-proxy as shipped, if there is one
    #[arg(long)]
    sigv4_proxy: Option<PathBuf>,
    /// aws-sigv4-proxy with its idle pool raised
    #[arg(long)]
    sigv4_proxy_tuned: Option<PathBuf>,
    /// Another build of lakehook, to be measured beside
    #[arg(long)]
    lakehook_before: Option<PathBuf>,
    /// Only these contestants
    #[arg(long)]
    only: Vec<String>,
    /// The processor that each of them has for itself, as `taskset -c` names it; else all of them
    #[arg(long)]
    pin: Option<String>,
}

impl Programs {
    /// Those that were asked for, not started yet.
    pub fn all(&self, upstream: &Upstream) -> Result<Vec<Contestant>> {
        let mut all = vec![nginx(upstream), self.bare(upstream)?, self.lakehook(upstream)?];
        if upstream.ca.is_none() {
            all.push(contestant("direct", upstream.port, "", None));
        }
        if let Some(program) = &self.lakehook_before {
            let mut before = lakehook(program, upstream)?;
            before.name = "lakehook-before".into();
            all.push(before);
        }
        let peers =
            [("aws-sigv4-proxy", &self.sigv4_proxy), ("aws-sigv4-proxy-tuned", &self.sigv4_proxy_tuned)];
        for (name, program) in peers {
            if let Some(program) = program {
                all.push(sigv4_proxy(name, program, upstream)?);
            }
        }
        all.retain(|contestant| self.only.is_empty() || self.only.contains(&contestant.name));
        if let Some(processor) = &self.pin {
            for contestant in &mut all {
                let command = contestant.command.take();
                contestant.command = command.map(|command| under("taskset", &["-c", processor], &command));
            }
        }
        Ok(all)
    }

    pub fn bare(&self, upstream: &Upstream) -> Result<Contestant> {
        bare(&self.programs.join("bare-proxy"), upstream)
    }

    pub fn lakehook(&self, upstream: &Upstream) -> Result<Contestant> {
        lakehook(&self.programs.join("lakehook"), upstream)
    }
}

/// The same command, run by another program.
fn under(program: &str, arguments: &[&str], command: &Command) -> Command {
    let mut outer = Command::new(program);
    outer.args(arguments).arg(command.get_program()).args(command.get_args());
    outer.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    outer
}

fn contestant(name: &str, port: u16, base_path: &'static str, command: Option<Command>) -> Contestant {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Contestant { name: name.to_owned(), address, base_path, command, child: None, pid: None }
}

/// It runs already, with the upstream.
fn nginx(upstream: &Upstream) -> Contestant {
    let mut nginx = contestant("nginx-proxy-pass", upstream.nginx_proxy_port, "", None);
    nginx.pid = upstream.proxy_pid;
    nginx
}

fn bare(program: &Path, upstream: &Upstream) -> Result<Contestant> {
    let port = free_port()?;
    let mut command = Command::new(program);
    command.arg(format!("127.0.0.1:{port}")).arg(&upstream.url).args(&upstream.ca);
    Ok(contestant("axum-reqwest", port, "", Some(command)))
}

/// As it is delivered: authentication, strict validation, order memory, signature, metrics, a log line each.
fn lakehook(program: &Path, upstream: &Upstream) -> Result<Contestant> {
    let (port, admin) = (free_port()?, free_port()?);
    let mut command = Command::new(program);
    command.args([
        "serve",
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--token",
        TOKEN,
        "--log-format",
        "json",
    ]);
    command.args(["--admin-listen", &format!("127.0.0.1:{admin}"), "--region", "us-east-1"]);
    command.args(["--healthlake-endpoint", &format!("{}/datastore/bench/r4", upstream.url)]);
    if let Some(ca) = &upstream.ca {
        command.arg("--ca-file").arg(ca);
    }
    command.args(["--max-in-flight", "4096", "--max-bytes-in-flight", "4GiB", "--drain-delay", "0s"]);
    aws(&mut command);
    Ok(contestant("lakehook", port, "/fhir", Some(command)))
}

fn sigv4_proxy(name: &str, program: &Path, upstream: &Upstream) -> Result<Contestant> {
    let port = free_port()?;
    let scheme = if upstream.ca.is_some() { "https" } else { "http" };
    let mut command = Command::new(program);
    command.args(["--name", "healthlake", "--region", "us-east-1", "--port", &format!("127.0.0.1:{port}")]);
    command.args(["--host", &format!("localhost:{}", upstream.port), "--upstream-url-scheme", scheme]);
    if upstream.ca.is_some() {
        command.arg("--no-verify-ssl");
    }
    aws(&mut command);
    Ok(contestant(name, port, "", Some(command)))
}

fn aws(command: &mut Command) {
    command
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
    command.env("AWS_REGION", "us-east-1").env("AWS_EC2_METADATA_DISABLED", "true");
}

impl Contestant {
    /// Its instructions are counted and written to `out` when it ends.
    pub fn under_callgrind(&mut self, out: &Path) {
        if let Some(command) = self.command.take() {
            let file = format!("--callgrind-out-file={}", out.display());
            self.command = Some(under("valgrind", &["--tool=callgrind", "--quiet", &file], &command));
        }
    }

    pub fn spawn(&mut self) -> Result<()> {
        if let Some(mut command) = self.command.take() {
            // The log is written, to a pipe that ends nowhere: writing it is a part of the work.
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
            self.pid = Some(child.id());
            self.child = Some(child);
        }
        Ok(())
    }

    /// Until it listens
    pub async fn start(&mut self) -> Result<()> {
        self.spawn()?;
        wait_for(self.address.port()).await
    }

    /// Asks it to end, and waits until it has.
    pub fn stop(mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            Command::new("kill").arg(child.id().to_string()).status()?;
            child.wait()?;
        }
        Ok(())
    }

    /// None: what is measured has no process of its own.
    fn processes(&self) -> Result<Vec<Process>> {
        let Some(pid) = self.pid else { return Ok(Vec::new()) };
        let pid = i32::try_from(pid)?;
        let mut all = vec![Process::new(pid)?];
        for other in procfs::process::all_processes()?.flatten() {
            if other.stat().is_ok_and(|stat| stat.ppid == pid) {
                all.push(other);
            }
        }
        Ok(all)
    }

    /// Processor time so far, with that of its workers
    pub fn cpu(&self) -> Result<Duration> {
        let mut ticks = 0;
        for process in self.processes()? {
            let stat = process.stat()?;
            ticks += stat.utime + stat.stime;
        }
        Ok(Duration::from_secs_f64(ticks as f64 / TICKS))
    }

    /// The most memory it had at once (bytes)
    pub fn peak_bytes(&self) -> Result<u64> {
        let mut peak = 0;
        for process in self.processes()? {
            peak += process.status()?.vmhwm.unwrap_or_default() * 1024;
        }
        Ok(peak)
    }
}

impl Drop for Contestant {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
