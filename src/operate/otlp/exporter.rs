//! One batch to the collector: the SDK's exporter over our own HTTP client, and what came of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use tokio::runtime::Handle;

use super::{Collector, TraceMetrics};
use crate::healthlake::is_loopback;

/// Of an answer so much is read (bytes): it is a few counts, or an error that nobody looks at.
const ANSWER_LIMIT: usize = 64 << 10;

/// Counts, and tells once when it begins to fail and once when it ends.
#[derive(Debug)]
pub(super) struct Exporter {
    inner: opentelemetry_otlp::SpanExporter,
    waiting: Arc<AtomicUsize>,
    metrics: TraceMetrics,
    /// Batches in a row
    failures: AtomicU64,
}

impl Exporter {
    pub fn new(
        inner: opentelemetry_otlp::SpanExporter,
        waiting: Arc<AtomicUsize>,
        metrics: TraceMetrics,
    ) -> Self {
        Self { inner, waiting, metrics, failures: AtomicU64::new(0) }
    }
}

impl SpanExporter for Exporter {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let result = self.inner.export(batch).await;
        self.waiting.fetch_sub(spans, Ordering::Relaxed);
        match &result {
            Ok(()) => {
                self.metrics.count("sent", spans);
                let failures = self.failures.swap(0, Ordering::Relaxed);
                if failures > 0 {
                    tracing::info!(failures, "the collector takes traces again");
                }
            }
            Err(error) => {
                self.metrics.count("failed", spans);
                if self.failures.fetch_add(1, Ordering::Relaxed) == 0 {
                    tracing::warn!(%error, "the collector does not take traces; deliveries go on without");
                }
            }
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// The SDK's thread waits; the request itself runs on tokio's, with our roots and our proxy rules.
#[derive(Debug)]
pub(super) struct Http {
    client: reqwest::Client,
    runtime: Handle,
}

impl Http {
    pub fn new(collector: &Collector) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(3))
            .timeout(collector.timeout);
        if collector.url.host_str().is_some_and(is_loopback) {
            builder = builder.no_proxy();
        }
        Ok(Self { client: collector.trust.apply(builder)?.build()?, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Http {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let client = self.client.clone();
        self.runtime.spawn(async move { send(&client, request).await }).await?
    }
}

async fn send(client: &reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(request.try_into()?).await?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await? {
        if body.len() + chunk.len() > ANSWER_LIMIT {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
