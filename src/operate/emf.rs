//! A delivery's line as a document of CloudWatch's embedded metric format: log and metric in one line, which
//! CloudWatch Logs reads where it arrives. Nobody has to be asked, and nothing is left to be sent later.
//!
//! The members are those of the JSON log, the metrics beside them; of a resource no more than there.

use std::collections::HashSet;
use std::fmt::Debug;
use std::io::Write;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::Context;

use super::delivery_log::TARGET;
use crate::healthlake::Clock;

/// A sender could invent types; those behind this number share a dimension. CloudWatch bills each.
const MOST_TYPES: usize = 256;
const NONE: &str = "none";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emf {
    /// As CloudWatch shows it
    pub namespace: String,
    /// Each set makes metrics of its own.
    pub dimensions: Vec<Vec<Dimension>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    Verdict,
    Type,
    Interaction,
    Source,
}

impl Default for Emf {
    fn default() -> Self {
        Self { namespace: "lakehook".into(), dimensions: vec![vec![Dimension::Verdict]] }
    }
}

impl Dimension {
    const ALL: [Self; 4] = [Self::Verdict, Self::Type, Self::Interaction, Self::Source];

    /// As a setting spells it.
    fn name(self) -> &'static str {
        match self {
            Self::Verdict => "verdict",
            Self::Type => "type",
            Self::Interaction => "interaction",
            Self::Source => "source",
        }
    }

    /// The member of the document.
    fn member(self) -> &'static str {
        match self {
            Self::Verdict => "Verdict",
            Self::Type => "ResourceType",
            Self::Interaction => "Interaction",
            Self::Source => "Source",
        }
    }

    /// A set: `verdict+type`.
    pub fn set(text: &str) -> Result<Vec<Self>, String> {
        let wrong = || {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("write some of {names}, joined by + to a set: verdict,verdict+type; or none")
        };
        if text == NONE {
            return Ok(Vec::new());
        }
        let mut set = Vec::new();
        for part in text.split('+') {
            let dimension = Self::ALL.into_iter().find(|one| one.name() == part.trim()).ok_or_else(wrong)?;
            if set.contains(&dimension) {
                return Err(wrong());
            }
            set.push(dimension);
        }
        Ok(set)
    }
}

/// Writes each delivery's line, whole and at once.
pub(super) struct EmfLayer<W> {
    emf: Emf,
    clock: Clock,
    out: W,
    types: Mutex<HashSet<String>>,
}

impl<W> EmfLayer<W> {
    pub fn new(emf: Emf, clock: Clock, out: W) -> Self {
        Self { emf, clock, out, types: Mutex::default() }
    }

    fn document(&self, level: &str, mut members: Map<String, Value>) -> Value {
        let now = Timestamp::try_from((self.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        let mut metrics = Vec::new();
        let mut count = |members: &mut Map<String, Value>, name: &str, unit: &str, value: Value| {
            metrics.push(json!({"Name": name, "Unit": unit}));
            members.insert(name.into(), value);
        };
        match members.get("duration_ms").cloned() {
            Some(duration) => {
                count(&mut members, "Deliveries", "Count", 1.into());
                count(&mut members, "Duration", "Milliseconds", duration);
            }
            None => count(&mut members, "Rejected", "Count", 1.into()),
        }
        for dimension in Dimension::ALL {
            let used = self.emf.dimensions.iter().any(|set| set.contains(&dimension));
            if used {
                let value = self.value(dimension, &members);
                members.insert(dimension.member().into(), value.into());
            }
        }
        let sets: Vec<Vec<&str>> = self
            .emf
            .dimensions
            .iter()
            .map(|set| set.iter().map(|dimension| dimension.member()).collect())
            .collect();
        members.insert("timestamp".into(), now.to_string().into());
        members.insert("level".into(), level.into());
        members.insert("target".into(), TARGET.into());
        members.insert(
            "_aws".into(),
            json!({
                "Timestamp": now.as_millisecond(),
                "CloudWatchMetrics": [
                    {"Namespace": self.emf.namespace, "Dimensions": sets, "Metrics": metrics}
                ],
            }),
        );
        members.into()
    }

    fn value(&self, dimension: Dimension, members: &Map<String, Value>) -> String {
        let text = |name: &str| members.get(name).and_then(Value::as_str);
        let value = match dimension {
            Dimension::Type => text("key").and_then(|key| key.split_once('/')).map(|(kind, _)| kind),
            other => text(other.name()),
        };
        match (dimension, value) {
            (Dimension::Type, Some(kind)) => {
                let mut types = self.types.lock().unwrap_or_else(PoisonError::into_inner);
                let known =
                    types.contains(kind) || (types.len() < MOST_TYPES && types.insert(kind.to_owned()));
                if known { kind } else { "other" }.to_owned()
            }
            (_, value) => value.unwrap_or(NONE).to_owned(),
        }
    }
}

impl<S, W> Layer<S> for EmfLayer<W>
where
    S: Subscriber,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut members = Members::default();
        event.record(&mut members);
        let document = self.document(event.metadata().level().as_str(), members.0);
        // A log that can't be written is no reason to fail a delivery.
        let _ = self.out.make_writer().write_all(format!("{document}\n").as_bytes());
    }
}

#[derive(Default)]
struct Members(Map<String, Value>);

impl Members {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Members {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(field, format!("{value:?}"));
    }
}

#[cfg(test)]
#[path = "emf_tests.rs"]
mod tests;
