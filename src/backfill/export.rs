//! The way into files: what the reader hands on is validated and written, and the cursor follows behind the last
//! window that is on disk.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::cursor::{Counted, Cursor, CursorStore, Position};
use super::direct::{Outcome, Stop};
use super::feed::Feed;
use super::progress::{Counts, Progress};
use super::read::{Item, Reader};
use super::report::{Refused, Report};
use crate::cdr::Entry;
use crate::filter::Filter;
use crate::operate::Signals;
use crate::validate::Validator;
use crate::verdict::Verdict;

/// Resources read ahead
const AHEAD: usize = 256;
const SAVE_EVERY: Duration = Duration::from_secs(1);

pub struct Export {
    pub validator: Arc<Validator>,
    /// An import goes past the one `Forward`: what is kept out must not get into the files.
    pub filter: Arc<Filter>,
    pub counts: Arc<Counts>,
    pub feed: Feed,
}

/// The window being written.
#[derive(Default)]
struct Unit {
    after: Position,
    counted: Counted,
}

impl Export {
    pub async fn run(
        mut self,
        cursor: &mut Cursor,
        store: &CursorStore,
        report: &mut Report,
        reader: Reader,
        signals: &mut Signals,
    ) -> Outcome {
        let (sender, items) = mpsc::channel(AHEAD);
        let mut progress = Progress::new(cursor.total());
        let mut outcome = Outcome { stopped: None, unstable: 0, unreadable: 0 };
        let mut read = None;
        let written = {
            let mut reading = pin!(reader.run(sender));
            let mut writing =
                pin!(self.write(cursor, store, report, items, &mut outcome, &mut progress, signals));
            loop {
                tokio::select! {
                    result = &mut reading, if read.is_none() => read = Some(result),
                    written = &mut writing => break written,
                }
            }
        };
        let ended = match (written, read) {
            (Err(stop), _) => Err(stop),
            (Ok(()), Some(Err(error))) => Err(Stop::Failed(error.to_string())),
            (Ok(()), _) => self.finish(cursor, store, report).await.map_err(Stop::Failed),
        };
        outcome.stopped = match ended {
            Ok(()) => None,
            Err(stop) => {
                // The windows that are whole are kept.
                let saved = self.save(cursor, store, report).await;
                Some(saved.err().map_or(stop, Stop::Failed))
            }
        };
        progress.finish();
        outcome
    }

    #[allow(clippy::too_many_arguments)]
    async fn write(
        &mut self,
        cursor: &mut Cursor,
        store: &CursorStore,
        report: &mut Report,
        mut items: Receiver<Item>,
        outcome: &mut Outcome,
        progress: &mut Progress,
        signals: &mut Signals,
    ) -> Result<(), Stop> {
        let mut ticks = interval(Duration::from_millis(250));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let (mut unit, mut saved) = (Unit::default(), Instant::now());
        loop {
            let item = tokio::select! {
                _ = signals.next() => return Err(Stop::Interrupted),
                _ = ticks.tick() => {
                    if let Some(line) = progress.tick(&self.counts, None) {
                        tracing::info!(target: "lakehook::backfill", "{line}");
                    }
                    continue;
                }
                item = items.recv() => item,
            };
            match item {
                None => return Ok(()),
                Some(Item::Begin { after }) => unit = Unit { after, ..Unit::default() },
                Some(Item::Resource(entry)) => {
                    self.resource(&entry, &mut unit.counted, report).map_err(Stop::Failed)?;
                }
                Some(Item::End { missed }) => {
                    unit.counted.skipped += missed.skipped;
                    unit.counted.refused += missed.unreadable;
                    self.counts.skipped(missed.skipped);
                    self.counts.refused(missed.unreadable);
                    outcome.unreadable += missed.unreadable;
                    outcome.unstable += u64::from(missed.unstable);
                    cursor.position = unit.after;
                    cursor.counted.add(unit.counted);
                    if saved.elapsed() >= SAVE_EVERY {
                        self.save(cursor, store, report).await.map_err(Stop::Failed)?;
                        saved = Instant::now();
                    }
                }
            }
        }
    }

    fn resource(&mut self, entry: &Entry, counted: &mut Counted, report: &mut Report) -> Result<(), String> {
        if self.filter.keeps_out(&entry.json).is_some() {
            counted.filtered += 1;
            self.counts.settled();
            return Ok(());
        }
        if let Err(refusal) = self.validator.json(&entry.json) {
            let verdict = Verdict::from(refusal);
            let codes = match &verdict {
                Verdict::Invalid { issues, .. } => super::report::codes(issues),
                _ => Vec::new(),
            };
            let refused = Refused {
                key: Some(entry.key.to_string()),
                version_id: entry.version.version_id.as_deref().map(str::to_owned),
                verdict: verdict.name().to_owned(),
                codes,
                ..Refused::default()
            };
            counted.refused += 1;
            self.counts.refused(1);
            return report
                .add(&refused)
                .map_err(|error| format!("--report: {}: {error}", report.path().display()));
        }
        self.feed.write(entry.key.resource_type(), &entry.json).map_err(|error| error.to_string())?;
        counted.settled += 1;
        self.counts.settled();
        Ok(())
    }

    /// Files, report, cursor, in this order; then what is closed goes to its place.
    async fn save(
        &mut self,
        cursor: &mut Cursor,
        store: &CursorStore,
        report: &Report,
    ) -> Result<(), String> {
        let complete = cursor.exported.as_ref().is_some_and(|exported| exported.complete);
        let mut exported = self.feed.sync().map_err(|error| error.to_string())?;
        exported.complete = complete;
        report.sync().map_err(|error| format!("--report: {}: {error}", report.path().display()))?;
        cursor.exported = Some(exported);
        store.save(cursor).await.map_err(|error| format!("--cursor: {error}"))?;
        self.feed.deliver().await.map_err(|error| error.to_string())
    }

    async fn finish(
        &mut self,
        cursor: &mut Cursor,
        store: &CursorStore,
        report: &Report,
    ) -> Result<(), String> {
        self.feed.close().map_err(|error| error.to_string())?;
        self.save(cursor, store, report).await?;
        // All files are in their place.
        if let Some(exported) = &mut cursor.exported {
            exported.complete = true;
        }
        store.save(cursor).await.map_err(|error| format!("--cursor: {error}"))
    }
}
