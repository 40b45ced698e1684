//! `lakehook dead-letters redrive`: letters are sent again, paced, with progress.

use std::num::NonZeroU32;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use tokio::time::{MissedTickBehavior, interval};

use super::super::engine::Way;
use super::super::{DIFFERENCES, FAILED, Sources, USAGE, fail, print, say};
use super::select::{Found, Which};
use crate::deadletter::DeadLetters;
use crate::delivery::Key;
use crate::mirror::Source;
use crate::operate::Signals;
use crate::redrive::{Redrive, Summary, by_resource};
use crate::settings::{MirrorArgs, Settings, plan};

#[derive(Args, Debug)]
pub(super) struct RedriveCommand {
    #[command(flatten)]
    which: Which,
    /// Resources a second
    #[arg(long, value_name = "N", default_value = "10")]
    rate: NonZeroU32,
    /// How long to go on with what may be sent again
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::settings::duration)]
    patience: Duration,
}

pub(super) async fn run(
    store: &dyn DeadLetters,
    command: &RedriveCommand,
    mirror: &MirrorArgs,
    settings: Settings,
    sources: &Sources,
) -> ExitCode {
    let plan = match plan(settings) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    let found = match Found::load(store, &command.which).await {
        Ok(found) => found,
        Err(code) => return code,
    };
    if found.selected.is_empty() {
        say(&format!("no dead letters to redrive in {}", store.place()));
        return found.code();
    }
    let Ok(mut signals) = Signals::new() else { return fail(FAILED, "signals can't be caught") };
    let way = match Way::open(&plan, mirror, Source::Redrive).await {
        Ok(way) => way,
        Err(text) => return fail(FAILED, &text),
    };
    let resources = by_resource(&found.selected);
    let bar = bar(resources.len() as u64);
    let redrive = Redrive {
        store,
        mirror: &*way.mirror,
        validator: &plan.validator,
        ask_cdr: plan.cdr.is_some(),
        patience: command.patience,
    };
    let tell = |key: &Key, text: &str| bar.suspend(|| print(&format!("{key}  {text}")));
    let mut pace = interval(Duration::from_secs(1) / command.rate.get());
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut summary = Summary::default();
    let mut resources = resources.into_iter();
    let mut stopped = false;
    for resource in resources.by_ref() {
        // What was begun ends; what was not is left as it is.
        tokio::select! {
            _ = signals.next() => stopped = true,
            _ = pace.tick() => {}
        }
        if stopped {
            summary.untried += resource.letters.len();
            break;
        }
        let ended = {
            let mut one = std::pin::pin!(redrive.one(&resource, &mut summary, &tell));
            loop {
                tokio::select! {
                    () = &mut one => break true,
                    _ = signals.next() => {
                        if stopped {
                            break false;
                        }
                        stopped = true;
                        bar.suspend(|| say("ends after this resource; a second signal ends at once"));
                    }
                }
            }
        };
        if !ended {
            summary.untried += resource.letters.len();
        }
        bar.inc(1);
        if stopped {
            break;
        }
    }
    summary.untried += resources.map(|resource| resource.letters.len()).sum::<usize>();
    bar.finish_and_clear();
    way.close().await;
    print(&summary.text());
    if stopped || summary.failed > 0 || found.unreadable > 0 {
        ExitCode::from(FAILED)
    } else if summary.refused > 0 {
        ExitCode::from(DIFFERENCES)
    } else {
        ExitCode::SUCCESS
    }
}

/// On stderr, where that is a terminal.
fn bar(resources: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} resources, {eta} left");
    let bar = ProgressBar::with_draw_target(Some(resources), ProgressDrawTarget::stderr());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
