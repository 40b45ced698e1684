//! A real HAPI FHIR JPA server (see `tests/hapi`), the sender that lakehook is judged with.

use std::fs;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;

use super::process::{Process, free_port, http_client, repository};

const FHIR_JSON: &str = "application/fhir+json";

pub struct Hapi {
    process: Process,
    base_url: String,
    http: reqwest::Client,
}

impl Hapi {
    /// With 200 ms instead of HAPI's 5 s between hand-ons of saved changes to Subscriptions.
    pub async fn start() -> Self {
        Self::start_with(&["-Dhapi.submitIntervalMs=200"]).await
    }

    /// With JVM options; `tests/hapi/README.md` lists HAPI's own.
    pub async fn start_with(options: &[&str]) -> Self {
        let port = free_port().await;
        let mut command = Command::new(repository().join("tests/hapi/run-hapi"));
        command.arg(port.to_string()).arg("-Dhapi.stopWithStdin=true").args(options);
        let mut process = Process::start(&format!("hapi-{port}"), command);
        // 9 to 15 s on 2 idle cores; the rest is for busy ones, or for a build that nobody prepared.
        process
            .ready_within(Duration::from_secs(240), async |log| {
                fs::read_to_string(log).unwrap().lines().any(|line| line.starts_with("READY "))
            })
            .await;
        Self { process, base_url: format!("http://127.0.0.1:{port}/fhir"), http: http_client() }
    }

    pub fn base_url(&self) -> &str {
        &self.base_url
    }

    /// Dropping it stops it too, but does not wait.
    pub async fn stop(mut self) {
        self.process.kill().await;
    }

    /// Creates or updates, and returns what HAPI stored (with `meta.versionId`).
    pub async fn put(&self, r#type: &str, id: &str, resource: &Value) -> Value {
        let mut resource = resource.clone();
        resource["resourceType"] = r#type.into();
        resource["id"] = id.into();
        stored(self.http.put(self.url(&format!("{type}/{id}"))).json(&resource)).await
    }

    /// As [`Hapi::put`], of a text that says everything itself: a `Value` would spell 1.50 as 1.5.
    pub async fn put_text(&self, key: &str, json: &str) {
        stored(self.http.put(self.url(key)).body(json.to_owned())).await;
    }

    /// A Binary as raw bytes, the way a browser or a scanner would store it.
    pub async fn put_binary(&self, id: &str, content_type: &str, bytes: Vec<u8>) -> Value {
        let put = self.http.put(self.url(&format!("Binary/{id}"))).body(bytes);
        succeed(put.header(CONTENT_TYPE, content_type).header(ACCEPT, FHIR_JSON)).await.json().await.unwrap()
    }

    /// Creates under an id that HAPI chooses, and returns what it stored.
    pub async fn post(&self, r#type: &str, resource: &Value) -> Value {
        let mut resource = resource.clone();
        resource["resourceType"] = r#type.into();
        stored(self.http.post(self.url(r#type)).json(&resource)).await
    }

    pub async fn delete(&self, r#type: &str, id: &str) {
        succeed(self.http.delete(self.url(&format!("{type}/{id}")))).await;
    }

    /// A Bundle of type `transaction` or `batch`; returns the response Bundle.
    pub async fn transaction(&self, bundle: &Value) -> Value {
        stored(self.http.post(&self.base_url).json(bundle)).await
    }

    /// The current version, or none where the resource is deleted or never was.
    pub async fn read(&self, r#type: &str, id: &str) -> Option<Value> {
        let get = self.http.get(self.url(&format!("{type}/{id}"))).header(ACCEPT, FHIR_JSON);
        let response = get.send().await.unwrap();
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => None,
            _ => Some(response.error_for_status().unwrap().json().await.unwrap()),
        }
    }

    /// As [`Hapi::read`], in HAPI's own spelling.
    pub async fn read_text(&self, key: &str) -> Option<String> {
        let get = self.http.get(self.url(key)).header(ACCEPT, FHIR_JSON);
        let response = get.send().await.unwrap();
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => None,
            _ => Some(response.error_for_status().unwrap().text().await.unwrap()),
        }
    }

    /// As [`Hapi::transaction`], of a text.
    pub async fn transaction_text(&self, bundle: &str) -> Value {
        stored(self.http.post(&self.base_url).body(bundle.to_owned())).await
    }

    /// What it printed: an ERROR with a stack trace for every delivery that failed.
    pub fn log(&self) -> String {
        self.process.log()
    }

    /// A rest-hook Subscription; HAPI delivers for it once [`Hapi::wait_active`] returns.
    pub async fn subscribe(
        &self,
        id: &str,
        criteria: &str,
        endpoint: &str,
        payload: Option<&str>,
        headers: &[&str],
        extensions: &[Value],
    ) -> Value {
        let mut channel = json!({ "type": "rest-hook", "endpoint": endpoint });
        // FHIR knows no empty arrays and no nulls.
        if let Some(payload) = payload {
            channel["payload"] = payload.into();
        }
        if !headers.is_empty() {
            channel["header"] = json!(headers);
        }
        if !extensions.is_empty() {
            channel["extension"] = json!(extensions);
        }
        let subscription =
            json!({ "status": "requested", "reason": "test", "criteria": criteria, "channel": channel });
        self.put("Subscription", id, &subscription).await
    }

    /// HAPI turns `requested` into `active` within two of its submit intervals.
    pub async fn wait_active(&self, id: &str) {
        let start = Instant::now();
        loop {
            let subscription = self.read("Subscription", id).await.unwrap();
            if subscription["status"] == "active" {
                return;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "still not active: {subscription}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base_url)
    }
}

/// One of HAPI's Subscription extensions; they belong on the channel.
pub fn extension(name: &str, value: impl Into<Value>) -> Value {
    let value = value.into();
    let kind = if value.is_boolean() { "valueBoolean" } else { "valueString" };
    json!({ "url": format!("http://hapifhir.io/fhir/StructureDefinition/{name}"), kind: value })
}

pub fn send_deletes() -> Value {
    extension("subscription-send-delete-messages", true)
}

pub fn deliver_latest_version() -> Value {
    extension("subscription-resthook-deliver-latest-version", true)
}

async fn stored(request: RequestBuilder) -> Value {
    succeed(request.header(CONTENT_TYPE, FHIR_JSON)).await.json().await.unwrap()
}

/// HAPI's OperationOutcome is the best explanation of a failed test.
async fn succeed(request: RequestBuilder) -> Response {
    let response = request.send().await.unwrap();
    let (status, url) = (response.status(), response.url().clone());
    if status.is_success() {
        return response;
    }
    panic!("{url}: {status}: {}", response.text().await.unwrap_or_default());
}
