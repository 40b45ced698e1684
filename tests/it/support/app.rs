//! lakehook as a process of its own before a sandbox in this one: what goes in, what takes effect and what is
//! logged are all seen from outside.

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use lakehook::sandbox::{Config, Fault, Sandbox};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::process::{http_client, repository};

pub const TOKEN: &str = "test-token-of-the-cdr";

pub struct TestApp {
    pub sandbox: Sandbox,
    pub sandbox_address: SocketAddr,
    pub http: reqwest::Client,
    child: Child,
    log: PathBuf,
    /// `http(s)://ADDR/fhir`
    endpoint: String,
    admin: String,
    settings: Vec<(String, String)>,
}

/// A command that ran beside an instance.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

/// A command that runs until it is told to end.
pub struct Running {
    child: Child,
    log: PathBuf,
}

/// What a test changes before the start.
pub struct Builder {
    config: Config,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    token: bool,
    role: bool,
    tail: Option<String>,
    /// Of open files: as the shell's `ulimit` has it
    limit: Option<String>,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
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

/// The program under test, without the settings of whoever runs the tests.
pub fn lakehook() -> Command {
    cleared(Command::new(env!("CARGO_BIN_EXE_lakehook")))
}

fn cleared(mut command: Command) -> Command {
    for (name, _) in std::env::vars() {
        if name.starts_with("LAKEHOOK_") || name.starts_with("AWS_") {
            command.env_remove(name);
        }
    }
    // Off a cloud's machines nothing answers at IMDS's address, and a test must not ask.
    command.env("AWS_EC2_METADATA_DISABLED", "true").env("AWS_CONFIG_FILE", "/dev/null");
    command.env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command
}

fn new_log() -> PathBuf {
    static N: AtomicUsize = AtomicUsize::new(0);
    let name = format!("lakehook-{}-{}.log", std::process::id(), N.fetch_add(1, Ordering::Relaxed));
    let log = repository().join("target/test-logs").join(name);
    std::fs::create_dir_all(log.parent().unwrap()).unwrap();
    log
}

async fn spawn(mut command: Command) -> (Child, PathBuf, Vec<String>) {
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

pub async fn send(request: RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    Answer {
        status: answer.status().as_u16(),
        headers: answer.headers().clone(),
        body: answer.text().await.unwrap(),
    }
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"))
    }

    /// The verdict that the OperationOutcome names.
    pub fn verdict(&self) -> String {
        self.json()["issue"][0]["details"]["coding"][0]["code"].as_str().unwrap().to_owned()
    }

    pub fn diagnostics(&self) -> String {
        self.json()["issue"][0]["diagnostics"].as_str().unwrap().to_owned()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

pub fn patient(id: &str, version: u32) -> String {
    format!(
        r#"{{"resourceType":"Patient","id":"{id}","meta":{{"versionId":"{version}"}},"active":true,"name":[{{"family":"F{version}"}}]}}"#
    )
}
