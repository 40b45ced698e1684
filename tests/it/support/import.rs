//! HealthLake's control plane as far as imports and exports go: Start and Describe of both jobs in JSON 1.0. An import
//! reads NDJSON from S3 and writes its manifest and failure files there, an export writes what a sandbox holds, as the
//! real ones do.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use aws_sdk_s3::Client;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use lakehook::sandbox::Sandbox;
use serde_json::{Value, json};

#[derive(Clone)]
pub struct ControlPlane {
    pub url: String,
    state: Arc<Mutex<Jobs>>,
    s3: Client,
}

#[derive(Default)]
struct Jobs {
    /// By client token
    started: HashMap<String, (String, Value)>,
    looks: u32,
    /// `Type/id` and the whole line
    imported: BTreeMap<String, String>,
    /// Keys that are refused
    refuse: Vec<String>,
    results: Option<Value>,
    exports: Vec<(String, Value)>,
    /// Where exports are made from
    sandbox: Option<Sandbox>,
    /// How exports end
    fails: Option<String>,
}

impl ControlPlane {
    pub async fn start(s3: Client) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let plane = Self { url, state: Arc::default(), s3 };
        let router = axum::Router::new().fallback(call).with_state(plane.clone());
        tokio::spawn(axum::serve(listener, router).into_future());
        plane
    }

    pub fn refuse(&self, key: &str) {
        self.state.lock().unwrap().refuse.push(key.to_owned());
    }

    pub fn exports_from(&self, sandbox: &Sandbox) {
        self.state.lock().unwrap().sandbox = Some(sandbox.clone());
    }

    /// Exports fail, for this reason; or do again.
    pub fn exports_fail(&self, message: Option<&str>) {
        self.state.lock().unwrap().fails = message.map(str::to_owned);
    }

    /// What was asked for, of each export.
    pub fn exports(&self) -> Vec<Value> {
        self.state.lock().unwrap().exports.iter().map(|(_, request)| request.clone()).collect()
    }

    pub fn imported(&self) -> BTreeMap<String, String> {
        self.state.lock().unwrap().imported.clone()
    }

    pub fn starts(&self) -> Vec<Value> {
        self.state.lock().unwrap().started.values().map(|(_, request)| request.clone()).collect()
    }

    fn start_job(&self, request: &Value) -> Value {
        let mut state = self.state.lock().unwrap();
        let token = request["ClientToken"].as_str().unwrap().to_owned();
        let next = format!("{:032x}", state.started.len() + 1);
        let (id, _) = state.started.entry(token).or_insert((next, request.clone())).clone();
        json!({ "JobId": id, "JobStatus": "SUBMITTED", "DatastoreId": request["DatastoreId"] })
    }

    async fn describe(&self, request: &Value) -> Value {
        let id = request["JobId"].as_str().unwrap().to_owned();
        let (asked, looks) = {
            let mut state = self.state.lock().unwrap();
            state.looks += 1;
            let (_, asked) = state.started.values().find(|(known, _)| *known == id).unwrap().clone();
            (asked, state.looks)
        };
        if looks > 2 && self.state.lock().unwrap().results.is_none() {
            let results = self.import(&id, &asked).await;
            self.state.lock().unwrap().results = Some(results);
        }
        let results = self.state.lock().unwrap().results.clone();
        let status = match &results {
            None => "IN_PROGRESS",
            Some(results) if results["refused"] == 0 => "COMPLETED",
            Some(_) => "COMPLETED_WITH_ERRORS",
        };
        let mut job = json!({
            "JobId": id, "JobStatus": status, "SubmitTime": 1_790_000_000.5, "DatastoreId": asked["DatastoreId"],
            "InputDataConfig": asked["InputDataConfig"], "JobOutputDataConfig": asked["JobOutputDataConfig"],
        });
        if let Some(results) = results {
            job["JobProgressReport"] = json!({ "TotalNumberOfResourcesImported": results["imported"] });
        }
        json!({ "ImportJobProperties": job })
    }

    async fn import(&self, id: &str, asked: &Value) -> Value {
        let input = place(asked["InputDataConfig"]["S3Uri"].as_str().unwrap());
        let output = place(asked["JobOutputDataConfig"]["S3Configuration"]["S3Uri"].as_str().unwrap());
        let folder = format!("{}{}-FHIR_IMPORT-{id}", output.1, asked["DatastoreId"].as_str().unwrap());
        let list = self.s3.list_objects_v2().bucket(&input.0).prefix(&input.1).send().await.unwrap();
        let (mut imported, mut refused) = (0, 0);
        for object in list.contents() {
            let key = object.key().unwrap();
            let body = self.s3.get_object().bucket(&input.0).key(key).send().await.unwrap();
            let text = String::from_utf8(body.body.collect().await.unwrap().to_vec()).unwrap();
            assert!(text.ends_with('\n') && key.ends_with(".ndjson"), "{key}");
            let (mut failures, mut successes) = (String::new(), String::new());
            for (at, line) in text.lines().enumerate() {
                let resource: Value = serde_json::from_str(line).unwrap();
                let name = format!(
                    "{}/{}",
                    resource["resourceType"].as_str().unwrap(),
                    resource["id"].as_str().unwrap()
                );
                let mut state = self.state.lock().unwrap();
                if state.refuse.contains(&name) {
                    refused += 1;
                    // Not JSON, as AWS prints it.
                    failures.push_str(&format!(
                        "{{\"lineId\":{},UpdateResourceResponse:{{\"jsonBlob\":{{\"resourceType\":\"OperationOutcome\",\"issue\":[{{\"severity\":\"error\",\"code\":\"processing\",\"diagnostics\":\"MARK\"}}]}},\"statusCode\":400}}\n",
                        at + 1
                    ));
                } else {
                    imported += 1;
                    successes.push_str(&format!("{{\"lineId\":{}}}\n", at + 1));
                    state.imported.insert(name, line.to_owned());
                }
            }
            let file = key.rsplit('/').next().unwrap();
            for (kind, text) in [("FAILURE", failures), ("SUCCESS", successes)] {
                if !text.is_empty() {
                    self.put(&output.0, &format!("{folder}/{kind}/{file}"), text).await;
                }
            }
        }
        let manifest = json!({
            "numberOfResourcesScanned": imported + refused,
            "numberOfResourcesImportedSuccessfully": imported,
            "numberOfResourcesWithCustomerError": refused,
        });
        self.put(&output.0, &format!("{folder}/Manifest.json"), manifest.to_string()).await;
        json!({ "imported": imported, "refused": refused })
    }

    fn start_export(&self, request: &Value) -> Value {
        let mut state = self.state.lock().unwrap();
        state.looks = 0;
        let id = format!("{:032x}", state.exports.len() + 0xe0);
        state.exports.push((id.clone(), request.clone()));
        json!({ "JobId": id, "JobStatus": "SUBMITTED", "DatastoreId": request["DatastoreId"] })
    }

    /// At the third look it is done: an object a type, and no folder where there is nothing.
    async fn describe_export(&self, request: &Value) -> Value {
        let id = request["JobId"].as_str().unwrap();
        let (asked, looks, resources, fails) = {
            let mut state = self.state.lock().unwrap();
            state.looks += 1;
            let (_, asked) = state.exports.iter().find(|(known, _)| known == id).unwrap().clone();
            (asked, state.looks, state.sandbox.as_ref().unwrap().resources(), state.fails.clone())
        };
        let status = match (looks, &fails) {
            (..3, _) => "IN_PROGRESS",
            (_, None) => "COMPLETED",
            (_, Some(_)) => "FAILED",
        };
        if looks == 3 && fails.is_none() {
            let output = place(asked["OutputDataConfig"]["S3Configuration"]["S3Uri"].as_str().unwrap());
            let folder = format!("{}{}-FHIR_EXPORT-{id}", output.1, asked["DatastoreId"].as_str().unwrap());
            let mut files = BTreeMap::<String, String>::new();
            for resource in resources {
                let (kind, _) = resource.key.split_once('/').unwrap();
                let file = files.entry(kind.to_owned()).or_default();
                file.push_str(resource.json.get());
                file.push('\n');
            }
            for (kind, text) in files {
                self.put(&output.0, &format!("{folder}/{kind}/{kind}-0-1.ndjson"), text).await;
            }
        }
        json!({ "ExportJobProperties": {
            "JobId": id, "JobStatus": status, "SubmitTime": 1_790_000_000.5, "DatastoreId": asked["DatastoreId"],
            "OutputDataConfig": asked["OutputDataConfig"], "Message": fails,
        } })
    }

    async fn put(&self, bucket: &str, key: &str, text: String) {
        self.s3.put_object().bucket(bucket).key(key).body(text.into_bytes().into()).send().await.unwrap();
    }
}

fn place(uri: &str) -> (String, String) {
    let (bucket, prefix) = uri.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    (bucket.to_owned(), prefix.to_owned())
}

async fn call(State(plane): State<ControlPlane>, headers: HeaderMap, body: Bytes) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap();
    assert!(headers["authorization"].to_str().unwrap().contains("/healthlake/aws4_request"));
    let answer = match headers["x-amz-target"].to_str().unwrap() {
        "HealthLake.StartFHIRImportJob" => plane.start_job(&request),
        "HealthLake.DescribeFHIRImportJob" => plane.describe(&request).await,
        "HealthLake.StartFHIRExportJob" => plane.start_export(&request),
        "HealthLake.DescribeFHIRExportJob" => plane.describe_export(&request).await,
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    ([("content-type", "application/x-amz-json-1.0")], answer.to_string()).into_response()
}
