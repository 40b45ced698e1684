//! The last deliveries, in memory: keys and verdicts, for `explain` and the console.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::series::{Series, Step};
use crate::delivery::Key;
use crate::forward::Report;
use crate::verdict::Verdict;

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
    lines: VecDeque<Ended>,
    series: Series,
}

/// A line as it is kept: nothing is copied or written out before somebody asks.
struct Ended {
    at: jiff::Timestamp,
    delivery: Box<str>,
    key: Option<Key>,
    interaction: &'static str,
    source: &'static str,
    version_id: Option<Box<str>>,
    verdict: &'static str,
    healthlake_status: Option<u16>,
    healthlake_request_id: Option<String>,
    took: Duration,
}

impl Ended {
    fn line(&self) -> Line {
        Line {
            at: self.at,
            delivery: self.delivery.to_string(),
            key: self.key.as_ref().map(Key::to_string),
            interaction: self.interaction.to_owned(),
            source: self.source.to_owned(),
            version_id: self.version_id.as_deref().map(str::to_owned),
            verdict: self.verdict.to_owned(),
            healthlake_status: self.healthlake_status,
            healthlake_request_id: self.healthlake_request_id.clone(),
            milliseconds: (self.took.as_secs_f64() * 1e6).round() / 1e3,
        }
    }

    fn is_of(&self, key: &str) -> bool {
        let of = self.key.as_ref().map(|of| (of.resource_type(), of.id()));
        of.is_some() && of == key.split_once('/')
    }
}

/// The last hour, and what became of deliveries by type since the start.
pub struct Hour {
    pub steps: Vec<Step>,
    pub verdicts: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Recent {
    /// The verdict is all that is left to answer with.
    pub fn add(&self, delivery: &str, report: Report) -> Verdict {
        let took = report.stages.total();
        let (status, request_id) = report.said.map(|said| (said.status.as_u16(), said.request_id)).unzip();
        let ended = Ended {
            at: jiff::Timestamp::now(),
            delivery: delivery.into(),
            key: report.key,
            interaction: report.interaction,
            source: report.source.name(),
            version_id: report.version.version_id,
            verdict: report.verdict.name(),
            healthlake_status: status,
            healthlake_request_id: request_id.flatten(),
            took,
        };
        let _oldest = {
            let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let resource_type = ended.key.as_ref().map(Key::resource_type);
            kept.series.add(now(), resource_type, &report.verdict, took);
            let oldest = if kept.lines.len() == KEPT { kept.lines.pop_front() } else { None };
            kept.lines.push_back(ended);
            oldest
        };
        report.verdict
    }

    /// The newest first, those of one resource or all of them.
    pub fn last(&self, most: usize, key: Option<&str>) -> Vec<Line> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted = kept.lines.iter().rev().filter(|ended| key.is_none_or(|key| ended.is_of(key)));
        wanted.take(most).map(Ended::line).collect()
    }

    pub fn hour(&self) -> Hour {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Hour { steps: kept.series.last_hour(now()), verdicts: kept.series.verdicts().clone() }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
