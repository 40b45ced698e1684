//! The last hour in steps of ten seconds, and what became of deliveries by type: for the console. In memory, of this
//! instance.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use crate::verdict::Verdict;

pub const STEP: Duration = Duration::from_secs(10);
pub const STEPS: usize = 360;
/// A sender could invent types.
const MOST_TYPES: usize = 256;
/// Upper bounds of the latencies' classes grow by a quarter from a tenth of a millisecond; the last is beyond 12 s.
const CLASSES: usize = 54;
const FIRST: f64 = 0.1;
const GROWTH: f64 = 1.25;

/// How a delivery ended, as coarsely as a plot can show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    Settled,
    Refused,
    Again,
}

impl Ending {
    pub fn of(verdict: &Verdict) -> Self {
        match verdict {
            verdict if verdict.is_settled() => Self::Settled,
            verdict if verdict.is_retryable() => Self::Again,
            _ => Self::Refused,
        }
    }
}

/// Ten seconds.
#[derive(Clone, Debug)]
pub struct Step {
    /// Which ten seconds since the epoch
    number: u64,
    /// By `Ending`
    pub endings: [u64; 3],
    classes: [u32; CLASSES],
}

impl Step {
    fn new(number: u64) -> Self {
        Self { number, endings: [0; 3], classes: [0; CLASSES] }
    }

    /// Milliseconds below which this share of the deliveries took; none where there were none.
    pub fn quantile(&self, share: f64) -> Option<f64> {
        let all: u32 = self.classes.iter().sum();
        let wanted = (f64::from(all) * share).ceil();
        let mut seen = 0.0;
        let class = self.classes.iter().position(|count| {
            seen += f64::from(*count);
            seen >= wanted && seen > 0.0
        })?;
        Some(FIRST * GROWTH.powi(i32::try_from(class).unwrap_or(0)))
    }
}

#[derive(Default)]
pub struct Series {
    steps: VecDeque<Step>,
    /// By type, then verdict
    verdicts: BTreeMap<String, BTreeMap<&'static str, u64>>,
}

impl Series {
    /// `now` counts from the epoch.
    pub fn add(&mut self, now: Duration, resource_type: Option<&str>, verdict: &Verdict, took: Duration) {
        let number = now.as_secs() / STEP.as_secs();
        if self.steps.back().is_none_or(|step| step.number < number) {
            self.steps.push_back(Step::new(number));
            if self.steps.len() > STEPS {
                self.steps.pop_front();
            }
        }
        if let Some(step) = self.steps.back_mut() {
            step.endings[Ending::of(verdict) as usize] += 1;
            step.classes[class(took)] += 1;
        }
        let name = resource_type.unwrap_or("none");
        let name = match self.verdicts.len() < MOST_TYPES || self.verdicts.contains_key(name) {
            true => name,
            false => "other",
        };
        if !self.verdicts.contains_key(name) {
            self.verdicts.insert(name.to_owned(), BTreeMap::new());
        }
        if let Some(of_type) = self.verdicts.get_mut(name) {
            *of_type.entry(verdict.name()).or_default() += 1;
        }
    }

    /// The last hour, the oldest first; steps without deliveries are there too.
    pub fn last_hour(&self, now: Duration) -> Vec<Step> {
        let last = now.as_secs() / STEP.as_secs();
        let first = (last + 1).saturating_sub(STEPS as u64);
        let mut known = self.steps.iter().skip_while(|step| step.number < first).peekable();
        (first..=last)
            .map(|number| match known.peek() {
                Some(step) if step.number == number => {
                    known.next().cloned().unwrap_or_else(|| Step::new(number))
                }
                _ => Step::new(number),
            })
            .collect()
    }

    pub fn verdicts(&self) -> &BTreeMap<String, BTreeMap<&'static str, u64>> {
        &self.verdicts
    }
}

fn class(took: Duration) -> usize {
    let milliseconds = took.as_secs_f64() * 1e3;
    let mut bound = FIRST;
    (0..CLASSES - 1)
        .find(|_| {
            let within = milliseconds <= bound;
            bound *= GROWTH;
            within
        })
        .unwrap_or(CLASSES - 1)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::verdict::Success;

    #[test]
    fn an_hour_is_kept_and_gaps_are_shown() {
        let mut series = Series::default();
        let at = |seconds: u64| Duration::from_secs(1_000_000 + seconds);
        let done = Verdict::Mirrored(Success::Ok);
        series.add(at(0), Some("Patient"), &done, Duration::from_millis(3));
        series.add(at(25), Some("Patient"), &Verdict::Conflict, Duration::from_millis(90));
        let hour = series.last_hour(at(25));
        assert_eq!(hour.len(), STEPS);
        assert_eq!(hour[STEPS - 3].endings, [1, 0, 0]);
        assert_eq!(hour[STEPS - 2].endings, [0, 0, 0]);
        assert_eq!(hour[STEPS - 1].endings, [0, 0, 1]);
        assert!(series.last_hour(at(4_000)).iter().all(|step| step.endings == [0, 0, 0]));
        assert_eq!(series.verdicts()["Patient"]["mirrored"], 1);
    }

    #[test]
    fn quantiles_are_within_a_quarter() {
        let mut series = Series::default();
        for milliseconds in 1..=100 {
            series.add(
                Duration::from_secs(10),
                None,
                &Verdict::Superseded,
                Duration::from_millis(milliseconds),
            );
        }
        let step = series.last_hour(Duration::from_secs(10)).pop().unwrap();
        let (half, most) = (step.quantile(0.5).unwrap(), step.quantile(0.99).unwrap());
        assert!((50.0..=63.0).contains(&half) && (99.0..=124.0).contains(&most), "{half} {most}");
        assert_eq!(Step::new(0).quantile(0.5), None);
    }

    #[test]
    fn invented_types_share_a_name() {
        let mut series = Series::default();
        for n in 0..1_000 {
            let name = format!("T{n}");
            series.add(Duration::ZERO, Some(&name), &Verdict::NotMirrored, Duration::ZERO);
        }
        assert_eq!(series.verdicts().len(), MOST_TYPES + 1);
    }
}
