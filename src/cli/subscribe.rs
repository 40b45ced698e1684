//! `lakehook subscribe` and `unsubscribe`: lakehook's own Subscriptions at the CDR, shown before they change.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use tokio::time::{Instant, sleep};

use super::{DIFFERENCES, FAILED, Sources, USAGE, check, fail, print, say};
use crate::cdr::subscription::{Action, Change, Seen, Step, SubscriptionError, apply, remove, seen, steps};
use crate::cdr::{Capabilities, Server};
use crate::operate::telemetry;
use crate::settings::{Settings, Subscribing, subscribing};

/// HAPI takes two of its submit intervals, 5 s each.
const ACTIVE_WITHIN: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(500);

#[derive(Args, Debug)]
pub(super) struct SubscribeCommand {
    /// Show what would change, and change nothing
    #[arg(long, help_heading = "Change")]
    dry_run: bool,
    /// One that is not marked as lakehook's too: made by hand, or by something else
    #[arg(long, help_heading = "Change")]
    take_over: bool,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(command: SubscribeCommand, sources: &Sources) -> ExitCode {
    let (SubscribeCommand { dry_run, take_over, .. }, plan) = match prepare(command, sources) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    if plan.unreachable {
        say(&format!(
            "warning: {} is on this machine only, and the CDR is not: set --subscription-endpoint",
            plan.wish.endpoint
        ));
    }
    let (capabilities, steps) = match look(&plan).await {
        Ok(found) => found,
        Err(error) => return failed(&error),
    };
    print(&about(&plan, &capabilities));
    for step in &steps {
        show(step, take_over, &plan, &capabilities);
    }
    let foreign = steps.iter().any(|step| step.action(take_over) == Action::Foreign);
    let nothing = steps.iter().all(|step| step.action(take_over) == Action::Nothing);
    if foreign {
        say("error: nothing is changed: what is not marked as lakehook's is left alone without --take-over");
        return ExitCode::from(DIFFERENCES);
    }
    if dry_run {
        return if nothing { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) };
    }
    let mut paths = Vec::new();
    for step in &steps {
        match step.action(take_over) {
            Action::Create | Action::Update => match apply(&plan.cdr, step).await {
                Ok(path) => paths.push(path),
                Err(error) => return failed(&error),
            },
            Action::Nothing | Action::Foreign => paths.push(step.name()),
        }
    }
    let mut code = ExitCode::SUCCESS;
    for path in paths {
        if !activated(&plan, &path).await {
            code = ExitCode::from(FAILED);
        }
    }
    code
}

pub(super) async fn unsubscribe(command: SubscribeCommand, sources: &Sources) -> ExitCode {
    let (SubscribeCommand { dry_run, take_over, .. }, plan) = match prepare(command, sources) {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let steps = match look(&plan).await {
        Ok((_, steps)) => steps,
        Err(error) => return failed(&error),
    };
    let foreign = steps.iter().find(|step| step.action(take_over) == Action::Foreign);
    if let Some(step) = foreign {
        say(&format!(
            "error: {} is not marked as lakehook's; nothing is deleted. With --take-over it is",
            step.name()
        ));
        return ExitCode::from(DIFFERENCES);
    }
    for step in &steps {
        let name = step.name();
        match (step.is_there(), dry_run) {
            (false, _) => print(&format!("{name}: not there")),
            (true, true) => print(&format!("{name}: would be deleted")),
            (true, false) => match remove(&plan.cdr, step).await {
                Ok(()) => print(&format!("{name}: deleted")),
                Err(error) => return failed(&error),
            },
        }
    }
    let would = dry_run && steps.iter().any(Step::is_there);
    if would { ExitCode::from(DIFFERENCES) } else { ExitCode::SUCCESS }
}

fn prepare(
    command: SubscribeCommand,
    sources: &Sources,
) -> Result<(SubscribeCommand, Subscribing), ExitCode> {
    let log = &command.settings.log;
    let filter = if log.log == "info" { "error" } else { &log.log };
    telemetry::start(filter, log.lines()).map_err(|error| fail(USAGE, &format!("--log: {error}")))?;
    let plan = subscribing(command.settings.clone())
        .map_err(|error| fail(USAGE, &sources.locate(error).to_string()))?;
    Ok((command, plan))
}

async fn look(plan: &Subscribing) -> Result<(Capabilities, Vec<Step>), SubscriptionError> {
    let capabilities = plan.cdr.capabilities().await;
    let capabilities = capabilities
        .map_err(|source| SubscriptionError::Cdr { what: format!("{}/metadata", plan.cdr.base()), source })?;
    let steps = steps(&plan.cdr, &plan.wish, &capabilities).await?;
    Ok((capabilities, steps))
}

fn about(plan: &Subscribing, capabilities: &Capabilities) -> String {
    let software = capabilities.software.as_deref().unwrap_or("without a name");
    let version = capabilities.version.as_deref().unwrap_or("of unknown version");
    let as_if = match plan.wish.server {
        Some(server) if server != capabilities.server => format!(", treated as {}", server.name()),
        _ => String::new(),
    };
    format!("{}: {software} {version}{as_if}", plan.cdr.base())
}

fn show(step: &Step, take_over: bool, plan: &Subscribing, capabilities: &Capabilities) {
    let name = step.name();
    let does = match step.action(take_over) {
        Action::Nothing => "is as it should be",
        Action::Create => "is created",
        Action::Update => "is changed",
        Action::Foreign => "is there, and not marked as lakehook's",
    };
    print(&format!("{name} {does}"));
    for change in &step.changes {
        print(&line(change));
    }
    let server = plan.wish.server.unwrap_or(capabilities.server);
    if matches!(server, Server::Hapi | Server::SmileCdr) {
        let callers = (&*plan.callers, plan.settings.listen.tls_client_ca.is_some());
        let tls = plan.settings.listen.tls_cert.is_some();
        for trap in check::traps(&step.resource, &plan.base_path, callers, tls, Some(server)) {
            print(&format!("  ! {trap}"));
        }
    }
}

fn line(change: &Change) -> String {
    let what = &change.what;
    match (&change.from, &change.to) {
        (None, Some(to)) => format!("  + {what}: {to}"),
        (Some(from), None) => format!("  - {what}: {from}"),
        (from, to) => {
            let text = |side: &Option<String>| side.clone().unwrap_or_default();
            format!("  ~ {what}: {} -> {}", text(from), text(to))
        }
    }
}

/// HAPI looks at a Subscription before it makes it active.
async fn activated(plan: &Subscribing, path: &str) -> bool {
    let deadline = Instant::now() + ACTIVE_WITHIN;
    loop {
        match seen(&plan.cdr, path).await {
            Ok(Seen::Active) => {
                print(&format!("{path}: active"));
                return true;
            }
            Ok(Seen::Requested) if Instant::now() < deadline => sleep(LOOK_EVERY).await,
            Ok(Seen::Requested) => {
                say(&format!(
                    "error: {path}: still requested after 60s: look at the CDR's log, and whether its Subscriptions are switched on"
                ));
                return false;
            }
            Ok(other) => {
                let says = match &other {
                    Seen::Error(Some(text)) => format!(": {text}"),
                    _ => String::new(),
                };
                say(&format!("error: {path}: {}{says}", other.as_str()));
                return false;
            }
            Err(error) => {
                say(&format!("error: {path}: {error}"));
                return false;
            }
        }
    }
}

fn failed(error: &SubscriptionError) -> ExitCode {
    for text in error.texts() {
        say(&format!("  the CDR says: {text}"));
    }
    match error {
        SubscriptionError::Shape(_) => fail(USAGE, &error.to_string()),
        SubscriptionError::Cdr { .. } => fail(FAILED, &error.to_string()),
    }
}
