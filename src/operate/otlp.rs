//! Spans to an OpenTelemetry collector: OTLP over http/protobuf, in batches, from a thread of its own.
//!
//! A collector that is slow, fails or is gone costs spans and nothing else: those that wait for it have a bound, and
//! what comes beyond it is dropped and counted. The end of the process waits for it for `FLUSH` at the most.

mod exporter;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use opentelemetry::trace::TracerProvider;
use opentelemetry::{Key, KeyValue};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider, Span, SpanData, SpanProcessor,
};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tracing::level_filters::LevelFilter;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

use crate::healthlake::Trust;
use crate::trace::TARGET;
use exporter::{Exporter, Http};

/// How long the end of the process waits for the collector.
const FLUSH: Duration = Duration::from_secs(3);
/// Spans that may wait for it, as OpenTelemetry has it; `OTEL_BSP_MAX_QUEUE_SIZE`.
const QUEUE: usize = 2_048;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Spanned {
    outcome: &'static str,
}

/// What became of the spans.
#[derive(Clone, Debug, Default)]
pub struct TraceMetrics {
    trace_spans: Family<Spanned, Counter>,
}

impl TraceMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "trace_spans",
            "Spans for the OpenTelemetry collector, by outcome: sent, failed, dropped",
            self.trace_spans.clone(),
        );
    }

    fn count(&self, outcome: &'static str, spans: usize) {
        self.trace_spans.get_or_create(&Spanned { outcome }).inc_by(spans as u64);
    }
}

/// Where spans go.
#[derive(Clone)]
pub struct Collector {
    /// The whole URL, as `http://127.0.0.1:4318/v1/traces`
    pub url: reqwest::Url,
    /// For one batch
    pub timeout: Duration,
    pub trust: Trust,
}

/// The way to the collector, until it is closed.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl Traces {
    /// Sampling, the resource, batches and headers are as `OTEL_*` say. Needs tokio's runtime, on which the requests
    /// run.
    pub fn start(collector: Collector, metrics: TraceMetrics) -> Result<Self, String> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Http::new(&collector).map_err(|error| error.to_string())?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(collector.url.as_str())
            .with_timeout(collector.timeout)
            .build()
            .map_err(|error| error.to_string())?;
        let waiting = Arc::new(AtomicUsize::new(0));
        let most = queue(std::env::var("OTEL_BSP_MAX_QUEUE_SIZE").ok().as_deref());
        let exporter = Exporter::new(exporter, waiting.clone(), metrics.clone());
        let batches = BatchSpanProcessor::builder(exporter)
            .with_batch_config(BatchConfigBuilder::default().with_max_queue_size(most).build())
            .build();
        let provider = SdkTracerProvider::builder()
            .with_resource(resource())
            .with_span_processor(Bounded { batches, waiting, most, metrics })
            .build();
        Ok(Self { provider })
    }

    /// Takes the spans of `crate::trace` and no others.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let ours = filter_fn(is_ours as fn(&Metadata<'_>) -> bool).with_max_level_hint(LevelFilter::INFO);
        tracing_opentelemetry::layer()
            .with_tracer(self.provider.tracer("lakehook"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_level(false)
            .with_tracked_inactivity(false)
            .with_context_activation(false)
            .with_filter(ours)
    }

    /// What waits is sent, within a bound.
    pub async fn close(self) {
        let ended = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH));
        if !matches!(ended.await, Ok(Ok(()))) {
            tracing::warn!("the collector did not take the last traces in time: they are lost");
        }
    }
}

fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == TARGET
}

fn queue(set: Option<&str>) -> usize {
    set.and_then(|text| text.trim().parse().ok()).filter(|most| *most > 0).unwrap_or(QUEUE)
}

/// `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` come first.
fn resource() -> Resource {
    let told = Resource::builder().build();
    let unnamed =
        told.get(&Key::new("service.name")).is_none_or(|name| name.as_str().starts_with("unknown_service"));
    let mut builder = Resource::builder();
    if unnamed {
        builder = builder.with_service_name("lakehook");
    }
    let own = [
        ("service.version", env!("CARGO_PKG_VERSION").to_owned()),
        ("service.instance.id", uuid::Uuid::new_v4().to_string()),
    ];
    for (key, value) in own {
        if told.get(&Key::new(key)).is_none() {
            builder = builder.with_attribute(KeyValue::new(key, value));
        }
    }
    builder.build()
}

/// The SDK's batches, which would drop what is too much without a word.
#[derive(Debug)]
struct Bounded {
    batches: BatchSpanProcessor,
    /// Given to `batches` and not yet tried
    waiting: Arc<AtomicUsize>,
    most: usize,
    metrics: TraceMetrics,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, context: &opentelemetry::Context) {
        self.batches.on_start(span, context);
    }

    fn on_end(&self, span: SpanData) {
        if !span.span_context.is_sampled() {
            return;
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.metrics.count("dropped", 1);
            return;
        }
        self.batches.on_end(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.batches.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.batches.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.batches.set_resource(resource);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_that_is_none_is_the_usual_one() {
        assert_eq!(queue(None), QUEUE);
        assert_eq!(queue(Some("16")), 16);
        for text in ["", "0", "many", "-1"] {
            assert_eq!(queue(Some(text)), QUEUE, "{text}");
        }
    }
}
