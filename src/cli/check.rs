//! `lakehook check`: what works, what does not, what to do. It asks what `serve` would ask, with the same
//! clients, and writes nothing anywhere.

mod authorization;
mod aws;
mod cdr;
mod healthlake;
mod letters;
mod order;
mod refusal;
mod settings;
mod subscription;
mod table;

use std::path::Path;
use std::process::ExitCode;

use serde_json::Value;
use tokio::time::Instant;

use self::table::{Outcome, Table};
use super::serve::{prepare, start_sandbox};
use super::{FAILED, Sources, USAGE, fail, print};
use crate::cdr::Server;
use crate::operate::telemetry;
use crate::receive::Callers;
use crate::settings::{Plan, Settings};

pub(super) async fn run(settings: Settings, file: Option<&Path>, sources: &Sources) -> ExitCode {
    // The table says what is wrong; log lines between its rows would not help. Asked for, they come.
    let filter = if settings.log.log == "info" { "error" } else { &settings.log.log };
    if let Err(error) = telemetry::start(filter, settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    let (plan, sandbox) = match prepare(settings, sources).await {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let subscription = match file.map(read).transpose() {
        Ok(subscription) => subscription,
        Err(text) => return fail(USAGE, &text),
    };
    let sandbox = start_sandbox(&plan, sandbox);
    let table = check(&plan, subscription.as_ref(), sources).await;
    if let Some(sandbox) = sandbox {
        sandbox.abort();
    }
    print(&table.to_string());
    if table.has_failed() { ExitCode::from(FAILED) } else { ExitCode::SUCCESS }
}

async fn check(plan: &Plan, subscription: Option<&Value>, sources: &Sources) -> Table {
    let mut table = Table::default();
    let deadline = || Instant::now() + plan.settings.delivery.deadline;

    table.section("Settings");
    settings::sources(&mut table, sources);
    settings::listening(&mut table, plan).await;
    settings::deliveries(&mut table, plan);

    table.section("AWS");
    let resolved = aws::check(&mut table, plan).await;
    table.section("HealthLake");
    healthlake::check(&mut table, plan, resolved.as_ref(), deadline).await;

    table.section("Order");
    order::check(&mut table, plan, resolved.as_ref()).await;

    table.section("Dead letters");
    letters::check(&mut table, plan, resolved.as_ref()).await;

    table.section("CDR");
    let found = cdr::check(&mut table, plan, subscription.is_none()).await;
    for subscription in subscription.into_iter().chain(&found.subscriptions) {
        table.section(&subscription::name(subscription));
        subscription::check(&mut table, subscription, &authorization::Wants::of(plan), found.server);
    }
    table
}

/// What a Subscription's known traps are told, each one as a text; its status is none of them.
pub(super) fn traps(
    subscription: &Value,
    base_path: &str,
    (callers, certificate): (&Callers, bool),
    tls: bool,
    server: Option<Server>,
) -> Vec<String> {
    let wants = authorization::Wants { base_path, callers, certificate, made_token: false, tls };
    let mut table = Table::default();
    subscription::check(&mut table, subscription, &wants, server);
    let traps = table.rows().filter(|row| row.outcome != Outcome::Ok && row.what != "status");
    traps
        .map(|row| {
            let advice = row.to_do.as_deref().map(|text| format!("; {text}")).unwrap_or_default();
            format!("{}: {}{advice}", row.what, row.found)
        })
        .collect()
}

/// A Subscription as a CDR shows it.
fn read(path: &Path) -> Result<Value, String> {
    let error = |problem: String| format!("--subscription: {}: {problem}", path.display());
    let text = std::fs::read_to_string(path).map_err(|problem| error(problem.to_string()))?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|problem| error(format!("is not JSON ({problem}); save the Subscription as FHIR JSON")))?;
    match value["resourceType"].as_str() {
        Some("Subscription") => Ok(value),
        Some(other) => Err(error(format!("is a {other}, not a Subscription"))),
        None => Err(error("has no resourceType; it should be one Subscription as FHIR JSON".into())),
    }
}
