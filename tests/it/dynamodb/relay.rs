//! Between a store and an emulator: counts requests, loses answers, keeps requests for later. And servers that only
//! look like DynamoDB.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::HeaderMap;
use tokio::net::TcpListener;

use crate::support::process::http_client;

#[derive(Clone)]
pub struct Relay {
    inner: Arc<Inner>,
    pub endpoint_url: String,
}

struct Inner {
    upstream: String,
    http: reqwest::Client,
    seen: Mutex<Vec<Seen>>,
    lose: Mutex<usize>,
}

#[derive(Clone)]
pub struct Seen {
    pub operation: String,
    headers: HeaderMap,
    body: Bytes,
}

impl Relay {
    pub async fn before(upstream: &str) -> Self {
        let inner = Inner {
            upstream: upstream.to_owned(),
            http: http_client(),
            seen: Mutex::default(),
            lose: Mutex::default(),
        };
        let inner = Arc::new(inner);
        let endpoint_url = serve(Router::new().fallback(pass).with_state(inner.clone())).await;
        Self { inner, endpoint_url }
    }

    /// What was done with the next `answers` requests stays unknown to their sender.
    pub fn lose(&self, answers: usize) {
        *self.inner.lose.lock().unwrap() = answers;
    }

    /// The requests since the last call.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.inner.seen.lock().unwrap())
    }

    pub fn operations(&self) -> Vec<String> {
        self.take_seen().into_iter().map(|seen| seen.operation).collect()
    }

    /// A copy that was held up on its way.
    pub async fn deliver(&self, late: &Seen) -> String {
        let post = self.inner.http.post(&self.inner.upstream).headers(late.headers.clone());
        post.body(late.body.clone()).send().await.unwrap().text().await.unwrap()
    }
}

async fn pass(State(inner): State<Arc<Inner>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(http::header::HOST);
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let target = parts.headers["x-amz-target"].to_str().unwrap();
    let operation = target.rsplit('.').next().unwrap().to_owned();
    let (headers, copy) = (parts.headers.clone(), body.clone());
    inner.seen.lock().unwrap().push(Seen { operation, headers, body: copy });

    let answer = inner.http.post(&inner.upstream).headers(parts.headers).body(body).send().await.unwrap();
    let lost = {
        let mut lose = inner.lose.lock().unwrap();
        let lost = *lose > 0;
        *lose = lose.saturating_sub(1);
        lost
    };
    if lost {
        return cut();
    }
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers() {
        if name != http::header::TRANSFER_ENCODING && name != http::header::CONNECTION {
            response = response.header(name, value);
        }
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}

/// A connection that ends within an answer.
pub fn cut() -> Response {
    let broken =
        futures_util::stream::iter([Ok(Bytes::from_static(b"{")), Err(std::io::Error::other("cut"))]);
    Response::new(Body::from_stream(broken))
}

/// A server that answers everything so, and counts.
pub async fn stub<F>(answer: F) -> (String, Arc<Mutex<usize>>)
where
    F: Fn(usize) -> Response + Clone + Send + Sync + 'static,
{
    let asked = Arc::new(Mutex::new(0));
    let counter = asked.clone();
    let router = Router::new().fallback(move || {
        let number = {
            let mut counter = counter.lock().unwrap();
            *counter += 1;
            *counter
        };
        let answer = answer(number);
        async { answer }
    });
    (serve(router).await, asked)
}

/// As DynamoDB says no.
pub fn refusal(status: u16, code: &str, message: &str) -> Response {
    let body = serde_json::json!({
        "__type": format!("com.amazonaws.dynamodb.v20120810#{code}"),
        "message": message,
    });
    Response::builder()
        .status(status)
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-requestid", "REQUEST-1")
        .body(Body::from(body.to_string()))
        .unwrap()
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, router).into_future());
    endpoint_url
}
