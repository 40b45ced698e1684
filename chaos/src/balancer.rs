//! haproxy before the replicas, and its log: the only witness of what HAPI sent and was answered that is neither
//! HAPI nor lakehook.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use tokio::process::Command;

use crate::Result;
use crate::process::{Process, free_port};

pub struct Balancer {
    process: Process,
    pub port: u16,
}

/// One request of HAPI's, when it was answered.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// `Type/id`
    pub key: String,
    pub delete: bool,
    /// HAPI's version, out of `If-Match`
    pub version: Option<usize>,
    /// When it came (milliseconds since the epoch)
    pub at: u64,
    /// As HAPI saw it; none: its connection ended without an answer
    pub status: Option<u16>,
}

impl Attempt {
    pub fn taken(&self) -> bool {
        self.status.is_some_and(|status| (200..300).contains(&status))
    }
}

impl Balancer {
    pub async fn start(directory: &Path, replicas: &[u16]) -> Result<Self> {
        let port = free_port().await?;
        let mut servers = String::new();
        for (n, replica) in replicas.iter().enumerate() {
            writeln!(servers, "  server r{n} 127.0.0.1:{replica} check inter 300ms fall 1 rise 1")?;
        }
        // docs/load-balancer.md: health by /healthz, one retry and only where no connection came about, a time limit
        // above --deadline.
        let config = format!(
            r#"global
  log stdout format raw local0 info
defaults
  mode http
  log global
  timeout connect 1s
  timeout client 30s
  timeout server 15s
  retries 1
  option redispatch 1
frontend deliveries
  bind 127.0.0.1:{port}
  http-request set-var(txn.came) date(0,ms)
  http-request capture req.hdr(If-Match) len 24
  log-format "delivery %[var(txn.came)] %HM %HP %ST %[capture.req.hdr(0)]"
  default_backend replicas
backend replicas
  balance roundrobin
  option httpchk GET /healthz
{servers}"#
        );
        let path = directory.join("haproxy.cfg");
        std::fs::write(&path, config)?;
        let mut command = Command::new("haproxy");
        command.arg("-db").arg("-f").arg(&path);
        let process = Process::start("haproxy", directory, command)
            .map_err(|error| format!("{error}; Debian: apt install haproxy"))?;
        let mut balancer = Self { process, port };
        for _ in 0..200 {
            if let Some(ended) = balancer.process.ended()? {
                return Err(ended.into());
            }
            if tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_ok() {
                return Ok(balancer);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err("haproxy does not listen after 10 s".into())
    }

    /// In the order of their answers.
    pub fn attempts(&self) -> Result<Vec<Attempt>> {
        Ok(std::fs::read_to_string(self.process.log())?.lines().filter_map(attempt).collect())
    }
}

fn attempt(line: &str) -> Option<Attempt> {
    let mut words = line.strip_prefix("delivery ")?.split(' ');
    let at = words.next()?.parse().ok()?;
    let method = words.next()?;
    let key = words.next()?.strip_prefix("/fhir/")?.to_owned();
    let status = words.next()?.parse::<i32>().ok()?;
    let version = words.next()?.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok();
    Some(Attempt { key, delete: method == "DELETE", version, at, status: u16::try_from(status).ok() })
}

/// What HAPI's side of the storm was.
#[derive(Debug, Default, serde::Serialize)]
pub struct Traffic {
    pub attempts: usize,
    pub taken: usize,
    /// Repetitions of what had been sent before
    pub retries: usize,
    /// How often each status was the answer; 0: none
    pub answers: BTreeMap<u16, usize>,
}

impl Traffic {
    pub fn of(attempts: &[Attempt]) -> Self {
        let mut traffic = Self::default();
        let mut upserts = BTreeSet::new();
        // A DELETE says nothing of its version: each that was not taken comes again.
        for attempt in attempts {
            traffic.attempts += 1;
            traffic.taken += usize::from(attempt.taken());
            *traffic.answers.entry(attempt.status.unwrap_or_default()).or_default() += 1;
            let again = match attempt.delete {
                true => !attempt.taken(),
                false => !upserts.insert((&attempt.key, attempt.version)),
            };
            traffic.retries += usize::from(again);
        }
        traffic
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_is_read() {
        let put = attempt(r#"delivery 1795565843503 PUT /fhir/Patient/p-1 503 W/"12""#).expect("a delivery");
        assert_eq!((put.key.as_str(), put.delete, put.version), ("Patient/p-1", false, Some(12)));
        assert_eq!((put.at, put.status, put.taken()), (1_795_565_843_503, Some(503), false));
        let delete = attempt("delivery 1795565843512 DELETE /fhir/Patient/p-1 -1 -").expect("a delivery");
        assert_eq!((delete.delete, delete.version, delete.status), (true, None, None));
        assert!(attempt("Server replicas/r0 is DOWN, reason: Layer4").is_none());
    }
}
