//! The sandbox driven over HTTP, by reqwest and by AWS's own signer.
#![allow(clippy::unwrap_used)]

mod bundles;
mod faults;
mod foreign;
mod inspect;
mod rest;
mod search;
mod signatures;
mod sts;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use serde_json::Value;

use super::*;

/// Temporary or long-lived credentials, as a client holds them.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) key_id: String,
    pub(super) secret: String,
    pub(super) token: Option<String>,
}

/// A sandbox that serves, its clock in the test's hand, and a client that signs.
pub(super) struct Bench {
    pub(super) sandbox: Sandbox,
    pub(super) addr: SocketAddr,
    pub(super) client: reqwest::Client,
    pub(super) held: Held,
    clock: Arc<Mutex<Timestamp>>,
}

#[derive(Debug)]
pub(super) struct Got {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Got {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The one issue of an OperationOutcome: code and diagnostics.
    pub(super) fn issue(&self) -> (String, String) {
        let json = self.json();
        assert_eq!(json["resourceType"], "OperationOutcome", "{json}");
        assert_eq!(self.headers["content-type"], "application/fhir+json");
        let issues = json["issue"].as_array().unwrap();
        assert_eq!(issues.len(), 1, "{json}");
        assert_eq!(issues[0]["severity"], "error");
        let text = |name: &str| issues[0][name].as_str().unwrap().to_owned();
        (text("code"), text("diagnostics"))
    }

    pub(super) fn etag(&self) -> &str {
        self.headers["etag"].to_str().unwrap()
    }
}

/// A request in the making.
pub(super) struct Ask<'a> {
    bench: &'a Bench,
    held: Option<Held>,
    service: &'static str,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Bench {
    pub(super) async fn start(config: Config) -> Self {
        let clock = Arc::new(Mutex::new(Timestamp::now()));
        let hand = clock.clone();
        let sandbox = Sandbox::with_clock(config, Arc::new(move || *lock(&hand)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(sandbox.clone().serve(listener, std::future::pending()));
        let config = sandbox.config();
        let held = Held {
            key_id: config.access_key_id.clone(),
            secret: config.secret_access_key.clone(),
            token: None,
        };
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { sandbox, addr, client, held, clock }
    }

    pub(super) fn advance(&self, by: Duration) {
        let mut clock = lock(&self.clock);
        *clock += by;
    }

    pub(super) fn now(&self) -> Timestamp {
        *lock(&self.clock)
    }

    /// A signed request to a path below the data store's base.
    pub(super) fn ask(&self, method: &'static str, below: &str) -> Ask<'_> {
        let path = format!("/datastore/{}/r4{below}", self.sandbox.config().datastore_id);
        self.ask_at(method, path)
    }

    pub(super) fn ask_at(&self, method: &'static str, path: String) -> Ask<'_> {
        let held = Some(self.held.clone());
        Ask { bench: self, held, service: "healthlake", method, path, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) async fn put(&self, key: &str) -> Got {
        self.ask("PUT", &format!("/{key}")).body(&resource(key)).send().await
    }

    pub(super) async fn get(&self, below: &str) -> Got {
        self.ask("GET", below).send().await
    }

    pub(super) async fn delete(&self, key: &str) -> Got {
        self.ask("DELETE", &format!("/{key}")).send().await
    }

    /// Unsigned, as `/_sandbox/` takes it.
    pub(super) async fn plain(&self, method: &'static str, path: &str, body: &str) -> Got {
        self.ask_at(method, path.to_owned()).body(body).unsigned().send().await
    }

    pub(super) async fn add_fault(&self, json: &str) {
        let got = self.plain("POST", "/_sandbox/faults", json).await;
        assert_eq!(got.status, 200, "{}", got.text);
    }
}

impl Ask<'_> {
    pub(super) fn body(mut self, body: &str) -> Self {
        self.body = body.as_bytes().to_vec();
        self
    }

    pub(super) fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    pub(super) fn unsigned(mut self) -> Self {
        self.held = None;
        self
    }

    pub(super) fn held(mut self, held: &Held) -> Self {
        self.held = Some(held.clone());
        self
    }

    pub(super) fn service(mut self, service: &'static str) -> Self {
        self.service = service;
        self
    }

    pub(super) fn request(self) -> reqwest::Request {
        let url = format!("http://{}{}", self.bench.addr, self.path);
        let host = self.bench.addr.to_string();
        let mut headers = self.headers;
        if let Some(held) = self.held {
            let at = SystemTime::UNIX_EPOCH
                + Duration::from_millis(self.bench.now().as_millisecond().unsigned_abs());
            let identity = Credentials::new(held.key_id, held.secret, held.token, None, "test").into();
            let params = v4::SigningParams::builder()
                .identity(&identity)
                .region(&self.bench.sandbox.config().region)
                .name(self.service)
                .time(at)
                .settings(SigningSettings::default())
                .build()
                .unwrap();
            let all =
                headers.iter().map(|(name, value)| (*name, value.as_str())).chain([("host", host.as_str())]);
            let signable =
                SignableRequest::new(self.method, &url, all, SignableBody::Bytes(&self.body)).unwrap();
            let (instructions, _) = sign(signable, &params.into()).unwrap().into_parts();
            headers.extend(instructions.headers().map(|(name, value)| (leak(name), value.to_owned())));
        }
        let mut request = self.bench.client.request(self.method.parse().unwrap(), &url).body(self.body);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.build().unwrap()
    }

    pub(super) async fn try_send(self) -> Result<Got, reqwest::Error> {
        let client = self.bench.client.clone();
        let answer = client.execute(self.request()).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        Ok(Got { status, headers, text: answer.text().await? })
    }

    pub(super) async fn send(self) -> Got {
        self.try_send().await.unwrap()
    }
}

fn leak(name: &str) -> &'static str {
    String::leak(name.to_owned())
}

/// The smallest resource of a key.
pub(super) fn resource(key: &str) -> String {
    let (kind, id) = key.split_once('/').unwrap();
    format!(r#"{{"resourceType":"{kind}","id":"{id}"}}"#)
}

/// Waits for what another task brings about; how long is no part of the test.
pub(super) async fn eventually(what: impl Fn() -> bool) {
    for _ in 0..2000 {
        if what() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("did not happen within 10 s");
}
