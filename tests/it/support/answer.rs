//! What a test sends, and the answer to it.

use reqwest::RequestBuilder;
use serde_json::Value;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub body: String,
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
