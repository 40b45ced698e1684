//! SMART backend services before an authorization server that is not ours: joserfc judges the assertions.

use std::time::Duration;

use tokio::process::Command;

use super::{ANY_PORT, Ran, SANDBOX, SECRET, directory, file, run};
use crate::support::process::{Process, free_port, repository};

struct Smart {
    process: Process,
    keys: tempfile::TempDir,
    base: String,
}

impl Smart {
    async fn start() -> Self {
        let python = std::env::var("LAKEHOOK_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned());
        let (port, keys) = (free_port().await, directory());
        let mut command = Command::new(python);
        command.arg(repository().join("tests/foreign/smart_server.py"));
        command.arg(port.to_string()).arg(keys.path());
        let mut process = Process::start(&format!("smart-{port}"), command);
        let ready = async |log: &std::path::Path| std::fs::read_to_string(log).unwrap().contains("READY");
        process.ready_within(Duration::from_secs(60), ready).await;
        Self { process, keys, base: format!("http://127.0.0.1:{port}/fhir") }
    }

    fn key(&self, name: &str) -> String {
        self.keys.path().join(name).to_str().unwrap().to_owned()
    }

    async fn check(&self, arguments: &[&str]) -> Ran {
        let cdr = ["--cdr-url", &self.base, "--cdr-oauth-client-id", "me"];
        run(&[&["check"][..], &SANDBOX, &ANY_PORT, &cdr, arguments].concat()).await
    }
}

#[tokio::test]
async fn its_assertions_are_believed() {
    let mut smart = Smart::start().await;
    let (rsa, ec, jwk) = (smart.key("rsa.pem"), smart.key("ec.pem"), smart.key("ec.jwk"));
    for arguments in [
        &["--cdr-oauth-key-file", &rsa, "--cdr-oauth-key-id", "rsa-1"][..],
        &["--cdr-oauth-key-file", &ec, "--cdr-oauth-key-id", "ec-1"],
        &["--cdr-oauth-key-file", &jwk],
    ] {
        let ran = smart.check(arguments).await;
        ran.row("CDR", "ok", &["A SMART CDR"]);
        ran.row("Subscriptions", "warning", &["none of 0"]);
    }

    // Another key under the same kid; a client that the CDR does not know by a secret.
    let ran = smart.check(&["--cdr-oauth-key-file", &rsa, "--cdr-oauth-key-id", "ec-1"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("CDR", "failed", &["--cdr-oauth-token-url", "invalid_client", "--cdr-oauth-key-file"]);
    let secret = file(&smart.keys, "secret", SECRET);
    let ran = smart.check(&["--cdr-oauth-client-secret-file", secret.to_str().unwrap()]).await;
    ran.row("CDR", "failed", &["invalid_request", "--cdr-oauth-client-secret"]);
    smart.process.kill().await;
}
