//! `lakehook serve` on AWS Lambda: the same engine and the same router, with events in a listener's place. There is no
//! admin address, and nothing runs in the background: the process is frozen between its deliveries.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::engine::{Engine, app};
use crate::operate::{Lifecycle, Metrics, Signals};
use crate::receive;
use crate::settings::{Plan, on_lambda};

/// Before the first event Lambda waits for 10 s.
const INIT: Duration = Duration::from_secs(5);

/// Lambda calls its `bootstrap` without an argument.
pub(super) fn arguments(mut given: Vec<OsString>) -> Vec<OsString> {
    if given.len() == 1 && on_lambda() {
        given.push("serve".into());
    }
    given
}

pub(super) async fn serve(plan: Plan) -> Result<(), String> {
    known_to_lambda()?;
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let engine = Engine::open(&plan).await?;
    engine.renew_with_deliveries();
    // What the first delivery would wait for. What fails is said in the log, and tried again then.
    let _ = timeout(INIT, engine.forward.healthlake.renew_credentials()).await;
    let lifecycle = Lifecycle::default();
    let app = app(&plan, &engine, Arc::new(Metrics::default()), lifecycle.clone());
    tracing::info!(
        healthlake = plan.endpoint.as_str(),
        region = engine.resolved.region,
        role = plan.source.role.as_ref().map(|role| role.arn.as_str()),
        version = env!("CARGO_PKG_VERSION"),
        "serving AWS Lambda's events"
    );
    let admission = app.admission.clone();
    let outcome = tokio::select! {
        ended = receive::lambda(app, plan.settings.lambda_margin()) => {
            ended.map_err(|error| format!("AWS Lambda's runtime API (AWS_LAMBDA_RUNTIME_API): {error}"))
        }
        _ = signals.next() => {
            lifecycle.stop();
            let _ = timeout(plan.settings.lifecycle.drain_timeout, admission.drained()).await;
            Ok(())
        }
    };
    engine.close().await;
    outcome
}

/// What the runtime's client reads of its environment, and ends the process without.
fn known_to_lambda() -> Result<(), String> {
    let names =
        ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "AWS_LAMBDA_FUNCTION_VERSION"];
    match names.into_iter().find(|name| std::env::var_os(name).is_none()) {
        Some(name) => Err(format!(
            "AWS_LAMBDA_RUNTIME_API is set, and {name} is not: where this is not AWS Lambda, unset the former"
        )),
        None => Ok(()),
    }
}
