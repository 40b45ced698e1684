//! `lakehook canary`: one canary, from the CDR to HealthLake. And those of a running instance.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::task::JoinHandle;

use super::engine::{Engine, client};
use super::{FAILED, Sources, USAGE, fail, print, say};
use crate::canary::{Canary, Flight, Status, Watch};
use crate::operate::{Metrics, Recent, telemetry};
use crate::order::lease::Lease;
use crate::settings::{Plan, Settings, plan};

#[derive(Args, Debug)]
pub(super) struct CanaryCommand {
    #[command(flatten)]
    settings: Settings,
}

const NO_CDR: &str = "--cdr-url is missing: a canary is written at the CDR";

pub(super) async fn run(command: CanaryCommand, sources: &Sources) -> ExitCode {
    let mut settings = command.settings;
    let filter = match settings.log.log.as_str() {
        "info" => "error",
        other => other,
    };
    if let Err(error) = telemetry::start(filter, settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    if settings.cdr.cdr_url.is_none() {
        return fail(USAGE, NO_CDR);
    }
    // What is asked for at the CDR's token endpoint follows it.
    settings.canary.canary_every.get_or_insert(Duration::MAX);
    let plan = match plan(settings) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    let Some(canary) = canary(&plan) else {
        return fail(USAGE, NO_CDR);
    };
    let client = match client(&plan).await {
        Ok(client) => client,
        Err(text) => return fail(FAILED, &text),
    };
    let flown = canary.fly(&client.healthlake, None).await;
    client.renewing.abort();
    match flown {
        Ok(flight) => {
            print(&told(&canary, &flight));
            ExitCode::SUCCESS
        }
        Err(lost) => {
            lost.texts().iter().for_each(|text| say(&format!("the CDR says: {text}")));
            fail(FAILED, &lost.to_string())
        }
    }
}

fn told(canary: &Canary, flight: &Flight) -> String {
    let version = flight.version.as_deref().map(|id| format!(" version {id}")).unwrap_or_default();
    format!(
        "{}{version}: written at the CDR in {:.3} s, at HealthLake after {:.3} s",
        canary.key,
        flight.written.as_secs_f64(),
        flight.arrived.as_secs_f64()
    )
}

/// None without a CDR.
fn canary(plan: &Plan) -> Option<Canary> {
    let (args, subscription) = (&plan.settings.canary, &plan.settings.subscription);
    Some(Canary {
        cdr: plan.cdr.clone()?,
        key: args.canary_resource.clone(),
        timeout: args.canary_timeout,
        subscription: subscription.subscription_id.clone(),
        clock: Plan::clock(),
    })
}

/// The canaries of a running instance, where they are wanted; what health tells of them, and what flies them.
pub(super) fn start(
    plan: &Plan,
    engine: &Engine,
    metrics: &Metrics,
    recent: &Arc<Recent>,
) -> Option<(Status, JoinHandle<()>)> {
    let every = plan.settings.canary.canary_every?;
    let canary = canary(plan)?;
    let status = Status::new(&canary);
    let forward = engine.forward.clone();
    let watch = Watch {
        canary,
        every,
        status: status.clone(),
        lease: Lease::of(&forward.store, "canary"),
        forward,
        recent: recent.clone(),
        metrics: metrics.canary.clone(),
    };
    Some((status, tokio::spawn(watch.run())))
}
