//! Logs: pretty, JSON, or JSON with the deliveries' lines in CloudWatch's embedded metric format; on stderr. The filter
//! can be changed at run time. Spans for OpenTelemetry, where a collector is named.

use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::SystemTime;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::delivery_log::TARGET;
use super::emf::{Emf, EmfLayer};
use super::log_json::JsonLine;
use super::log_writer::LogWriter;
use super::otlp::Traces;
use crate::trace;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Pretty,
    Json,
    /// JSON; a delivery's line is a metric of CloudWatch's too
    Emf,
}

/// How lines are written.
#[derive(Clone, Debug)]
pub enum Lines {
    Pretty,
    Json,
    Emf(Emf),
}

/// Changes the filter while the process runs.
#[derive(Clone)]
pub struct LogControl {
    handle: reload::Handle<EnvFilter, Registry>,
}

/// A filter that can't be parsed, in the parser's words.
#[derive(Debug, thiserror::Error)]
#[error("{0}; a filter is a level, or target=level, comma-separated: info,lakehook::export=debug")]
pub struct FilterError(String);

/// Of a process that gathers its lines
static GATHERED: OnceLock<LogWriter> = OnceLock::new();

/// Sets the process's logger; each line is written before its writer goes on. `filter`: as in
/// `info,lakehook::export=debug`; `lines`: pretty on a terminal, else JSON, where nothing is said.
pub fn start(filter: &str, lines: Option<Lines>) -> Result<LogControl, FilterError> {
    start_with(filter, lines, std::io::stderr, None)
}

/// With spans that go out by `traces`.
pub fn start_traced(
    filter: &str,
    lines: Option<Lines>,
    traces: Option<&Traces>,
) -> Result<LogControl, FilterError> {
    start_with(filter, lines, std::io::stderr, traces)
}

/// Likewise, but lines are gathered and written by a thread of their own: see `end`.
pub fn start_gathered(
    filter: &str,
    lines: Option<Lines>,
    traces: Option<&Traces>,
) -> Result<LogControl, FilterError> {
    let writer = LogWriter::new(std::io::stderr()).map_err(|error| FilterError(error.to_string()))?;
    let writer = GATHERED.get_or_init(|| writer).clone();
    start_with(filter, lines, writer, traces)
}

/// Lines that could not be written, because whoever reads our log did not.
pub fn dropped_lines() -> u64 {
    GATHERED.get().map_or(0, LogWriter::dropped)
}

/// Writes what was gathered: the last thing a process does.
pub fn end() {
    if let Some(writer) = GATHERED.get() {
        writer.end();
    }
}

fn start_with(
    filter: &str,
    lines: Option<Lines>,
    writer: impl for<'a> MakeWriter<'a> + Clone + Send + Sync + 'static,
    traces: Option<&Traces>,
) -> Result<LogControl, FilterError> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let lines = lines.unwrap_or(match std::io::stderr().is_terminal() {
        true => Lines::Pretty,
        false => Lines::Json,
    });
    let plain = fmt::layer().with_writer(writer.clone());
    let plain: Box<dyn Layer<Registry> + Send + Sync> = match lines {
        Lines::Pretty => plain.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Lines::Json | Lines::Emf(_) => plain.event_format(JsonLine).boxed(),
    };
    // No layer without a filter, an absent one neither: with it every look whether somebody wants a span is a question to
    // all layers, whose answer would stay behind and silence the next line.
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match lines {
        Lines::Emf(emf) => {
            let emf = EmfLayer::new(emf, Arc::new(SystemTime::now), writer);
            // Whatever the filter says: metrics are no matter of taste.
            let deliveries = filter_fn(|metadata| metadata.target() == TARGET);
            let others = filter_fn(|metadata| metadata.target() != TARGET && is_logged(metadata));
            plain.with_filter(layer.and(others)).and_then(emf.with_filter(deliveries)).boxed()
        }
        Lines::Pretty | Lines::Json => plain.with_filter(layer.and(filter_fn(is_logged))).boxed(),
    };
    let registry = tracing_subscriber::registry().with(lines);
    let started = match traces {
        Some(traces) => registry.with(traces.layer()).try_init(),
        None => registry.try_init(),
    };
    started.map_err(|error| FilterError(error.to_string()))?;
    std::panic::set_hook(Box::new(panicked));
    Ok(LogControl { handle })
}

/// An HTTP library's trace shows headers, and some an AWS library's whole requests: of others' crates nothing below INFO
/// is ever written, whatever the filter says. The spans of `crate::trace` are no lines.
fn is_logged(metadata: &tracing::Metadata<'_>) -> bool {
    let target = metadata.target();
    target != trace::TARGET && (target.starts_with("lakehook") || *metadata.level() <= LevelFilter::INFO)
}

/// Where, not what: a panic's message may quote the payload that caused it.
fn panicked(info: &std::panic::PanicHookInfo<'_>) {
    let place = info.location().map(ToString::to_string).unwrap_or_default();
    tracing::error!(place, thread = std::thread::current().name(), "panicked at {place}");
}

fn parse(filter: &str) -> Result<EnvFilter, FilterError> {
    EnvFilter::builder().parse(filter).map_err(|error| FilterError(error.to_string()))
}

impl LogControl {
    pub fn set(&self, filter: &str) -> Result<(), FilterError> {
        let filter = parse(filter)?;
        self.handle.reload(filter).map_err(|error| FilterError(error.to_string()))
    }

    pub fn current(&self) -> String {
        self.handle.with_current(|filter| filter.to_string()).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::{HeaderMap, Method};
    use tracing::Instrument;

    use super::*;
    use crate::mirror::Source;

    /// The log at its most talkative, and no collector: no span is ever built.
    #[test]
    fn without_a_collector_no_span_is_built() {
        let lines = fmt::layer().with_writer(std::io::sink);
        let filter = parse("trace").unwrap().and(filter_fn(is_logged));
        tracing::subscriber::with_default(
            tracing_subscriber::registry().with(lines.with_filter(filter)),
            || {
                let route = || panic!("asked for what nobody wants");
                let spans = [
                    trace::request(&Method::PUT, &HeaderMap::new(), "d", route),
                    trace::delivery(Source::Resend),
                    trace::entry(),
                    trace::step("validate"),
                    trace::order("order claim", "dynamodb"),
                    trace::client(&Method::PUT, "{Type}/{id}", || panic!("asked for"), 0),
                    trace::renewal(),
                ];
                assert!(spans.iter().all(tracing::Span::is_disabled), "{spans:?}");
                assert_eq!(trace::id(&spans[0]), None);
                let mut headers = HeaderMap::new();
                let work = async { trace::carry_on(&mut headers) };
                futures_util::FutureExt::now_or_never(work.instrument(spans[0].clone())).unwrap();
                assert!(headers.is_empty());
                // The log itself is on.
                assert!(tracing::enabled!(target: "lakehook::export", tracing::Level::TRACE));
            },
        );
    }
}
