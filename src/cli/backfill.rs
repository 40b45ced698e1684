//! `lakehook backfill`: everything that the CDR has, brought to HealthLake. Directly; through the CDR; or by
//! HealthLake's import.

mod args;
mod direct;
mod export;
mod trigger;

use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::{DIFFERENCES, FAILED, Sources, USAGE, fail, say};
use crate::backfill::{Cursor, CursorFile, CursorStore, CursorTable, What, survey};
use crate::cdr::Cdr;
use crate::healthlake::Resolved;
use crate::operate::telemetry;
use crate::order::dynamodb::{Bounds, client};
use crate::settings::{MirrorArgs, OrderStore, Plan, Settings, SettingsError, plan};
use args::{BackfillArgs, ExportArgs, TriggerArgs};

#[derive(Args, Debug)]
pub(super) struct BackfillCommand {
    #[command(flatten)]
    backfill: BackfillArgs,
    #[command(flatten)]
    trigger: TriggerArgs,
    #[command(flatten)]
    export: ExportArgs,
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    settings: Settings,
}

/// What a way of backfilling needs.
struct Job<'a> {
    plan: &'a Plan,
    cdr: Arc<Cdr>,
    backfill: BackfillArgs,
    mirror: MirrorArgs,
}

/// How a backfill ended: what the exit code says of it.
struct Ended {
    refused: u64,
    /// What was left out and must be looked into
    gaps: Vec<String>,
}

pub(super) async fn run(command: BackfillCommand, sources: &Sources) -> ExitCode {
    let BackfillCommand { backfill, trigger, export, mirror, settings } = command;
    // A line a resource would bury the progress; refused ones are in the report.
    let filter = match settings.log.log.as_str() {
        "info" => "warn,lakehook::delivery=error,lakehook::backfill=info",
        other => other,
    };
    if let Err(error) = telemetry::start(filter, settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    if let Err(error) = together(&backfill, &trigger, &export, &settings) {
        return fail(USAGE, &sources.locate(error).to_string());
    }
    let plan = match plan(settings) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    let Some(cdr) = plan.cdr.clone() else {
        return fail(
            USAGE,
            "--cdr-url is missing: a backfill brings what the CDR has, so it has to be asked",
        );
    };
    let job = Job { plan: &plan, cdr, backfill, mirror };
    let ended = if let Some(subscription) = trigger.trigger.clone() {
        trigger::run(&job, subscription, &trigger).await
    } else if let Some(to) = export.to.clone() {
        export::run(&job, &to, &export).await
    } else {
        direct::run(&job).await
    };
    match ended {
        Ok(Ended { refused: 0, gaps }) if gaps.is_empty() => ExitCode::SUCCESS,
        Ok(Ended { gaps, .. }) if !gaps.is_empty() => fail(FAILED, &gaps.join("; ")),
        Ok(_) => ExitCode::from(DIFFERENCES),
        Err(text) => fail(FAILED, &text),
    }
}

/// What goes together; a file's values count too, so clap is not asked.
fn together(
    backfill: &BackfillArgs,
    trigger: &TriggerArgs,
    export: &ExportArgs,
    settings: &Settings,
) -> Result<(), SettingsError> {
    if trigger.trigger.is_some() && export.to.is_some() {
        let problem = "and --to are two ways of backfilling: give one of them";
        return Err(SettingsError::new("trigger", problem).with("to"));
    }
    for (setting, given) in [("search", !trigger.search.is_empty()), ("id", !trigger.id.is_empty())] {
        if given && trigger.trigger.is_none() {
            return Err(SettingsError::new(setting, "needs --trigger as well"));
        }
    }
    if export.import {
        if !matches!(export.to, Some(args::To::S3(_))) {
            return Err(SettingsError::new(
                "import",
                "needs --to s3://BUCKET/PREFIX: HealthLake reads from S3",
            ));
        }
        let needed = [
            ("import-role-arn", export.import_role_arn.is_none()),
            ("import-output", export.import_output.is_none()),
            ("import-kms-key", export.import_kms_key.is_none()),
        ];
        for (setting, missing) in needed {
            if missing {
                return Err(SettingsError::new(
                    setting,
                    "is missing: --import needs it, as StartFHIRImportJob does",
                ));
            }
        }
    }
    let on_table = backfill.cursor.as_ref().is_some_and(|cursor| cursor.as_os_str() == ORDER_TABLE);
    if on_table && !matches!(settings.order.order_store, Some(OrderStore::DynamoDb { .. })) {
        return Err(SettingsError::new("cursor", "order-table needs --order-store dynamodb:TABLE"));
    }
    Ok(())
}

const ORDER_TABLE: &str = "order-table";

impl Job<'_> {
    /// Where the cursor is kept; `on_disk`: only a file will do, since more than the cursor is kept beside it.
    async fn cursor_store(&self, on_disk: bool) -> Result<CursorStore, String> {
        let order = &self.plan.settings.order;
        let named = self.backfill.cursor.as_deref();
        let file = match (named, &order.data_dir) {
            (Some(path), _) if path.as_os_str() != ORDER_TABLE => Some(path.to_owned()),
            (None, Some(directory)) => {
                Some(directory.join(if on_disk { "export.json" } else { "backfill.json" }))
            }
            _ => None,
        };
        if let Some(path) = file {
            return CursorFile::open(&path)
                .map(CursorStore::File)
                .map_err(|error| format!("--cursor: {error}"));
        }
        match order.store().map_err(|error| error.to_string())? {
            OrderStore::DynamoDb { table } if !on_disk => {
                let resolved = self.resolve().await?;
                let bounds = Bounds { attempt: order.order_dynamodb_timeout * 5, attempts: 5 };
                let client = client(resolved.sdk_config(), order.order_dynamodb_endpoint.as_deref(), bounds);
                Ok(CursorStore::Table(CursorTable::new(client, table)))
            }
            _ => Err("--cursor is missing: name a file in which it is remembered how far the backfill is, or set --data-dir".into()),
        }
    }

    async fn resolve(&self) -> Result<Resolved, String> {
        self.plan.source.resolve().await.map_err(|error| error.to_string())
    }

    /// An earlier run's cursor, or a new one. `true`: it goes on.
    async fn cursor(&self, store: &CursorStore, to: &str) -> Result<(Cursor, bool), String> {
        let BackfillArgs { types, since, restart, .. } = &self.backfill;
        let filter = &self.plan.filter;
        let what = What {
            cdr: self.cdr.base().to_owned(),
            to: to.to_owned(),
            types: types.clone(),
            since: *since,
            filter: filter
                .rules()
                .iter()
                .map(|(rule, values)| format!("{}: {}", rule.name(), values.join(", ")))
                .collect(),
        };
        if *restart {
            store.remove().await.map_err(|error| format!("--cursor: {error}"))?;
        }
        if let Some(cursor) = store.load(&what).await.map_err(|error| format!("--cursor: {error}"))? {
            let done = cursor.counted.all();
            say(&format!(
                "resuming the backfill of {}: {done} of {} resources are done",
                cursor.started,
                cursor.total()
            ));
            return Ok((cursor, true));
        }
        let types = survey(&self.cdr, types, *since, filter).await.map_err(|error| error.to_string())?;
        let cursor = Cursor::new(what, types);
        store.save(&cursor).await.map_err(|error| format!("--cursor: {error}"))?;
        Ok((cursor, false))
    }
}
