//! Through the CDR: starts its job and watches what arrives.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::args::TriggerArgs;
use super::{Ended, Job};
use crate::backfill::{Counts, Live, Progress, Trigger, survey};
use crate::cli::{print, say};
use crate::delivery::Key;
use crate::mirror::RunningFile;
use crate::operate::Signals;

const LOOK_EVERY: Duration = Duration::from_millis(500);

pub(super) async fn run(job: &Job<'_>, subscription: Key, args: &TriggerArgs) -> Result<Ended, String> {
    let mut searches = args.search.clone();
    if searches.is_empty() && args.id.is_empty() {
        let types = survey(&job.cdr, &job.backfill.types, job.backfill.since, &job.plan.filter).await;
        let types = types.map_err(|error| error.to_string())?;
        let since = job.backfill.since.map(crate::backfill::since).unwrap_or_default();
        searches.extend(
            types.iter().filter(|state| state.count > 0).map(|state| format!("{}?{since}", state.name)),
        );
    }
    if searches.is_empty() && args.id.is_empty() {
        say("the CDR has nothing to deliver");
        return Ok(Ended { refused: 0, gaps: Vec::new() });
    }
    let live = live(job)?;
    let before = match &live {
        Some(live) => Some(live.deliveries().await.map_err(|error| error.to_string())?),
        None => None,
    };
    let trigger = Trigger { subscription, searches, resources: args.id.clone() };
    let triggered = trigger.start(&job.cdr).await.map_err(|error| error.to_string())?;
    print(triggered.says.as_deref().unwrap_or("the CDR accepted the job"));
    if let Some(expected) = triggered.expected {
        say(&format!("{expected} resources match"));
    }
    match (live, before) {
        (Some(live), Some(before)) => watch(&live, before, triggered.expected, args.quiet).await,
        _ => {
            say(
                "the CDR does not tell how far it is, and no running instance is known whose deliveries could be counted: set --data-dir or --instance",
            );
            Ok(Ended { refused: 0, gaps: Vec::new() })
        }
    }
}

/// The running instance, where it is known.
fn live(job: &Job<'_>) -> Result<Option<Live>, String> {
    let admin = match (&job.mirror.instance, &job.plan.settings.order.data_dir) {
        (Some(admin), _) => Some(admin.clone()),
        (None, Some(directory)) => RunningFile::read(directory)
            .map_err(|error| format!("--data-dir: {}: instance.json: {error}", directory.display()))?
            .map(|found| found.admin),
        (None, None) => None,
    };
    admin.map(|admin| Live::at(&admin)).transpose().map_err(|error| error.to_string())
}

/// Until as many arrived as matched, or nothing arrives any more. Changes of the moment are counted too: the CDR
/// does not tell them apart, and neither can we.
async fn watch(
    live: &Live,
    before: (u64, u64),
    expected: Option<u64>,
    quiet: Duration,
) -> Result<Ended, String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let mut progress = Progress::new(expected.unwrap_or(0));
    let (mut seen, mut since) = (0, Instant::now());
    let refused = loop {
        let counts = Counts::default();
        match live.deliveries().await {
            Ok((all, failed)) => {
                let (all, failed) = (all.saturating_sub(before.0), failed.saturating_sub(before.1));
                if all > seen {
                    (seen, since) = (all, Instant::now());
                }
                counts.set(all.saturating_sub(failed), failed);
                if expected.is_some_and(|expected| all >= expected) || since.elapsed() >= quiet {
                    break failed;
                }
            }
            // It may be restarted; its counts begin anew then, and quiet ends the watch.
            Err(error) if since.elapsed() >= quiet => return Err(error.to_string()),
            Err(_) => {}
        }
        if let Some(line) = progress.tick(&counts, None) {
            tracing::info!(target: "lakehook::backfill", "{line}");
        }
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            _ = signals.next() => {
                progress.finish();
                return Err(format!("interrupted after {seen} deliveries: the CDR goes on by itself"));
            }
        }
    };
    progress.finish();
    say(&format!("{seen} deliveries arrived, {refused} of them were not settled at the first attempt"));
    let mut gaps = Vec::new();
    if let Some(expected) = expected.filter(|expected| *expected > seen) {
        gaps.push(format!(
            "{expected} resources matched and nothing more arrives: does the Subscription's criteria match them, and is its endpoint this instance? Triggering again is safe"
        ));
    }
    // A refused delivery may have been settled by the CDR's retry: only the log tells.
    Ok(Ended { refused, gaps })
}
