//! The direct way.

use std::sync::Arc;
use std::time::Duration;

use super::{Ended, Job};
use crate::backfill::{Cursor, CursorStore, Direct, Outcome, Reader, Report, Skips, Stop, beside};
use crate::cli::engine::Way;
use crate::cli::say;
use crate::mirror::{Pace, Source, pace};
use crate::operate::Signals;

pub(super) async fn run(job: &Job<'_>) -> Result<Ended, String> {
    let store = job.cursor_store(false).await?;
    let (mut cursor, resumed) = job.cursor(&store, job.plan.endpoint.as_str()).await?;
    let mut report = report(job, &store);
    if !resumed {
        report.clear().map_err(|error| format!("--report: {}: {error}", report.path().display()))?;
    }
    let ended = forward(job, &mut cursor, &store, &mut report).await?;
    store.remove().await.map_err(|error| format!("--cursor: {error}"))?;
    Ok(ended)
}

/// The file for what was refused.
pub(super) fn report(job: &Job<'_>, store: &CursorStore) -> Report {
    match (&job.backfill.report, store) {
        (Some(path), _) => Report::at(path),
        (None, CursorStore::File(file)) => Report::at(&beside(file.path(), ".refused.ndjson")),
        (None, CursorStore::Table(_)) => Report::at("backfill.refused.ndjson".as_ref()),
    }
}

/// Forwards what is left according to the cursor.
pub(super) async fn forward(
    job: &Job<'_>,
    cursor: &mut Cursor,
    store: &CursorStore,
    report: &mut Report,
) -> Result<Ended, String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let way = Way::open(job.plan, &job.mirror, Source::Backfill).await?;
    say(&format!("{} resources {}, through {}", cursor.total(), cursor.what, way.mirror.way()));
    let most = job.backfill.max_rate.map(f64::from);
    let direct = Direct {
        mirror: way.mirror.clone(),
        pace: Arc::new(Pace::new(pace::Limits { most, ..pace::Limits::default() })),
        parallel: job.backfill.parallel.into(),
        patience: job.backfill.patience,
        grace: job.plan.settings.delivery.deadline + Duration::from_secs(2),
    };
    let skips = Skips::new(cursor.not_supported.iter().cloned());
    let outcome = direct.run(cursor, store, report, reader(job, cursor, &skips), &mut signals).await;
    drop(direct);
    way.close().await;
    ended(cursor, store, report, outcome).await
}

pub(super) fn reader(job: &Job<'_>, cursor: &Cursor, skips: &Skips) -> Reader {
    let mut reader = Reader::of(cursor, &job.cdr, skips.clone(), job.backfill.patience);
    (reader.page, reader.window) = (job.backfill.page_size, job.backfill.window_size);
    reader
}

/// What is said in the end.
pub(super) async fn ended(
    cursor: &Cursor,
    store: &CursorStore,
    report: &Report,
    outcome: Outcome,
) -> Result<Ended, String> {
    let counted = cursor.counted;
    if !cursor.not_supported.is_empty() {
        say(&format!("types that HealthLake does not take: {}", cursor.not_supported.join(", ")));
    }
    if counted.refused > 0 {
        say(&format!("{} refused, listed in {}", counted.refused, report.path().display()));
    }
    let stopped = match outcome.stopped {
        Some(Stop::Interrupted) => Some("interrupted".to_owned()),
        Some(Stop::Failed(text)) => Some(text),
        None => None,
    };
    say(&format!(
        "{} of {} resources settled, {} refused, {} of types that are not taken{}",
        counted.settled,
        cursor.total(),
        counted.refused,
        counted.skipped,
        match counted.filtered {
            0 => String::new(),
            filtered => format!(", {filtered} kept out by the filter"),
        }
    ));
    if let Some(text) = stopped {
        return Err(format!(
            "{text}; the same command goes on from {store}, and repeats no more than the windows that were in flight"
        ));
    }
    let mut gaps = Vec::new();
    let unread = cursor.unreadable();
    if !unread.is_empty() {
        gaps.push(format!("not read, since the CDR does not search them: {}", unread.join(", ")));
    }
    if outcome.unstable > 0 {
        gaps.push(format!(
            "the CDR's pages of {} windows did not stand still: reconcile finds what was missed",
            outcome.unstable
        ));
    }
    Ok(Ended { refused: counted.refused, gaps })
}
