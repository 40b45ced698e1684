//! Logs: pretty, JSON, or JSON with the deliveries' lines in CloudWatch's embedded metric format; on stderr. The filter
//! can be changed at run time.

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
    start_with(filter, lines, std::io::stderr)
}

/// Likewise, but lines are gathered and written by a thread of their own: see `end`.
pub fn start_gathered(filter: &str, lines: Option<Lines>) -> Result<LogControl, FilterError> {
    let writer = LogWriter::new(std::io::stderr()).map_err(|error| FilterError(error.to_string()))?;
    let writer = GATHERED.get_or_init(|| writer).clone();
    start_with(filter, lines, writer)
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
    let emf = match lines {
        Lines::Emf(emf) => Some(EmfLayer::new(emf, Arc::new(SystemTime::now), writer)),
        _ => None,
    };
    let elsewhere = emf.is_some();
    // Whatever the filter says: metrics are no matter of taste.
    let deliveries = filter_fn(|metadata| metadata.target() == TARGET);
    // An HTTP library's trace shows headers, and some an AWS library's whole requests: of others' crates
    // nothing below INFO is ever written, whatever the filter says.
    let ours = filter_fn(move |metadata| {
        let written = !(elsewhere && metadata.target() == TARGET);
        written && (metadata.target().starts_with("lakehook") || *metadata.level() <= LevelFilter::INFO)
    });
    let registry = tracing_subscriber::registry()
        .with(plain.with_filter(layer.and(ours)))
        .with(emf.map(|emf| emf.with_filter(deliveries)));
    registry.try_init().map_err(|error| FilterError(error.to_string()))?;
    std::panic::set_hook(Box::new(panicked));
    Ok(LogControl { handle })
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
