//! `lakehook resend`: reads what the CDR has now, its deletion too, and forwards it.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::{StreamExt, stream};

use super::engine::Way;
use super::{DIFFERENCES, FAILED, Sources, USAGE, fail, keys, print, say};
use crate::delivery::{Delivery, Key};
use crate::mirror::{NoAnswer, Source, Told, patiently};
use crate::operate::telemetry;
use crate::settings::{MirrorArgs, Settings, plan};

#[derive(Args, Debug)]
pub(super) struct ResendCommand {
    /// Resources as Type/id; - reads them from stdin, one a line
    #[arg(required = true, value_name = "TYPE/ID")]
    resources: Vec<String>,
    /// How long to go on with what may be sent again
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::settings::duration, help_heading = "Control")]
    patience: Duration,
    /// Resources at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Control")]
    parallel: u16,
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(command: ResendCommand, sources: &Sources) -> ExitCode {
    // What became of each is printed; the delivery log of the same would only repeat it.
    let filter = match command.settings.log.log.as_str() {
        "info" => "error",
        other => other,
    };
    if let Err(error) = telemetry::start(filter, command.settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    let keys = match keys(&command.resources) {
        Ok(keys) => keys,
        Err(text) => return fail(USAGE, &text),
    };
    let plan = match plan(command.settings) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    if plan.cdr.is_none() {
        return fail(
            USAGE,
            "--cdr-url is missing: resend forwards what the CDR has now, so it has to be asked",
        );
    }
    let way = match Way::open(&plan, &command.mirror, Source::Resend).await {
        Ok(way) => way,
        Err(text) => return fail(FAILED, &text),
    };
    let mirror = &way.mirror;
    let mut told = stream::iter(keys)
        .map(async |key| {
            let delivery = Delivery::Changed { key: key.clone() };
            (key, patiently(&**mirror, delivery, command.patience).await)
        })
        .buffered(command.parallel.into());
    let (mut refused, mut failed) = (0, 0);
    while let Some((key, told)) = told.next().await {
        match &told {
            Ok(told) if told.settled => {}
            Ok(told) if !told.retryable => refused += 1,
            _ => failed += 1,
        }
        print(&line(&key, &told));
    }
    drop(told);
    way.close().await;
    match (refused, failed) {
        (0, 0) => ExitCode::SUCCESS,
        (refused, 0) => {
            say(&format!("{refused} refused"));
            ExitCode::from(DIFFERENCES)
        }
        (_, failed) => fail(FAILED, &format!("{failed} not settled; sending them again is safe")),
    }
}

fn line(key: &Key, told: &Result<Told, NoAnswer>) -> String {
    let told = match told {
        Ok(told) => told,
        Err(error) => return format!("{key}  {error}"),
    };
    let version = told.version.version_id.as_deref().map(|id| format!("  version {id}")).unwrap_or_default();
    let refused = told.refused.as_deref().or(told.filter_rule.as_deref());
    let refused = refused.map(|refused| format!(" ({refused})")).unwrap_or_default();
    let mut line = format!("{key}  {}{refused}{version}", told.verdict);
    for issue in &told.issues {
        let place = issue.expression.as_deref().map(|place| format!(" at {place}")).unwrap_or_default();
        line.push_str(&format!("\n    {}{place}: {}", issue.code, issue.diagnostics));
    }
    line
}
