//! lakehook as a process of its own before a sandbox in this one: what goes in, what takes effect and what is
//! logged are all seen from outside.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use lakehook::sandbox::{Config, Fault, Sandbox};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::process::Child;
use tokio::time::timeout;

pub use super::answer::{Answer, patient, send};
pub use super::builder::Builder;
use super::program::new_log;
pub use super::program::{Ran, Running, lakehook};

pub const TOKEN: &str = "test-token-of-the-cdr";

pub struct TestApp {
    pub sandbox: Sandbox,
    pub sandbox_address: SocketAddr,
    pub http: reqwest::Client,
    pub(super) child: Child,
    pub(super) log: PathBuf,
    /// `http(s)://ADDR/fhir`
    pub(super) endpoint: String,
    pub(super) admin: String,
    pub(super) settings: Vec<(String, String)>,
}

impl TestApp {
    pub fn builder() -> Builder {
        Builder {
            config: Config::default(),
            arguments: Vec::new(),
            environment: Vec::new(),
            token: true,
            role: true,
            tail: None,
            limit: None,
        }
    }

    pub async fn start() -> Self {
        Self::builder().start().await
    }

    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    pub fn address(&self) -> &str {
        self.endpoint.split('/').nth(2).unwrap()
    }

    pub fn origin(&self) -> String {
        self.endpoint.rsplit_once("/fhir").unwrap().0.to_owned()
    }

    /// A request to `{base}{path}`, authenticated.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.endpoint)).bearer_auth(TOKEN)
    }

    pub async fn put(&self, path: &str, json: impl Into<reqwest::Body>) -> Answer {
        send(self.request(Method::PUT, path).header("content-type", "application/fhir+json").body(json)).await
    }

    pub async fn post(&self, path: &str, json: impl Into<reqwest::Body>) -> Answer {
        send(self.request(Method::POST, path).header("content-type", "application/fhir+json").body(json))
            .await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        send(self.request(Method::DELETE, path)).await
    }

    pub async fn admin(&self, path: &str) -> Answer {
        send(self.http.get(format!("{}{path}", self.admin))).await
    }

    /// A command with the instance's settings in its environment; `arguments` may add to them.
    pub async fn command(&self, arguments: &[&str]) -> Ran {
        self.command_within(arguments, Duration::from_secs(300)).await
    }

    pub async fn command_within(&self, arguments: &[&str], bound: Duration) -> Ran {
        let mut command = lakehook();
        command.args(arguments).envs(self.settings.clone()).stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(bound, command.output()).await.expect("ends").unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
    }

    /// As [`TestApp::command`], of one that goes on.
    pub fn spawn(&self, arguments: &[&str]) -> Running {
        let log = new_log();
        let mut command = lakehook();
        command.args(arguments).envs(self.settings.clone()).stdin(Stdio::null()).kill_on_drop(true);
        let output = File::create(&log).unwrap();
        let child = command.stdout(output.try_clone().unwrap()).stderr(output).spawn().unwrap();
        Running { child, log }
    }

    /// A command that runs until it is killed, or is dropped.
    pub fn start_command(&self, arguments: &[&str]) -> Child {
        let mut command = lakehook();
        command.args(arguments).envs(self.settings.clone()).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap()
    }

    pub fn admin_address(&self) -> &str {
        &self.admin
    }

    pub async fn set_log(&self, filter: &str) -> Answer {
        send(self.http.put(format!("{}/log", self.admin)).body(filter.to_owned())).await
    }

    pub async fn health(&self, path: &str) -> u16 {
        let url = format!("{}{path}", self.origin());
        self.http.get(url).send().await.map_or(0, |answer| answer.status().as_u16())
    }

    pub fn fault(&self, json: &str) {
        self.sandbox.add_fault(serde_json::from_str::<Fault>(json).unwrap());
    }

    /// `Type/id` of what is alive at HealthLake.
    pub fn alive(&self) -> Vec<String> {
        self.sandbox.resources().into_iter().map(|resource| resource.key).collect()
    }

    /// A resource as HealthLake holds it.
    pub fn stored(&self, key: &str) -> Option<Value> {
        let resource = self.sandbox.resources().into_iter().find(|resource| resource.key == key)?;
        Some(serde_json::from_str(resource.json.get()).unwrap())
    }

    /// Requests that reached HealthLake, STS's not among them.
    pub fn forwarded(&self) -> usize {
        self.sandbox.requests().iter().filter(|line| line.path.starts_with("/datastore")).count()
    }

    pub fn writes(&self) -> usize {
        self.sandbox.history().len()
    }

    /// With the lines that were still being gathered.
    pub fn log(&self) -> String {
        std::thread::sleep(Duration::from_millis(100));
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Lines of the log about deliveries, once there are at least `n`.
    pub async fn delivery_lines(&self, n: usize) -> Vec<Value> {
        for _ in 0..500 {
            let lines: Vec<Value> = self
                .log()
                .lines()
                .filter_map(|line| serde_json::from_str::<Value>(line).ok())
                .filter(|line| line["target"] == "lakehook::delivery")
                .collect();
            if lines.len() >= n {
                return lines;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("fewer than {n} delivery lines: {}", self.log());
    }

    pub async fn delivery_in_flight(&self) -> usize {
        let text = self.admin("/metrics").await.body;
        let line = text.lines().find_map(|line| line.strip_prefix("lakehook_in_flight "));
        line.unwrap().parse().unwrap()
    }

    pub fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// As a crash does: nothing is said good-bye to.
    pub async fn kill(&mut self) {
        self.child.kill().await.unwrap();
    }

    pub async fn ended(&mut self) -> ExitStatus {
        timeout(Duration::from_secs(60), self.child.wait()).await.expect("ends within a minute").unwrap()
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        // A task that crashed in the background is a failure, whatever the test looked at.
        let crashed = text.contains("panicked at");
        if !std::thread::panicking() {
            assert!(!crashed, "lakehook panicked, see {}", self.log.display());
            let _ = std::fs::remove_file(&self.log);
        }
    }
}
