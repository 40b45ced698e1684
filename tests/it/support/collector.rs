//! An OpenTelemetry collector: takes OTLP over http/protobuf and keeps the spans.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::extract::State;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;

use super::app::Builder;

#[derive(Clone)]
pub struct Collector {
    url: String,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    resource: Vec<KeyValue>,
    headers: Option<HeaderMap>,
    /// The answer, where it is not 200
    refuse: Option<StatusCode>,
}

impl Collector {
    pub async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let collector = Self { url, kept: Arc::default() };
        let routes = axum::Router::new()
            .route("/v1/traces", axum::routing::post(take))
            .layer(axum::extract::DefaultBodyLimit::disable())
            .with_state(collector.clone());
        tokio::spawn(axum::serve(listener, routes).into_future());
        collector
    }

    /// One that takes connections and never answers; its URL.
    pub async fn hanging() -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            let mut open = Vec::new();
            while let Ok(connection) = listener.accept().await {
                open.push(connection);
            }
        });
        url
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// lakehook that sends its traces here, soon.
    pub fn of(&self, builder: Builder) -> Builder {
        builder.env("LAKEHOOK_OTLP_ENDPOINT", &self.url).env("OTEL_BSP_SCHEDULE_DELAY", 50)
    }

    pub fn refuse(&self, status: Option<StatusCode>) {
        self.kept.lock().unwrap().refuse = status;
    }

    pub fn spans(&self) -> Vec<Span> {
        self.kept.lock().unwrap().spans.clone()
    }

    pub fn resource(&self, name: &str) -> Option<String> {
        text(&self.kept.lock().unwrap().resource, name)
    }

    pub fn header(&self, name: &str) -> Option<String> {
        let kept = self.kept.lock().unwrap();
        Some(kept.headers.as_ref()?.get(name)?.to_str().unwrap().to_owned())
    }

    /// The first span that is so, once it is there.
    pub async fn span(&self, what: &str, is: impl Fn(&Span) -> bool) -> Span {
        let start = Instant::now();
        loop {
            if let Some(span) = self.spans().into_iter().find(&is) {
                return span;
            }
            let names: Vec<String> = self.spans().into_iter().map(|span| span.name).collect();
            assert!(start.elapsed() < Duration::from_secs(60), "no span {what} among {names:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The request's span of this delivery.
    pub async fn request(&self, key: &str, verdict: &str) -> Span {
        let is = |span: &Span| {
            is_server(span) && has(span, "lakehook.key", key) && has(span, "lakehook.verdict", verdict)
        };
        self.span(&format!("of {key}, {verdict}"), is).await
    }

    /// Those below it, by their names. A span is sent when it ends, so they are there when it is.
    pub fn below(&self, parent: &Span) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.parent_span_id == parent.span_id).collect()
    }

    /// The one of this name below it.
    pub fn child(&self, parent: &Span, name: &str) -> Span {
        let below = self.below(parent);
        let mut found: Vec<Span> = below.iter().filter(|span| span.name == name).cloned().collect();
        let names: Vec<&str> = below.iter().map(|span| span.name.as_str()).collect();
        assert_eq!(found.len(), 1, "{name} among {names:?}");
        found.remove(0)
    }
}

pub fn is_server(span: &Span) -> bool {
    span.kind() == opentelemetry_proto::tonic::trace::v1::span::SpanKind::Server
}

pub fn is_client(span: &Span) -> bool {
    span.kind() == opentelemetry_proto::tonic::trace::v1::span::SpanKind::Client
}

pub fn is_error(span: &Span) -> bool {
    use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
    span.status.as_ref().is_some_and(|status| status.code() == StatusCode::Error)
}

/// An attribute as text.
pub fn attribute(span: &Span, name: &str) -> Option<String> {
    text(&span.attributes, name)
}

pub fn has(span: &Span, name: &str, value: &str) -> bool {
    attribute(span, name).as_deref() == Some(value)
}

pub fn hex(id: &[u8]) -> String {
    id.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn text(attributes: &[KeyValue], name: &str) -> Option<String> {
    let found: Vec<&KeyValue> = attributes.iter().filter(|pair| pair.key == name).collect();
    assert!(found.len() < 2, "{name} is there twice: {attributes:?}");
    match found.first()?.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        Value::IntValue(number) => Some(number.to_string()),
        Value::BoolValue(truth) => Some(truth.to_string()),
        other => panic!("{other:?}"),
    }
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let mut kept = collector.kept.lock().unwrap();
    if let Some(status) = kept.refuse {
        return status;
    }
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).unwrap();
    for of_resource in request.resource_spans {
        kept.resource = of_resource.resource.unwrap_or_default().attributes;
        kept.spans.extend(of_resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
    }
    kept.headers = Some(headers);
    StatusCode::OK
}
