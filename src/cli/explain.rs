//! `lakehook explain`: a code's text, or what is known of one resource.

use std::process::ExitCode;

use clap::Args;
use tokio::time::Instant;

use super::engine::{Engine, find};
use super::{FAILED, Sources, USAGE, fail, print};
use crate::delivery::Key;
use crate::explain::{Explained, LetterLine, Side, code, codes, explain};
use crate::mirror::Source;
use crate::operate::telemetry;
use crate::settings::{MirrorArgs, Settings, plan};

#[derive(Args, Debug)]
pub(super) struct ExplainCommand {
    /// A code, as answers and logs name it, or a resource as Type/id; `codes` lists the codes
    #[arg(value_name = "CODE|TYPE/ID")]
    what: String,
    /// For scripts: JSON
    #[arg(long, help_heading = "Control")]
    json: bool,
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(command: ExplainCommand, sources: &Sources) -> ExitCode {
    if command.what == "codes" {
        codes().for_each(|code| print(&format!("{:<24}{}", code.name, first_line(code.what_happened()))));
        return ExitCode::SUCCESS;
    }
    if let Some(code) = code(&command.what) {
        print(&format!("{}\n\n{}", code.name, code.plain()));
        return ExitCode::SUCCESS;
    }
    let key = match Key::parse(&command.what) {
        Ok(key) => key,
        Err(error) if command.what.contains('/') => {
            return fail(USAGE, &format!("`{}` is not Type/id: {error}", command.what));
        }
        Err(_) => {
            return fail(
                USAGE,
                &format!(
                    "`{}` is no code and no Type/id; `lakehook explain codes` lists the codes",
                    command.what
                ),
            );
        }
    };
    if let Err(error) = telemetry::start("error", command.settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    match resource(&key, command.settings, &command.mirror, sources).await {
        Ok(explained) if command.json => {
            print(&serde_json::to_string_pretty(&explained).expect("strings always serialize"));
            ExitCode::SUCCESS
        }
        Ok(explained) => {
            print(&tell(&explained));
            ExitCode::SUCCESS
        }
        Err(code) => code,
    }
}

async fn resource(
    key: &Key,
    settings: Settings,
    mirror: &MirrorArgs,
    sources: &Sources,
) -> Result<Explained, ExitCode> {
    let plan = plan(settings).map_err(|error| fail(USAGE, &sources.locate(error).to_string()))?;
    // Only the instance knows its deliveries; without one the two sides still tell much.
    if !mirror.alone
        && let Some(instance) =
            find(&plan.settings, mirror, Source::Resend).await.map_err(|text| fail(FAILED, &text))?
    {
        let path = format!("/explain/{key}");
        return instance.ask(&path).await.map_err(|error| fail(FAILED, &error.to_string()));
    }
    let engine = Engine::open(&plan).await.map_err(|text| fail(FAILED, &text))?;
    let deadline = Instant::now() + plan.settings.delivery.deadline;
    let explained = explain(&engine.forward, key, Vec::new(), deadline).await;
    engine.close().await;
    Ok(explained)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().replace('`', "")
}

fn tell(explained: &Explained) -> String {
    let Explained { key, deliveries, order, cdr, healthlake, filter_rule, letters, advice } = explained;
    let mut text = format!("{key}\n\n");
    let mut row = |name: &str, value: String| text.push_str(&format!("  {name:<12}{value}\n"));
    row("CDR", cdr.as_ref().map_or("not asked: no --cdr-url".into(), Side::told));
    row("HealthLake", healthlake.told());
    row("remembered", order.told());
    if let Some(rule) = filter_rule {
        row("filter", format!("kept out by --filter-{rule}"));
    }
    if !deliveries.is_empty() {
        text.push_str("\nLast deliveries\n");
    }
    for line in deliveries {
        let version = line.version_id.as_deref().map(|id| format!(" version {id}")).unwrap_or_default();
        let status =
            line.healthlake_status.map(|status| format!(" (HealthLake {status})")).unwrap_or_default();
        text.push_str(&format!(
            "  {}  {:<9}{:<10}{}{version}{status}  {} ms  {}\n",
            line.at, line.source, line.interaction, line.verdict, line.milliseconds, line.delivery
        ));
    }
    if !letters.is_empty() {
        text.push_str("\nDead letters\n");
    }
    for letter in letters {
        let LetterLine { id, interaction, reason, attempts, last, .. } = letter;
        let codes = letter.codes.join(",");
        text.push_str(&format!(
            "  {id}  {interaction:<8}{reason} {codes}  came {attempts} times, last {last}\n"
        ));
    }
    text.push_str("\nWhat follows\n");
    for line in advice {
        text.push_str(&format!("  - {line}\n"));
    }
    text.trim_end().to_owned()
}
