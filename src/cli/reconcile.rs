//! `lakehook reconcile`: does HealthLake hold what the CDR holds? With `--repair`, it does afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::engine::{Client, Way, client};
use super::reconcile_exports::ExportArgs;
use super::{DIFFERENCES, FAILED, Sources, USAGE, fail, print, say};
use crate::cdr::Cdr;
use crate::delivery::{Key, is_resource_type};
use crate::filter::Filter;
use crate::healthlake::HealthLake;
use crate::mirror::{Mirror, Source};
use crate::operate::{Signals, telemetry};
use crate::reconcile::{
    At, AtCdr, AtHealthLake, Decimals, Findings, Index, IndexError, NOT_AT_HEALTHLAKE, Options, Report, Run,
    Scope, SideError, now, page,
};
use crate::settings::{MirrorArgs, Plan, ReconcileArgs, Settings, plan};

#[derive(Args, Debug)]
pub(super) struct ReconcileCommand {
    /// Send the CDR's current version, or its delete, of what differs
    #[arg(long, help_heading = "Run")]
    repair: bool,
    /// Only tell what differs; the default
    #[arg(long, conflicts_with = "repair", help_heading = "Run")]
    dry_run: bool,
    /// Compare everything, also where an earlier run is known to have found most of it equal
    #[arg(long, help_heading = "Run")]
    everything: bool,
    /// Only what either side updated since: a time as 2026-11-24T17:00:00Z, or how long ago, as 24h
    #[arg(long, value_name = "TIME", value_parser = since, conflicts_with_all = ["everything", "id"], help_heading = "Run")]
    since: Option<At>,
    /// Only this resource, as Type/id; repeatable; - reads them from stdin, one a line
    #[arg(long, value_name = "TYPE/ID", conflicts_with = "everything", help_heading = "Run")]
    id: Vec<String>,
    /// Report as NDJSON: a line for each difference, the totals last
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    report: Option<PathBuf>,
    /// Report as an HTML page
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    html: Option<PathBuf>,
    /// What earlier runs learned [default: reconcile.redb in the data dir, else nothing is kept]
    #[arg(long, value_name = "FILE", help_heading = "Run")]
    state: Option<PathBuf>,
    /// How long to go on with a repair that may be sent again
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::settings::duration, help_heading = "Run")]
    patience: Duration,
    /// Resources read at once, 1 to 64
    #[arg(long, value_name = "N", default_value = "8", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Run")]
    parallel: u16,
    #[command(flatten)]
    exports: ExportArgs,
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    settings: Settings,
}

fn since(text: &str) -> Result<At, String> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    let ago = crate::settings::duration(text)
        .map_err(|_| "is neither a time, as 2026-11-24T17:00:00Z, nor how long ago, as 24h".to_owned())?;
    Ok(now() - At::try_from(ago.as_millis()).unwrap_or(At::MAX))
}

pub(super) async fn run(mut command: ReconcileCommand, sources: &Sources) -> ExitCode {
    // Differences are in the report; the delivery log of their repairs would only repeat them.
    let filter = match command.settings.log.log.as_str() {
        "info" => "error",
        other => other,
    };
    if let Err(error) = telemetry::start(filter, command.settings.log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    let keys = match super::keys(&command.id) {
        Ok(keys) => keys,
        Err(text) => return fail(USAGE, &text),
    };
    if let Some(wrong) =
        command.settings.reconcile.reconcile_types.iter().find(|name| !is_resource_type(name))
    {
        return fail(USAGE, &format!("--reconcile-types: `{wrong}` is no resource type"));
    }
    if let Err(error) = command.exports.check() {
        return fail(USAGE, &sources.locate(error).to_string());
    }
    let plan = match plan(command.settings.clone()) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    let Some(cdr) = plan.cdr.clone() else {
        return fail(USAGE, "--cdr-url is missing: reconcile compares HealthLake with what the CDR has");
    };
    let ids = std::mem::take(&mut command.id);
    let wanted = if ids.is_empty() { None } else { Some(keys) };
    match compare(&command, &plan, &cdr, wanted).await {
        Ok(report) => verdict(&report),
        Err(text) => fail(FAILED, &text),
    }
}

fn verdict(report: &Report) -> ExitCode {
    print(report.table().trim_end());
    if report.failed > 0 {
        return fail(FAILED, "not everything could be compared; running it again is safe");
    }
    let left_out = report.not_compared.values().any(|reason| reason != NOT_AT_HEALTHLAKE);
    if left_out && report.open() == 0 {
        return fail(FAILED, "some types could not be compared: name the others with --reconcile-types");
    }
    match (report.open(), report.differences()) {
        (0, 0) => print("equal"),
        (0, _) => print("equal, after repair"),
        (open, _) => {
            print(&format!("different: {open}"));
            return ExitCode::from(DIFFERENCES);
        }
    }
    ExitCode::SUCCESS
}

async fn compare(
    command: &ReconcileCommand,
    plan: &Plan,
    cdr: &Arc<Cdr>,
    keys: Option<Vec<Key>>,
) -> Result<Report, String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let mut findings =
        Findings::new(command.report.as_deref()).map_err(|error| format!("--report: {error}"))?;
    let way = match command.repair {
        true => Some(Way::open(plan, &command.mirror, Source::Reconcile).await?),
        false => None,
    };
    let mirror = way.as_ref().map(|way| &*way.mirror as &dyn Mirror);
    let comparing = with_sides(command, plan, cdr, keys, mirror, &mut findings);
    let outcome = tokio::select! {
        report = comparing => report,
        _ = signals.next() => Err("interrupted; running it again is safe, and goes on where it stopped if its state is kept".into()),
    };
    if let Some(way) = way {
        way.close().await;
    }
    let report = outcome?;
    findings.end(&report).map_err(|error| format!("--report: {error}"))?;
    if let Some(path) = &command.html {
        std::fs::write(path, page(&report, &findings))
            .map_err(|error| format!("--html: {}: {error}", path.display()))?;
    }
    Ok(report)
}

async fn with_sides(
    command: &ReconcileCommand,
    plan: &Plan,
    cdr: &Arc<Cdr>,
    keys: Option<Vec<Key>>,
    mirror: Option<&dyn Mirror>,
    findings: &mut Findings,
) -> Result<Report, String> {
    let args = &plan.settings.reconcile;
    let Client { healthlake, renewing, resolved } = client(plan).await?;
    let sides = Sides::new(cdr, &healthlake, &plan.filter, args);
    let state = State::open(command, plan, cdr, keys.is_some())?;
    let exports = command.exports.exports(plan, cdr, &resolved, &args.reconcile_types).await?;
    let bar = bar();
    let heard = |kind: &str, which: crate::reconcile::Which, n: usize| {
        bar.inc(n as u64);
        bar.set_message(format!("{kind} of {}", which.name()));
    };
    let exported = exports.of.each_ref().map(Option::as_ref);
    let (scope, left_out) = match keys {
        Some(keys) => (Scope::Ids(keys), BTreeMap::new()),
        None => {
            let (types, left_out) = match exported {
                // Those that are in them
                [Some(_), Some(_)] if args.reconcile_types.is_empty() => (Vec::new(), BTreeMap::new()),
                _ => sides.types(&args.reconcile_types).await.map_err(|error| error.to_string())?,
            };
            match command.since {
                Some(since) => (Scope::Since { types, since }, left_out),
                None => {
                    let everything = command.everything || command.exports.any();
                    (Scope::Types { types, everything }, left_out)
                }
            }
        }
    };
    let run = Run {
        cdr: &sides.cdr,
        healthlake: &sides.healthlake,
        index: &state.index,
        options: Options {
            patience: command.patience,
            parallel: command.parallel.into(),
            ..options_of(args)
        },
        mirror,
        heard: &heard,
        exports: exported,
        decimals: decimals(args),
        filter: &plan.filter,
    };
    let report = run.run(scope, left_out, &mut |finding| findings.add(finding)).await;
    bar.finish_and_clear();
    exports.end().await;
    renewing.abort();
    report.map_err(|error| error.to_string())
}

/// On a terminal only.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    if let Ok(style) =
        ProgressStyle::with_template("{spinner} {human_pos} resources listed, {per_sec}  {msg}")
    {
        bar.set_style(style);
    }
    bar
}

/// Both sides, as the settings have them.
pub(super) struct Sides<'a> {
    pub cdr: AtCdr<'a>,
    pub healthlake: AtHealthLake<'a>,
}

impl<'a> Sides<'a> {
    pub(super) fn new(
        cdr: &'a Cdr,
        healthlake: &'a HealthLake,
        filter: &'a Filter,
        args: &ReconcileArgs,
    ) -> Self {
        Self {
            cdr: AtCdr::new(cdr, decimals(args), filter, args.reconcile_rate),
            healthlake: AtHealthLake::new(healthlake, decimals(args), args.reconcile_rate),
        }
    }

    /// The types that both serve, or that were asked for; and those of the CDR that HealthLake has not.
    pub(super) async fn types(
        &self,
        wanted: &[String],
    ) -> Result<(Vec<String>, BTreeMap<String, String>), SideError> {
        if !wanted.is_empty() {
            let wanted: BTreeSet<&String> = wanted.iter().collect();
            return Ok((wanted.into_iter().cloned().collect(), BTreeMap::new()));
        }
        let cdr: BTreeSet<String> = self.cdr.types().await?.into_iter().collect();
        let healthlake: BTreeSet<String> = self.healthlake.types().await?.into_iter().collect();
        let left_out = cdr.difference(&healthlake).map(|name| (name.clone(), NOT_AT_HEALTHLAKE.to_owned()));
        Ok((cdr.intersection(&healthlake).cloned().collect(), left_out.collect()))
    }
}

pub(super) fn decimals(args: &ReconcileArgs) -> Decimals {
    args.reconcile_decimals.into()
}

pub(super) fn options_of(args: &ReconcileArgs) -> Options {
    Options { settle: args.reconcile_settle, overlap: args.reconcile_overlap, ..Options::default() }
}

/// The index, and the folder that goes with it where it is not kept.
pub(super) struct State {
    pub index: Arc<Index>,
    _folder: Option<tempfile::TempDir>,
}

impl State {
    fn open(command: &ReconcileCommand, plan: &Plan, cdr: &Cdr, ids: bool) -> Result<Self, String> {
        let part = ids || command.since.is_some();
        let exports = command.exports.any();
        let kept = match &command.state {
            Some(path) => Some(path.clone()),
            None if part || exports => None,
            None => plan.settings.order.data_dir.as_ref().map(|folder| folder.join("reconcile.redb")),
        };
        let Some(path) = kept else { return Self::temporary(plan, cdr) };
        match Self::at(&path, plan, cdr) {
            Err(IndexError::Locked) if command.state.is_none() => {
                say("the running instance has what earlier runs learned: everything is compared");
                Self::temporary(plan, cdr)
            }
            state => state.map_err(|error| format!("{}: {error}", path.display())),
        }
    }

    pub(super) fn at(path: &Path, plan: &Plan, cdr: &Cdr) -> Result<Self, IndexError> {
        // Under another filter the CDR's side says something else.
        let rules = plan.filter.rules();
        let filter = if rules.is_empty() { String::new() } else { format!(" {rules:?}") };
        let of = format!(
            "{} {} {:?}{filter}",
            cdr.base(),
            plan.endpoint.as_str(),
            plan.settings.reconcile.reconcile_decimals
        );
        Ok(Self { index: Arc::new(Index::open(path, &of)?), _folder: None })
    }

    pub(super) fn temporary(plan: &Plan, cdr: &Cdr) -> Result<Self, String> {
        let folder =
            tempfile::tempdir().map_err(|error| format!("no folder for temporary files: {error}"))?;
        let state = Self::at(&folder.path().join("reconcile.redb"), plan, cdr);
        let state = state.map_err(|error| error.to_string())?;
        Ok(Self { _folder: Some(folder), ..state })
    }
}
