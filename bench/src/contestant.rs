//! The programs that are measured: each a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use procfs::process::Process;

use crate::upstream::{Upstream, free_port, wait_for};
use crate::{Load, Result};

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

pub struct Programs<'a> {
    directory: &'a Path,
    sigv4: Option<&'a PathBuf>,
    tuned: Option<&'a PathBuf>,
}

impl<'a> Programs<'a> {
    pub fn of(load: &'a Load) -> Self {
        Self {
            directory: &load.programs,
            sigv4: load.sigv4_proxy.as_ref(),
            tuned: load.sigv4_proxy_tuned.as_ref(),
        }
    }

    pub fn all(&self, upstream: &Upstream) -> Result<Vec<Contestant>> {
        let mut all = vec![
            nginx(upstream),
            bare(&self.directory.join("bare-proxy"), upstream)?,
            lakehook(&self.directory.join("lakehook"), upstream)?,
        ];
        for (name, program) in [("aws-sigv4-proxy", self.sigv4), ("aws-sigv4-proxy-tuned", self.tuned)] {
            if let Some(program) = program {
                all.push(sigv4_proxy(name, program, upstream)?);
            }
        }
        Ok(all)
    }
}

fn contestant(name: &str, port: u16, base_path: &'static str, command: Option<Command>) -> Contestant {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    Contestant { name: name.to_owned(), address, base_path, command, child: None, pid: None }
}

/// It runs already, with the upstream.
fn nginx(upstream: &Upstream) -> Contestant {
    let mut nginx = contestant("nginx-proxy-pass", upstream.nginx_proxy_port, "", None);
    nginx.pid = Some(upstream.proxy_pid);
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
    command.args(["--max-in-flight", "4096", "--max-bytes-in-flight", "4GiB"]);
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
    pub async fn start(&mut self) -> Result<()> {
        if let Some(mut command) = self.command.take() {
            // The log is written, to a pipe that ends nowhere: writing it is a part of the work.
            let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
            let child = child.map_err(|error| format!("{}: {error}", command.get_program().display()))?;
            self.pid = Some(child.id());
            self.child = Some(child);
        }
        wait_for(self.address.port()).await
    }

    fn processes(&self) -> Result<Vec<Process>> {
        let pid = i32::try_from(self.pid.ok_or("not started")?)?;
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
