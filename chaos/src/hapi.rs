//! The real HAPI FHIR JPA server (tests/hapi), with its database in a file, so that it can be restarted.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http::StatusCode;
use reqwest::Method;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::process::{Process, free_port, http_client};
use crate::{Result, kinds};

const FHIR_JSON: &str = "application/fhir+json";

pub struct Hapi {
    process: Process,
    directory: PathBuf,
    port: u16,
    starts: usize,
    pub url: String,
    pub http: reqwest::Client,
}

impl Hapi {
    pub async fn start(directory: &Path) -> Result<Self> {
        let port = free_port().await?;
        Ok(Self {
            process: launch(directory, port, 0).await?,
            directory: directory.to_owned(),
            port,
            starts: 1,
            url: format!("http://127.0.0.1:{port}/fhir"),
            http: http_client()?,
        })
    }

    /// In good order; what it had still to deliver and kept only in memory is gone.
    pub async fn restart(&mut self) -> Result<()> {
        // H2 has a second's commits in memory, and a CDR that forgets what it has committed is another fault than this one.
        tokio::time::sleep(Duration::from_secs(3)).await;
        self.process.terminate(Duration::from_secs(20)).await?;
        self.process = launch(&self.directory, self.port, self.starts).await?;
        self.starts += 1;
        Ok(())
    }

    /// One Subscription for each group of types.
    pub async fn subscribe(&self, endpoint: &str, token: &str) -> Result<()> {
        for (n, group) in kinds::GROUPS.iter().enumerate() {
            let deletes = json!({
                "url": "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages",
                "valueBoolean": true,
            });
            let subscription = json!({
                "resourceType": "Subscription", "id": format!("storm-{n}"), "status": "requested", "reason": "storm",
                "criteria": format!("[{}]", group.join(",")),
                "channel": {
                    "type": "rest-hook", "endpoint": endpoint, "payload": FHIR_JSON,
                    "header": [format!("Authorization: Bearer {token}")], "extension": [deletes],
                },
            });
            self.ask(Method::PUT, &format!("Subscription/storm-{n}"), Some(&subscription)).await?;
        }
        for n in 0..kinds::GROUPS.len() {
            let mut tries = 0;
            while self.read(&format!("Subscription/storm-{n}")).await?.is_none_or(|s| s["status"] != "active")
            {
                tries += 1;
                if tries > 600 {
                    return Err("HAPI does not activate the Subscriptions within a minute".into());
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
        Ok(())
    }

    /// An interaction that has to succeed; HAPI's own collisions (409, 5xx) are tried again. The answer's version, if
    /// any, its location and its body.
    pub async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Answer> {
        let mut last = String::new();
        for attempt in 0..8 {
            tokio::time::sleep(Duration::from_millis(200 * attempt)).await;
            let url = if path.is_empty() { self.url.clone() } else { format!("{}/{path}", self.url) };
            let mut request = self.http.request(method.clone(), url).header(ACCEPT, FHIR_JSON);
            if let Some(body) = body {
                request = request.header(CONTENT_TYPE, FHIR_JSON).body(body.to_string());
            }
            if !path.is_empty() {
                request = request.header("prefer", "return=minimal");
            }
            let response = request.send().await?;
            let status = response.status();
            let header = |name: &str| response.headers().get(name).and_then(|value| value.to_str().ok());
            let (version, location) =
                (header("etag").and_then(version), header("location").map(str::to_owned));
            let text = response.text().await?;
            if status.is_success() {
                let body = serde_json::from_str(&text).unwrap_or_default();
                return Ok(Answer { version, location, body });
            }
            last = format!(
                "HAPI answers {method} {path} with {status}: {}",
                text.chars().take(600).collect::<String>()
            );
            if !(status == StatusCode::CONFLICT || status.is_server_error()) {
                break;
            }
        }
        Err(last.into())
    }

    /// As it is now; none where it is deleted or never was.
    pub async fn read(&self, key: &str) -> Result<Option<Value>> {
        let response = self.http.get(format!("{}/{key}", self.url)).header(ACCEPT, FHIR_JSON).send().await?;
        match response.status() {
            StatusCode::NOT_FOUND | StatusCode::GONE => Ok(None),
            _ => Ok(Some(response.error_for_status()?.json().await?)),
        }
    }
}

pub struct Answer {
    pub version: Option<usize>,
    pub location: Option<String>,
    pub body: Value,
}

/// `W/"7"`
pub fn version(etag: &str) -> Option<usize> {
    etag.trim_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

async fn launch(directory: &Path, port: u16, start: usize) -> Result<Process> {
    let mut command = Command::new(crate::repository().join("tests/hapi/run-hapi"));
    let database = directory.join("hapi");
    command.arg(port.to_string()).args(["-Dhapi.stopWithStdin=true", "-Dhapi.submitIntervalMs=200"]);
    command.arg(format!("-Dhapi.database={}", database.display()));
    let mut process = Process::start(&format!("hapi-{start}"), directory, command)?;
    process.said("READY ", Duration::from_secs(300)).await?;
    Ok(process)
}
