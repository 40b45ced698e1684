//! AWS Lambda on loopback: its runtime API, the three ways to call a function by HTTP, and lakehook as the function. As
//! there, the process is frozen when it has answered, until the next event.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::extract::{Path, State};
use axum::routing::{get, post};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::StatusCode;
use lakehook::sandbox::{Config, Fault, Sandbox};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::app::{TOKEN, lakehook};
use super::process::repository;
use crate::dynamodb::bench::{Bench, TABLE};

/// What Lambda takes, events in and answers out (bytes).
const PAYLOAD: usize = 6 << 20;

/// Who calls the function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    RestApi,
    HttpApi,
    FunctionUrl,
}

pub const CALLERS: [Caller; 3] = [Caller::RestApi, Caller::HttpApi, Caller::FunctionUrl];

impl Caller {
    /// A PUT of `Patient/p1`, authenticated.
    pub fn event(self) -> Value {
        let name = match self {
            Self::RestApi => "rest-api",
            Self::HttpApi => "http-api",
            Self::FunctionUrl => "function-url",
        };
        let path = repository().join("fixtures/lambda").join(format!("{name}.json"));
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// Another request, from the same caller by the same way. `path` as in the URL's, without a stage.
    pub fn request(self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Value {
        let mut event = self.event();
        for (name, value) in headers {
            self.header(&mut event, name, value);
        }
        if self == Self::RestApi {
            event["path"] = path.into();
            event["httpMethod"] = method.into();
            event["requestContext"]["path"] = format!("/prod{path}").into();
        } else {
            event["rawPath"] = path.into();
            event["requestContext"]["http"]["method"] = method.into();
            event["requestContext"]["http"]["path"] = path.into();
            self.header(&mut event, "content-length", &body.len().to_string());
        }
        let of = |name: &str| {
            let headers = event["headers"].as_object().unwrap();
            let found = headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
            found.map_or("", |(_, value)| value.as_str().unwrap()).to_owned()
        };
        let textual = ["text/", "application/json", "application/xml", "application/javascript"];
        let text = match self {
            Self::RestApi => of("content-encoding").is_empty(),
            _ => {
                of("content-encoding").is_empty()
                    && textual.iter().any(|kind| of("content-type").starts_with(kind))
            }
        };
        event["isBase64Encoded"] = (!text && !body.is_empty()).into();
        event["body"] = match (body.is_empty(), text) {
            (true, _) => Value::Null,
            (_, true) => std::str::from_utf8(body).unwrap().into(),
            (_, false) => STANDARD.encode(body).into(),
        };
        event
    }

    /// Sets a header, or takes it away where `value` is empty.
    fn header(self, event: &mut Value, name: &str, value: &str) {
        let sets = if self == Self::RestApi { &["headers", "multiValueHeaders"][..] } else { &["headers"] };
        for set in sets {
            let headers = event[*set].as_object_mut().unwrap();
            headers.retain(|key, _| !key.eq_ignore_ascii_case(name));
            if !value.is_empty() {
                let value = if *set == "headers" { json!(value) } else { json!([value]) };
                headers.insert(name.to_owned(), value);
            }
        }
    }
}

/// What the function said to one event.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: HashMap<String, String>,
    pub body: String,
}

impl Answer {
    /// As API Gateway reads it.
    fn read(payload: &Value) -> Self {
        let mut headers = HashMap::new();
        let empty = Map::new();
        for (name, value) in payload["headers"].as_object().unwrap_or(&empty) {
            headers.insert(name.to_ascii_lowercase(), value.as_str().unwrap().to_owned());
        }
        for (name, values) in payload["multiValueHeaders"].as_object().unwrap_or(&empty) {
            let values: Vec<&str> = values.as_array().unwrap().iter().map(|v| v.as_str().unwrap()).collect();
            headers.insert(name.to_ascii_lowercase(), values.join(", "));
        }
        let body = payload["body"].as_str().unwrap_or_default();
        let body = match payload["isBase64Encoded"].as_bool().unwrap_or_default() {
            true => String::from_utf8(STANDARD.decode(body).unwrap()).unwrap(),
            false => body.to_owned(),
        };
        Self { status: payload["statusCode"].as_u64().unwrap().try_into().unwrap(), headers, body }
    }

    pub fn issue(&self) -> Value {
        let outcome: Value =
            serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("not JSON: {self:?}"));
        assert_eq!(self.headers["content-type"], "application/fhir+json; charset=utf-8");
        outcome["issue"][0].clone()
    }

    pub fn verdict(&self) -> String {
        self.issue()["details"]["coding"][0]["code"].as_str().unwrap().to_owned()
    }
}

struct Event {
    id: String,
    payload: Vec<u8>,
    /// When the function's time is up
    ends: u128,
}

type Outcome = Result<Value, Value>;

/// The runtime API.
struct Runtime {
    events: tokio::sync::Mutex<mpsc::UnboundedReceiver<Event>>,
    waiting: Mutex<HashMap<String, oneshot::Sender<Outcome>>>,
    /// The function's process; 0: not known yet.
    pid: AtomicU32,
}

impl Runtime {
    async fn next(State(runtime): State<Arc<Self>>) -> http::Response<axum::body::Body> {
        let event = runtime.events.lock().await.recv().await.expect("the test goes on");
        http::Response::builder()
            .header("content-type", "application/json")
            .header("lambda-runtime-aws-request-id", &event.id)
            .header("lambda-runtime-deadline-ms", event.ends.to_string())
            .header(
                "lambda-runtime-invoked-function-arn",
                "arn:aws:lambda:us-east-1:111122223333:function:lakehook",
            )
            .header(
                "lambda-runtime-trace-id",
                "Root=1-6563a1c0-5c1f0b3e6f0a4d2b7c8e9f01;Parent=53995c3f42cd8ad8;Sampled=0",
            )
            .body(event.payload.into())
            .unwrap()
    }

    async fn answered(
        State(runtime): State<Arc<Self>>,
        Path((id, kind)): Path<(String, String)>,
        payload: Bytes,
    ) -> StatusCode {
        assert!(payload.len() <= PAYLOAD, "an answer larger than Lambda takes");
        let value: Value = serde_json::from_slice(&payload).unwrap();
        // Frozen here and now: what it has not done yet it will not do.
        signal(runtime.pid.load(Ordering::SeqCst), "-STOP");
        let waiting = runtime.waiting.lock().unwrap().remove(&id).expect("an event of ours, answered once");
        let _ = waiting.send(if kind == "response" { Ok(value) } else { Err(value) });
        StatusCode::ACCEPTED
    }
}

fn signal(pid: u32, name: &str) {
    assert!(std::process::Command::new("kill").args([name, &pid.to_string()]).status().unwrap().success());
}

/// One instance of the function before a sandbox, its order in DynamoDB.
pub struct Function {
    pub sandbox: Sandbox,
    runtime: Arc<Runtime>,
    events: mpsc::UnboundedSender<Event>,
    child: Child,
    log: tempfile::NamedTempFile,
}

/// HealthLake, STS and the table, which instances share.
pub struct World {
    pub sandbox: Sandbox,
    pub address: SocketAddr,
    pub table: Bench,
}

impl World {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let sandbox = Sandbox::new(Config::default());
        tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
        Self { sandbox, address, table: Bench::dynalite().await }
    }

    /// The variables of the function, as its template sets them.
    pub fn environment(&self, runtime: &str) -> Vec<(&'static str, String)> {
        let config = self.sandbox.config();
        vec![
            ("AWS_LAMBDA_RUNTIME_API", runtime.to_owned()),
            ("AWS_LAMBDA_FUNCTION_NAME", "lakehook".to_owned()),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "512".to_owned()),
            ("AWS_REGION", config.region.clone()),
            ("AWS_ACCESS_KEY_ID", config.access_key_id.clone()),
            ("AWS_SECRET_ACCESS_KEY", config.secret_access_key.clone()),
            ("LAKEHOOK_HEALTHLAKE_ENDPOINT", self.sandbox.endpoint(self.address)),
            ("LAKEHOOK_ROLE_ARN", format!("arn:aws:iam::{}:role/lakehook", config.account)),
            ("LAKEHOOK_STS_ENDPOINT", format!("http://{}", self.address)),
            ("LAKEHOOK_ORDER_STORE", format!("dynamodb:{TABLE}")),
            ("LAKEHOOK_ORDER_DYNAMODB_ENDPOINT", self.table.endpoint_url().to_owned()),
            // Half a minute is a function's time here, and a slow machine is not what these tests are about.
            ("LAKEHOOK_ORDER_DYNAMODB_TIMEOUT", "3s".to_owned()),
            ("LAKEHOOK_TOKEN", TOKEN.to_owned()),
        ]
    }

    pub async fn function(&self) -> Function {
        self.function_with(&[]).await
    }

    /// With other variables; an empty value takes one away.
    pub async fn function_with(&self, other: &[(&'static str, &str)]) -> Function {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (events, receiver) = mpsc::unbounded_channel();
        let runtime = Arc::new(Runtime {
            events: tokio::sync::Mutex::new(receiver),
            waiting: Mutex::default(),
            pid: AtomicU32::new(0),
        });
        let routes = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(Runtime::next))
            .route("/2018-06-01/runtime/invocation/{id}/{kind}", post(Runtime::answered))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(runtime.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());

        let mut environment = self.environment(&address);
        environment.retain(|(name, _)| !other.iter().any(|(changed, _)| changed == name));
        let other = other.iter().filter(|(_, value)| !value.is_empty());
        environment.extend(other.map(|(name, value)| (*name, (*value).to_owned())));
        let log = tempfile::NamedTempFile::new().unwrap();
        let output = log.reopen().unwrap();
        // As Lambda calls `bootstrap`: without an argument.
        let mut command = lakehook();
        command.envs(environment).stdin(Stdio::null()).stdout(output.try_clone().unwrap()).stderr(output);
        let child = command.kill_on_drop(true).spawn().unwrap();
        runtime.pid.store(child.id().unwrap(), Ordering::SeqCst);
        Function { sandbox: self.sandbox.clone(), runtime, events, child, log }
    }
}

impl Function {
    /// Invokes it with half a minute of time.
    pub async fn invoke(&self, event: &Value) -> Outcome {
        self.invoke_within(event, Duration::from_secs(30)).await
    }

    pub async fn invoke_within(&self, event: &Value, time: Duration) -> Outcome {
        let id = uuid::Uuid::new_v4().to_string();
        let payload = serde_json::to_vec(event).unwrap();
        assert!(payload.len() <= PAYLOAD, "Lambda would refuse it: {} bytes", payload.len());
        let ends = (SystemTime::now() + time).duration_since(UNIX_EPOCH).unwrap().as_millis();
        let (sender, receiver) = oneshot::channel();
        self.runtime.waiting.lock().unwrap().insert(id.clone(), sender);
        self.events.send(Event { id, payload, ends }).unwrap();
        signal(self.runtime.pid.load(Ordering::SeqCst), "-CONT");
        let outcome = timeout(Duration::from_secs(60), receiver).await;
        outcome.unwrap_or_else(|_| panic!("no answer: {}", self.log())).unwrap()
    }

    pub async fn answer(&self, event: &Value) -> Answer {
        let outcome = self.invoke(event).await;
        Answer::read(&outcome.unwrap_or_else(|error| panic!("{error}: {}", self.log())))
    }

    pub async fn answer_within(&self, event: &Value, time: Duration) -> Answer {
        Answer::read(&self.invoke_within(event, time).await.unwrap())
    }

    /// All that it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log.path()).unwrap()
    }

    pub fn fault(&self, json: &str) {
        self.sandbox.add_fault(serde_json::from_str::<Fault>(json).unwrap());
    }

    pub fn forwarded(&self) -> usize {
        self.sandbox.requests().iter().filter(|line| line.path.starts_with("/datastore")).count()
    }

    /// Requests to STS.
    pub fn assumed(&self) -> usize {
        self.sandbox.requests().iter().filter(|line| !line.path.starts_with("/datastore")).count()
    }

    pub fn stored(&self, key: &str) -> Option<String> {
        let resource = self.sandbox.resources().into_iter().find(|resource| resource.key == key)?;
        Some(resource.json.get().to_owned())
    }

    /// Ends it as Lambda does where an extension asks for it.
    pub async fn terminate(&mut self) -> ExitStatus {
        let pid = self.runtime.pid.load(Ordering::SeqCst);
        signal(pid, "-TERM");
        signal(pid, "-CONT");
        timeout(Duration::from_secs(60), self.child.wait()).await.expect("ends").unwrap()
    }

    /// Waits for one that ends by itself.
    pub async fn ended(&mut self) -> (Option<i32>, String) {
        let status = timeout(Duration::from_secs(60), self.child.wait()).await.expect("ends").unwrap();
        (status.code(), self.log())
    }
}

impl Drop for Function {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(!self.log().contains("panicked at"), "lakehook panicked: {}", self.log());
        }
    }
}
