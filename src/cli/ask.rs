//! The small commands: `status` and `log-level` ask the running instance, `faults` the sandbox.

use std::process::ExitCode;

use clap::Args;
use http::Method;
use secrecy::SecretString;
use serde_json::Value;

use super::engine::{announced, token};
use super::{DIFFERENCES, FAILED, Sources, USAGE, fail, print};
use crate::mirror::{Instance, Source, reachable};
use crate::settings::{SandboxArgs, Settings};

#[derive(Args, Debug)]
pub(super) struct StatusCommand {
    /// For scripts: JSON
    #[arg(long, help_heading = "Control")]
    json: bool,
    /// Admin address of the running instance, as http://127.0.0.1:8081 [default: found in the data dir, else --admin-listen]
    #[arg(long, env = "LAKEHOOK_INSTANCE", value_name = "URL", help_heading = "Control")]
    instance: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args, Debug)]
pub(super) struct LogLevelCommand {
    /// The new filter, as info,lakehook::export=debug; without it the one in force is shown
    #[arg(value_name = "FILTER")]
    filter: Option<String>,
    /// Admin address of the running instance, as http://127.0.0.1:8081 [default: found in the data dir, else --admin-listen]
    #[arg(long, env = "LAKEHOOK_INSTANCE", value_name = "URL", help_heading = "Control")]
    instance: Option<String>,
    #[command(flatten)]
    settings: Settings,
}

#[derive(Args, Debug)]
pub(super) struct FaultsCommand {
    /// Faults as JSON: {"status":503,"rate":0.1}
    #[arg(value_name = "FAULT")]
    faults: Vec<String>,
    /// End all faults
    #[arg(long, conflicts_with = "faults", help_heading = "Control")]
    clear: bool,
    #[command(flatten)]
    sandbox: SandboxArgs,
}

/// Exit code 0: ready, 3: it runs and is not ready, 1: nobody answers.
pub(super) async fn status(command: StatusCommand, _: &Sources) -> ExitCode {
    let instance = match at(&command.settings, command.instance.as_deref()) {
        Ok(instance) => instance,
        Err(text) => return fail(USAGE, &text),
    };
    let detail: Value = match instance.ask("/readyz").await {
        Ok(detail) => detail,
        Err(error) => return fail(FAILED, &error.to_string()),
    };
    if command.json {
        print(&serde_json::to_string_pretty(&detail).unwrap_or_default());
    } else {
        let mut rows = Vec::new();
        tell(&detail, "", &mut rows);
        let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or_default() + 2;
        for (name, value) in rows {
            print(&format!("{name:<width$}{value}"));
        }
    }
    if detail["ready"] == Value::Bool(true) { ExitCode::SUCCESS } else { ExitCode::from(DIFFERENCES) }
}

/// A row for each value: its path, and what it is.
fn tell(value: &Value, path: &str, rows: &mut Vec<(String, String)>) {
    let name = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    match value {
        Value::Object(entries) => entries.iter().for_each(|(key, value)| tell(value, &name(key), rows)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(n, value)| tell(value, &name(&n.to_string()), rows));
        }
        Value::Null => rows.push((path.to_owned(), "-".to_owned())),
        Value::String(text) => rows.push((path.to_owned(), text.clone())),
        other => rows.push((path.to_owned(), other.to_string())),
    }
}

pub(super) async fn log_level(command: LogLevelCommand, _: &Sources) -> ExitCode {
    let instance = match at(&command.settings, command.instance.as_deref()) {
        Ok(instance) => instance,
        Err(text) => return fail(USAGE, &text),
    };
    let answer = match command.filter {
        None => instance.ask_text(Method::GET, "/log", None).await,
        Some(filter) => instance.ask_text(Method::PUT, "/log", Some(filter)).await,
    };
    match answer {
        Ok(filter) => {
            print(&filter);
            ExitCode::SUCCESS
        }
        Err(crate::mirror::NoAnswer::Refused { status: 400, .. }) => {
            fail(USAGE, "that is no filter; write a level, or target=level, separated by commas")
        }
        Err(error) => fail(FAILED, &error.to_string()),
    }
}

/// Neither of these commands needs a token: what only looks, needs none.
fn at(settings: &Settings, instance: Option<&str>) -> Result<Instance, String> {
    let found = match &settings.order.data_dir {
        Some(directory) => announced(directory)?,
        None => None,
    };
    let (admin, token) = match (instance, found) {
        (Some(url), _) => (url.to_owned(), token(settings)?),
        (None, Some(found)) => (found.admin, Some(SecretString::from(found.token))),
        (None, None) => (reachable(settings.listen.admin_listen), token(settings)?),
    };
    let token = token.unwrap_or_else(|| SecretString::from(""));
    Instance::new(&admin, &token, Source::Resend, settings.delivery.deadline)
        .map_err(|error| error.to_string())
}

pub(super) async fn faults(command: FaultsCommand) -> ExitCode {
    let url = format!("http://{}/_sandbox/faults", command.sandbox.sandbox_listen);
    let client = match reqwest::Client::builder().no_proxy().build() {
        Ok(client) => client,
        Err(error) => return fail(FAILED, &error.to_string()),
    };
    let unreachable = || {
        let at = command.sandbox.sandbox_listen;
        format!(
            "no sandbox answers at {at}; start one with `lakehook sandbox` or `serve --sandbox`, or name its --sandbox-listen"
        )
    };
    let requests: Vec<_> = if command.clear {
        vec![client.delete(&url)]
    } else if command.faults.is_empty() {
        return fail(USAGE, "name a fault as JSON, such as '{\"status\":503,\"rate\":0.1}', or --clear");
    } else {
        command.faults.iter().map(|fault| client.post(&url).body(fault.clone())).collect()
    };
    for request in requests {
        match request.send().await {
            Ok(response) if response.status().is_success() => {}
            Ok(response) => {
                let text = response.text().await.unwrap_or_default();
                return fail(USAGE, &format!("the sandbox refuses it: {text}"));
            }
            Err(_) => return fail(FAILED, &unreachable()),
        }
    }
    ExitCode::SUCCESS
}
