//! What a test changes before lakehook starts, and the start.

use std::net::SocketAddr;
use std::time::Duration;

use lakehook::sandbox::{Config, Sandbox};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;

use super::app::{TOKEN, TestApp};
use super::process::http_client;
use super::program::{cleared, lakehook, spawn};

/// What a test changes before the start.
pub struct Builder {
    pub(super) config: Config,
    pub(super) arguments: Vec<String>,
    pub(super) environment: Vec<(String, String)>,
    pub(super) token: bool,
    pub(super) role: bool,
    pub(super) tail: Option<String>,
    /// Of open files: as the shell's `ulimit` has it
    pub(super) limit: Option<String>,
}

impl Builder {
    pub fn sandbox(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub fn arg(mut self, flag: &str, value: impl ToString) -> Self {
        self.arguments.extend([flag.to_owned(), value.to_string()]);
        self
    }

    pub fn flag(mut self, flag: &str) -> Self {
        self.arguments.push(flag.to_owned());
        self
    }

    pub fn env(mut self, name: &str, value: impl ToString) -> Self {
        self.environment.push((name.to_owned(), value.to_string()));
        self
    }

    /// What stands behind the data store's id in the endpoint.
    pub fn tail(mut self, tail: &str) -> Self {
        self.tail = Some(tail.to_owned());
        self
    }

    /// Without the default bearer token.
    pub fn no_token(mut self) -> Self {
        self.token = false;
        self
    }

    /// Signs with the sandbox's long-lived credentials instead of a role's.
    pub fn no_role(mut self) -> Self {
        self.role = false;
        self
    }

    /// Of open files, as a shell sets it that leaves the hard one alone.
    pub fn soft_limit_of_files(mut self, files: usize) -> Self {
        self.limit = Some(format!("-Sn {files}"));
        self
    }

    pub fn hard_limit_of_files(mut self, files: usize) -> Self {
        self.limit = Some(format!("-n {files}"));
        self
    }

    pub async fn start(self) -> TestApp {
        let (sandbox, address) = self.start_sandbox().await;
        let endpoint = match &self.tail {
            Some(tail) => format!("http://{address}/datastore/{}{tail}", sandbox.config().datastore_id),
            None => sandbox.endpoint(address),
        };
        self.start_at(sandbox, address, &endpoint).await
    }

    /// Another replica before the same HealthLake.
    pub async fn start_beside(self, first: &TestApp) -> TestApp {
        let (sandbox, address) = (first.sandbox.clone(), first.sandbox_address);
        let endpoint = sandbox.endpoint(address);
        self.start_at(sandbox, address, &endpoint).await
    }

    /// With HealthLake somewhere else than at the sandbox; STS is still there.
    pub async fn start_before(self, healthlake: &str) -> TestApp {
        let (sandbox, address) = self.start_sandbox().await;
        self.start_at(sandbox, address, healthlake).await
    }

    async fn start_sandbox(&self) -> (Sandbox, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sandbox = Sandbox::new(self.config.clone());
        tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
        (sandbox, address)
    }

    async fn start_at(self, sandbox: Sandbox, address: SocketAddr, endpoint: &str) -> TestApp {
        let config = sandbox.config();
        let mut settings = vec![
            ("LAKEHOOK_HEALTHLAKE_ENDPOINT".to_owned(), endpoint.to_owned()),
            // A flag beats a variable: what a test says of STS counts.
            ("LAKEHOOK_STS_ENDPOINT".to_owned(), format!("http://{address}")),
            ("LAKEHOOK_REGION".to_owned(), config.region.clone()),
            ("LAKEHOOK_LOG_FORMAT".to_owned(), "json".to_owned()),
            ("AWS_ACCESS_KEY_ID".to_owned(), config.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY".to_owned(), config.secret_access_key.clone()),
        ];
        if self.token {
            settings.push(("LAKEHOOK_TOKEN".to_owned(), TOKEN.to_owned()));
        }
        if self.role {
            let role = format!("arn:aws:iam::{}:role/lakehook", config.account);
            settings.push(("LAKEHOOK_ROLE_ARN".to_owned(), role));
        }
        settings.extend(self.environment);
        let mut command = match &self.limit {
            None => lakehook(),
            Some(limit) => cleared({
                let mut shell = Command::new("sh");
                let script = format!("ulimit {limit} && exec \"$0\" \"$@\"");
                shell.args(["-c", &script, env!("CARGO_BIN_EXE_lakehook")]);
                shell
            }),
        };
        command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.args(self.arguments).envs(settings.clone());
        let (child, log, lines) = spawn(command).await;
        let find = |name: &str| lines.iter().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
        let endpoint = find("ready ").unwrap_or_else(|| panic!("not ready, see {}", log.display()));
        let admin = admin_address(&log).await;
        TestApp {
            sandbox,
            sandbox_address: address,
            http: http_client(),
            child,
            log,
            endpoint,
            admin,
            settings,
        }
    }
}

/// The log says where the admin address is when its port was 0.
async fn admin_address(log: &std::path::Path) -> String {
    for _ in 0..200 {
        for line in std::fs::read_to_string(log).unwrap().lines() {
            if let Ok(line) = serde_json::from_str::<Value>(line)
                && let Some(address) = line["admin"].as_str()
            {
                return format!("http://{address}");
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the log does not name the admin address: {}", log.display());
}
