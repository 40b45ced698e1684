//! Logs: JSON or pretty, on stderr; the filter can be changed at run time.

use std::io::IsTerminal;
use std::sync::OnceLock;

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::{EnvFilter, FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use super::log_json::JsonLine;
use super::log_writer::LogWriter;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    Pretty,
    Json,
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
/// `info,lakehook::export=debug`.
pub fn start(filter: &str, format: Option<LogFormat>) -> Result<LogControl, FilterError> {
    start_with(filter, format, std::io::stderr)
}

/// Likewise, but lines are gathered and written by a thread of their own: see `end`.
pub fn start_gathered(filter: &str, format: Option<LogFormat>) -> Result<LogControl, FilterError> {
    let writer = LogWriter::new(std::io::stderr()).map_err(|error| FilterError(error.to_string()))?;
    let writer = GATHERED.get_or_init(|| writer).clone();
    start_with(filter, format, writer)
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
    format: Option<LogFormat>,
    writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static,
) -> Result<LogControl, FilterError> {
    let (layer, handle) = reload::Layer::new(parse(filter)?);
    let format = format.unwrap_or(match std::io::stderr().is_terminal() {
        true => LogFormat::Pretty,
        false => LogFormat::Json,
    });
    let lines = fmt::layer().with_writer(writer);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Pretty => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.event_format(JsonLine).boxed(),
    };
    // An HTTP library's trace shows headers, and some an AWS library's whole requests: of others' crates
    // nothing below INFO is ever written, whatever the filter says.
    let ours = filter_fn(|metadata| {
        metadata.target().starts_with("lakehook") || *metadata.level() <= LevelFilter::INFO
    });
    let registry = tracing_subscriber::registry().with(lines.with_filter(layer.and(ours)));
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
