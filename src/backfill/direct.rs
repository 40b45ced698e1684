//! The direct way: what the reader hands on is forwarded, several resources at once, within the budget. The cursor
//! follows behind the last window of which everything is settled, or refused and reported.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use super::cursor::{Counted, Cursor, CursorStore, Position};
use super::progress::{Counts, Progress};
use super::read::{Item, Missed, Reader, Skips};
use super::report::{Refused, Report};
use crate::cdr::Entry;
use crate::delivery::{Addressed, Delivery, Key};
use crate::mirror::{Mirror, NoAnswer, Pace, Told, paced};
use crate::operate::Signals;

/// HealthLake takes new ones and refuses changes with the same code, so one refusal says nothing of the type.
const ONLY_CREATED: &str = "AuditEvent";
const NOT_MIRRORED: &str = "not-mirrored";
const FILTERED: &str = "filtered";
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// Resources read ahead
const AHEAD: usize = 256;

pub struct Direct {
    pub mirror: Arc<dyn Mirror>,
    pub pace: Arc<Pace>,
    pub parallel: usize,
    /// With a resource that may be sent again
    pub patience: Duration,
    /// For what is in flight when the run is to end
    pub grace: Duration,
}

/// Why it ended before its end.
#[derive(Debug)]
pub enum Stop {
    Interrupted,
    Failed(String),
}

#[derive(Debug)]
pub struct Outcome {
    pub stopped: Option<Stop>,
    /// Windows whose pages did not stand still
    pub unstable: u64,
    /// Resources without a type and id that FHIR allows
    pub unreadable: u64,
}

/// A window, or the end of a type.
#[derive(Default)]
struct Unit {
    after: Position,
    in_flight: u64,
    read: bool,
    counted: Counted,
}

struct Done {
    unit: u64,
    key: Key,
    /// None: its type turned out to be one that HealthLake does not take.
    told: Option<Result<Told, NoAnswer>>,
}

struct Run<'a> {
    cursor: &'a mut Cursor,
    store: &'a CursorStore,
    report: &'a mut Report,
    counts: Arc<Counts>,
    skips: Skips,
    units: VecDeque<Unit>,
    /// Number of the first of `units`
    first: u64,
    saved: Instant,
    moved: bool,
    outcome: Outcome,
}

impl Direct {
    pub async fn run(
        &self,
        cursor: &mut Cursor,
        store: &CursorStore,
        report: &mut Report,
        reader: Reader,
        signals: &mut Signals,
    ) -> Outcome {
        let (sender, items) = mpsc::channel(AHEAD);
        let mut progress = Progress::new(cursor.total());
        let mut run = Run {
            counts: Arc::new(Counts::of(cursor.counted)),
            cursor,
            store,
            report,
            skips: reader.skips.clone(),
            units: VecDeque::new(),
            first: 0,
            saved: Instant::now(),
            moved: false,
            outcome: Outcome { stopped: None, unstable: 0, unreadable: 0 },
        };
        let mut tasks = JoinSet::new();
        let mut read = None;
        let stopped = {
            let mut reading = pin!(reader.run(sender));
            let mut forwarding = pin!(self.forward(&mut run, items, &mut tasks, &mut progress, signals));
            loop {
                tokio::select! {
                    result = &mut reading, if read.is_none() => read = Some(result),
                    stopped = &mut forwarding => break stopped,
                }
            }
        };
        if stopped.is_some() {
            // What has begun is finished; nothing new begins.
            let finish = async {
                while let Some(done) = tasks.join_next().await {
                    if let Ok(done) = done {
                        let _ = run.ended(done);
                    }
                }
            };
            tokio::select! {
                _ = timeout(self.grace, finish) => {}
                _ = signals.next() => {}
            }
        }
        run.outcome.stopped = stopped.or_else(|| match read {
            Some(Err(error)) => Some(Stop::Failed(error.to_string())),
            _ => None,
        });
        if let Err(text) = run.save().await {
            run.outcome.stopped.get_or_insert(Stop::Failed(text));
        }
        progress.finish();
        run.outcome
    }

    async fn forward(
        &self,
        run: &mut Run<'_>,
        mut items: Receiver<Item>,
        tasks: &mut JoinSet<Done>,
        progress: &mut Progress,
        signals: &mut Signals,
    ) -> Option<Stop> {
        let mut ticks = interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut reading = true;
        while reading || !tasks.is_empty() {
            let failed = tokio::select! {
                _ = signals.next() => return Some(Stop::Interrupted),
                _ = ticks.tick() => {
                    if let Some(line) = progress.tick(&run.counts, Some(self.pace.rate())) {
                        tracing::info!(target: "lakehook::backfill", "{line}");
                    }
                    Ok(())
                }
                Some(done) = tasks.join_next(), if !tasks.is_empty() => match done {
                    Ok(done) => run.ended(done),
                    Err(error) => Err(error.to_string()),
                },
                item = items.recv(), if reading && tasks.len() < self.parallel => {
                    match item {
                        Some(item) => self.take(run, item, tasks),
                        None => reading = false,
                    }
                    Ok(())
                }
            };
            let saved = match failed {
                Ok(()) if run.saved.elapsed() >= SAVE_EVERY => run.save().await,
                other => other,
            };
            if let Err(text) = saved {
                return Some(Stop::Failed(text));
            }
        }
        None
    }

    fn take(&self, run: &mut Run<'_>, item: Item, tasks: &mut JoinSet<Done>) {
        match item {
            Item::Begin { after } => run.units.push_back(Unit { after, ..Unit::default() }),
            Item::Resource(entry) => {
                if let Some(unit) = run.units.back_mut() {
                    unit.in_flight += 1;
                }
                let unit = run.first + run.units.len() as u64 - 1;
                self.start(unit, entry, &run.skips, tasks);
            }
            Item::End { missed } => run.read(missed),
        }
    }

    fn start(&self, unit: u64, entry: Entry, skips: &Skips, tasks: &mut JoinSet<Done>) {
        let (mirror, pace, patience, skips) =
            (self.mirror.clone(), self.pace.clone(), self.patience, skips.clone());
        tasks.spawn(async move {
            let Entry { key, json, .. } = entry;
            if skips.has(key.resource_type()) {
                return Done { unit, key, told: None };
            }
            let delivery = Delivery::Upsert { addressed: Addressed::to(&key), json, verbatim: false };
            let told = Some(paced(&*mirror, &pace, delivery, patience).await);
            Done { unit, key, told }
        });
    }
}

impl Run<'_> {
    /// One resource's end. An error ends the run: the resource is neither settled nor refused.
    fn ended(&mut self, done: Done) -> Result<(), String> {
        let Done { unit, key, told } = done;
        let at = usize::try_from(unit - self.first).unwrap_or(usize::MAX);
        let Some(unit) = self.units.get_mut(at) else { return Ok(()) };
        let refused = match told {
            Some(Ok(told)) if is_refused(&told) => Some(Refused::of(&key.to_string(), &told)),
            Some(Ok(told)) if told.settled && told.verdict != NOT_MIRRORED => {
                match told.verdict == FILTERED {
                    true => unit.counted.filtered += 1,
                    false => unit.counted.settled += 1,
                }
                self.counts.settled();
                None
            }
            Some(Ok(told)) if told.verdict != NOT_MIRRORED => {
                let verdict = told.verdict;
                return Err(format!("{key} is still {verdict} after --patience; sending it again is safe"));
            }
            Some(Ok(_)) | None => {
                if key.resource_type() != ONLY_CREATED {
                    self.skips.add(key.resource_type());
                }
                unit.counted.skipped += 1;
                self.counts.skipped(1);
                None
            }
            // It will not become smaller.
            Some(Err(NoAnswer::Refused { status: 413, .. })) => Some(Refused {
                key: Some(key.to_string()),
                verdict: "too-large".into(),
                ..Refused::default()
            }),
            Some(Err(error)) => return Err(format!("{key}: {error}")),
        };
        if let Some(refused) = refused {
            unit.counted.refused += 1;
            self.counts.refused(1);
            let added = self.report.add(&refused);
            added.map_err(|error| format!("--report: {}: {error}", self.report.path().display()))?;
        }
        unit.in_flight -= 1;
        self.advance();
        Ok(())
    }

    fn read(&mut self, missed: Missed) {
        if let Some(unit) = self.units.back_mut() {
            unit.read = true;
            unit.counted.skipped += missed.skipped;
            unit.counted.refused += missed.unreadable;
        }
        self.counts.skipped(missed.skipped);
        self.counts.refused(missed.unreadable);
        self.outcome.unreadable += missed.unreadable;
        self.outcome.unstable += u64::from(missed.unstable);
        self.advance();
    }

    /// Past the windows that are done, in their order.
    fn advance(&mut self) {
        while self.units.front().is_some_and(|unit| unit.read && unit.in_flight == 0) {
            let Some(unit) = self.units.pop_front() else { break };
            self.first += 1;
            self.cursor.position = unit.after;
            self.cursor.counted.add(unit.counted);
            self.moved = true;
        }
    }

    async fn save(&mut self) -> Result<(), String> {
        self.saved = Instant::now();
        if !std::mem::take(&mut self.moved) {
            return Ok(());
        }
        self.report.sync().map_err(|error| format!("--report: {}: {error}", self.report.path().display()))?;
        self.cursor.not_supported = self.skips.all();
        self.store.save(self.cursor).await.map_err(|error| format!("--cursor: {error}"))
    }
}

/// Refused for good, whether or not it is kept as a dead letter.
fn is_refused(told: &Told) -> bool {
    !told.settled && !told.retryable
}
