//! Everything the storm goes through: a real HAPI, haproxy, replicas over one order table, the sandbox behind them.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;

use crate::balancer::Balancer;
use crate::process::{Process, clean, free_port, http_client};
use crate::relay::Relay;
use crate::sandbox::Sandbox;
use crate::{Result, faults, repository};

pub const TOKEN: &str = "token-of-the-storm";
const TABLE: &str = "lakehook-order";
/// Long enough for haproxy to see that a replica ends
const DRAIN_DELAY: &str = "2s";

/// What stands between HAPI and HealthLake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarder {
    Lakehook,
    /// Signs and passes on, and knows nothing of order: the figure to compare with
    PassThrough,
}

pub struct Stand {
    pub directory: PathBuf,
    pub lakehook: PathBuf,
    pub forwarder: Forwarder,
    pub sandbox: Arc<Sandbox>,
    pub relay: Relay,
    pub balancer: Balancer,
    pub cdr: String,
    pub replicas: Vec<Replica>,
    /// libfaketime, where it is installed
    pub skew: Option<PathBuf>,
    _dynalite: Process,
}

pub struct Replica {
    process: Option<Process>,
    port: u16,
    starts: usize,
}

impl Stand {
    pub async fn start(
        directory: &Path,
        lakehook: &Path,
        forwarder: Forwarder,
        cdr: String,
        replicas: usize,
    ) -> Result<Self> {
        let base = faults::by_chance();
        let sandbox = Arc::new(Sandbox::start(lakehook, directory, faults::SESSION_LIFETIME, base).await?);
        let (dynalite, upstream) = dynalite(directory).await?;
        let relay = Relay::start(upstream).await?;
        let mut all = Vec::new();
        for _ in 0..replicas {
            all.push(Replica { process: None, port: free_port().await?, starts: 0 });
        }
        let ports: Vec<u16> = all.iter().map(|replica| replica.port).collect();
        let balancer = Balancer::start(directory, &ports).await?;
        let mut stand = Self {
            directory: directory.to_owned(),
            lakehook: lakehook.to_owned(),
            forwarder,
            sandbox,
            relay,
            balancer,
            cdr,
            replicas: all,
            skew: faketime(),
            _dynalite: dynalite,
        };
        for n in 0..replicas {
            stand.start_replica(n).await?;
        }
        Ok(stand)
    }

    pub async fn start_replica(&mut self, n: usize) -> Result<()> {
        let (port, start) = (self.replicas[n].port, self.replicas[n].starts);
        let command = match self.forwarder {
            Forwarder::Lakehook => self.lakehook_command(n, port),
            Forwarder::PassThrough => self.pass_through_command(port)?,
        };
        let mut process = Process::start(&format!("replica-{n}.{start}"), &self.directory, command)?;
        process.said("ready ", Duration::from_secs(60)).await?;
        self.replicas[n] = Replica { process: Some(process), port, starts: start + 1 };
        Ok(())
    }

    pub async fn kill(&mut self, n: usize) -> Result<()> {
        match &mut self.replicas[n].process {
            Some(process) => process.kill().await,
            None => Ok(()),
        }
    }

    /// SIGTERM; whether it ended in good order
    pub async fn terminate(&mut self, n: usize) -> Result<bool> {
        match &mut self.replicas[n].process {
            Some(process) => process.terminate(Duration::from_secs(30)).await,
            None => Ok(true),
        }
    }

    /// A replica that ended although nobody ended it has crashed.
    pub fn crashed(&mut self) -> Result<Vec<String>> {
        let mut crashed = Vec::new();
        for replica in &mut self.replicas {
            if let Some(process) = &mut replica.process {
                crashed.extend(process.ended()?);
            }
        }
        Ok(crashed)
    }

    /// A command of lakehook with the replicas' settings
    pub fn lakehook(&self, command: &str) -> Command {
        let mut lakehook = clean(&self.lakehook);
        lakehook.arg(command);
        lakehook.args(["--healthlake-endpoint", &self.sandbox.endpoint, "--sts-endpoint", &self.sandbox.url]);
        lakehook.args(["--region", "us-east-1", "--role-arn", "arn:aws:iam::111122223333:role/lakehook"]);
        lakehook.args(["--order-store", &format!("dynamodb:{TABLE}"), "--cdr-url", &self.cdr]);
        lakehook.args(["--order-dynamodb-endpoint", &self.relay.url]);
        if self.skew.is_some() {
            lakehook.args(["--order-clock-skew", faults::CLOCK_SKEW]);
        }
        lakehook
            .env("AWS_ACCESS_KEY_ID", &self.sandbox.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &self.sandbox.secret_access_key);
        lakehook
    }

    /// Its settings are the defaults, but where a storm of minutes needs another one.
    fn lakehook_command(&self, n: usize, port: u16) -> Command {
        let mut command = self.lakehook("serve");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--admin-listen", "127.0.0.1:0"]);
        command.args(["--token", TOKEN, "--drain-delay", DRAIN_DELAY, "--log-format", "json"]);
        if let (Some(library), Some(offset)) = (&self.skew, faults::OFFSETS.get(n).filter(|o| **o != "+0")) {
            command.env("LD_PRELOAD", library).env("FAKETIME", offset);
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
        }
        command
    }

    fn pass_through_command(&self, port: u16) -> Result<Command> {
        let mut command = clean(&std::env::current_exe()?);
        command.args(["pass-through", &format!("127.0.0.1:{port}"), &self.sandbox.endpoint]);
        command
            .env("AWS_ACCESS_KEY_ID", &self.sandbox.access_key_id)
            .env("AWS_SECRET_ACCESS_KEY", &self.sandbox.secret_access_key);
        Ok(command)
    }

    /// What HAPI's Subscriptions name
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/fhir", self.balancer.port)
    }
}

/// Debian's package faketime; a clock that is wrong is only there with it.
fn faketime() -> Option<PathBuf> {
    let libraries = std::fs::read_dir("/usr/lib").ok()?.flatten();
    libraries.map(|entry| entry.path().join("faketime/libfaketimeMT.so.1")).find(|library| library.exists())
}

/// With its table, and where it listens.
async fn dynalite(directory: &Path) -> Result<(Process, String)> {
    let modules = std::env::var_os("LAKEHOOK_TEST_NODE_MODULES")
        .map_or_else(|| repository().join("target/node/node_modules"), PathBuf::from);
    if !modules.join("dynalite").exists() {
        return Err(format!("dynalite is not in {}: ./test installs it", modules.display()).into());
    }
    let mut command = Command::new("node");
    command.arg(repository().join("tests/foreign/dynalite_serve.js")).arg(modules);
    let mut process = Process::start("dynalite", directory, command)?;
    let port = process.said("listening on ", Duration::from_secs(60)).await?;
    let address = format!("127.0.0.1:{}", port.trim_end_matches('.'));
    let table = json!({
        "TableName": TABLE, "BillingMode": "PAY_PER_REQUEST",
        "AttributeDefinitions": [{ "AttributeName": "pk", "AttributeType": "S" }],
        "KeySchema": [{ "AttributeName": "pk", "KeyType": "HASH" }],
    });
    let request = http_client()?
        .post(format!("http://{address}/"))
        .header("x-amz-target", "DynamoDB_20120810.CreateTable")
        .header("x-amz-date", "20260101T000000Z")
        .header("content-type", "application/x-amz-json-1.0")
        // It asks for a signature and does not check it.
        .header(
            "authorization",
            "AWS4-HMAC-SHA256 Credential=AKID/20260101/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0",
        )
        .body(table.to_string());
    let response = request.send().await?;
    if !response.status().is_success() {
        return Err(format!("dynalite makes no table: {}", response.text().await?).into());
    }
    Ok((process, address))
}
