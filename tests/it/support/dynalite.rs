//! dynalite, an emulator of DynamoDB in JavaScript: a second opinion beside moto's, and the strict one under
//! concurrency.

use std::env;
use std::path::PathBuf;
use std::time::Duration;

use tokio::process::Command;

use super::process::{Process, repository};

/// `./test` installs what is in JavaScript and names the directory of its packages.
pub fn node_modules() -> PathBuf {
    env::var_os("LAKEHOOK_TEST_NODE_MODULES")
        .map_or_else(|| repository().join("target/node/node_modules"), PathBuf::from)
}

pub struct Dynalite {
    process: Process,
    endpoint_url: String,
}

impl Dynalite {
    pub async fn start() -> Self {
        let mut command = Command::new("node");
        command.arg(repository().join("tests/foreign/dynalite_serve.js")).arg(node_modules());
        // The port is known only once it runs, and the log's name must differ from every other's.
        let name = format!("dynalite-{}", uuid::Uuid::new_v4().simple());
        let mut process = Process::start(&name, command);
        let port = std::sync::OnceLock::new();
        process
            .ready_within(Duration::from_secs(60), async |log| {
                let said = std::fs::read_to_string(log).unwrap_or_default();
                let said = said.split_once("listening on ").and_then(|(_, rest)| rest.split_once('.'));
                said.is_some_and(|(number, _)| port.set(number.to_owned()).is_ok())
            })
            .await;
        Self { process, endpoint_url: format!("http://127.0.0.1:{}", port.get().unwrap()) }
    }

    pub fn endpoint_url(&self) -> &str {
        &self.endpoint_url
    }

    /// Dropping it stops it too, but does not wait.
    pub async fn stop(mut self) {
        self.process.kill().await;
    }
}
