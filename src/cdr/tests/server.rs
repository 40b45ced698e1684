//! A server in the test: a closure answers, every request is kept.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use http::HeaderMap;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    /// Path and query
    pub target: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A field of a form.
    pub fn field(&self, name: &str) -> Option<String> {
        let mut fields = url::form_urlencoded::parse(&self.body);
        fields.find(|(found, _)| found == name).map(|(_, value)| value.into_owned())
    }

    /// Where the asker thinks the base is.
    pub fn base(&self) -> String {
        format!("http://{}/fhir", self.header("host"))
    }
}

pub struct Stand {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    task: JoinHandle<()>,
}

impl Drop for Stand {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stand {
    /// `answer` gets the request and how many came before it.
    pub async fn start(answer: impl Fn(&Asked, usize) -> Response + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (asked.clone(), Arc::new(answer));
        let app = Router::new().fallback(move |request: axum::extract::Request| {
            let (kept, answer) = (kept.clone(), answer.clone());
            async move {
                let (head, body) = request.into_parts();
                let asked = Asked {
                    method: head.method.to_string(),
                    target: head.uri.to_string(),
                    headers: head.headers,
                    body: axum::body::to_bytes(body, 1 << 20).await.unwrap(),
                };
                let before = {
                    let mut kept = kept.lock().unwrap();
                    kept.push(asked.clone());
                    kept.len() - 1
                };
                answer(&asked, before)
            }
        });
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { address, asked, task }
    }

    pub fn base(&self) -> String {
        format!("http://{}/fhir", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Of those whose path ends so.
    pub fn asked_for(&self, end: &str) -> Vec<Asked> {
        self.asked().into_iter().filter(|asked| asked.target.ends_with(end)).collect()
    }
}

pub fn status(status: u16) -> Response {
    Response::builder().status(status).body(Body::empty()).unwrap()
}

pub fn json(status: u16, body: &Value) -> Response {
    text(status, &body.to_string())
}

pub fn text(status: u16, body: &str) -> Response {
    Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap()
}

/// The connection ends in the middle of the body.
pub fn cut() -> Response {
    let start = Ok(Bytes::from_static(b"{"));
    let end = Err(std::io::Error::from(std::io::ErrorKind::ConnectionReset));
    Response::new(Body::from_stream(stream::iter([start, end])))
}
