//! The last deliveries, in memory: keys and verdicts, for `explain` and the console.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::series::{Series, Step};
use crate::delivery::Key;
use crate::forward::Report;

/// About 1 MB.
const KEPT: usize = 4_096;

/// What became of one delivery. Nothing of the resource but its key and version.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Line {
    pub at: jiff::Timestamp,
    /// The delivery's id in the log
    pub delivery: String,
    pub key: Option<String>,
    pub interaction: String,
    pub source: String,
    pub version_id: Option<String>,
    pub verdict: String,
    pub healthlake_status: Option<u16>,
    pub healthlake_request_id: Option<String>,
    pub milliseconds: f64,
}

#[derive(Default)]
pub struct Recent(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    lines: VecDeque<Line>,
    series: Series,
}

/// The last hour, and what became of deliveries by type since the start.
pub struct Hour {
    pub steps: Vec<Step>,
    pub verdicts: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Recent {
    pub fn add(&self, delivery: &str, report: &Report) {
        let said = report.said.as_ref();
        let line = Line {
            at: jiff::Timestamp::now(),
            delivery: delivery.to_owned(),
            key: report.key.as_ref().map(Key::to_string),
            interaction: report.interaction.to_owned(),
            source: report.source.name().to_owned(),
            version_id: report.version.version_id.as_deref().map(str::to_owned),
            verdict: report.verdict.name().to_owned(),
            healthlake_status: said.map(|said| said.status.as_u16()),
            healthlake_request_id: said.and_then(|said| said.request_id.clone()),
            milliseconds: (report.stages.total().as_secs_f64() * 1e6).round() / 1e3,
        };
        let resource_type = report.key.as_ref().map(Key::resource_type);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.series.add(now(), resource_type, &report.verdict, report.stages.total());
        if kept.lines.len() == KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line);
    }

    /// The newest first, those of one resource or all of them.
    pub fn last(&self, most: usize, key: Option<&str>) -> Vec<Line> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = kept.lines.iter().rev().filter(|line| key.is_none() || line.key.as_deref() == key);
        wanted.take(most).cloned().collect()
    }

    pub fn hour(&self) -> Hour {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Hour { steps: kept.series.last_hour(now()), verdicts: kept.series.verdicts().clone() }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
