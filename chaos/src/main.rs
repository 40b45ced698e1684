//! `chaos/run`: one storm over everything at once. A real HAPI is changed as fast as it goes, replicas of lakehook
//! behind haproxy forward it to a sandbox that fails, replicas are killed, stores and STS go away, HAPI restarts. Then
//! the judge: the mirror is equal, and at no moment did it go back. `docs/reliability.md` has what came out.

mod balancer;
mod endure;
mod faults;
mod hapi;
mod judge;
mod kinds;
mod ledger;
mod load;
mod pass_through;
mod plan;
mod process;
mod reconcile;
mod relay;
mod sandbox;
mod stand;
mod storm;
mod verdict;
mod watch;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use balancer::Traffic;
use hapi::Hapi;
use stand::{Forwarder, Stand, TOKEN};
use storm::Storm;
use verdict::Verdict;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Changes at HAPI, faults everywhere, and the judge's verdict: exit code 0, or 1 with the keys concerned
    Storm(StormArgs),
    /// Load for long: memory and file descriptors stay flat
    Soak(endure::Soak),
    /// Too much load: the surplus is answered 503, the rest is on time
    Overload(endure::Overload),
    /// A signing proxy without order, which the storm compares with
    #[command(hide = true)]
    PassThrough { listen: String, endpoint: String },
}

#[derive(Args)]
struct StormArgs {
    /// Changes at HAPI
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(50..))]
    changes: u32,
    /// Instead of --changes: as many as go into so much time at --rate, as 30m or 2h
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration, conflicts_with = "changes")]
    time: Option<Duration>,
    /// Changes a second
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Decides what is changed and which trouble comes when; what meets what is the machine's doing
    #[arg(long, env = "LAKEHOOK_CHAOS_SEED")]
    seed: Option<u64>,
    /// Replicas behind haproxy
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    replicas: u8,
    /// The same storm through a plain signing proxy, for comparison
    #[arg(long)]
    pass_through: bool,
    /// The lakehook that is tried [default: target/release/lakehook, else target/debug/lakehook]
    #[arg(long)]
    lakehook: Option<PathBuf>,
    /// Where the verdict is written as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Where logs are kept [default: a directory that is removed unless something is wrong]
    #[arg(long)]
    logs: Option<PathBuf>,
    /// HAPI has nothing more to send when nothing came for so long; its longest pause and a deadline are 15 s
    #[arg(long, default_value = "16s", value_parser = humantime::parse_duration, hide = true)]
    quiet: Duration,
}

/// HAPI gives up within 64 s, but a pass-through can keep its threads for long.
const QUIET_WITHIN: Duration = Duration::from_secs(900);

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = tokio::select! {
        outcome = carry_out(Cli::parse().command) => outcome,
        // What was started ends with its handles.
        _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

async fn carry_out(command: Command) -> Result<bool> {
    match command {
        Command::PassThrough { listen, endpoint } => {
            pass_through::serve(&listen, &endpoint).await?;
            Ok(true)
        }
        Command::Storm(args) => whole(&args).await,
        Command::Soak(args) => endure::soak(&args, &program(args.common.lakehook.as_deref())?).await,
        Command::Overload(args) => endure::overload(&args, &program(args.common.lakehook.as_deref())?).await,
    }
}

async fn whole(args: &StormArgs) -> Result<bool> {
    let lakehook = program(args.lakehook.as_deref())?;
    let seed = args.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    let (directory, temporary) = match &args.logs {
        Some(path) => {
            std::fs::create_dir_all(path)?;
            (std::path::absolute(path)?, None)
        }
        None => {
            let temporary = tempfile::tempdir()?;
            (temporary.path().to_owned(), Some(temporary))
        }
    };
    say(&format!("seed {seed}, {}, logs in {}", lakehook.display(), directory.display()));
    let outcome = run(args, &lakehook, seed, &directory).await;
    if !matches!(outcome, Ok(true))
        && let Some(temporary) = temporary
    {
        say(&format!("the logs are kept: {}", temporary.keep().display()));
    }
    outcome
}

async fn run(args: &StormArgs, lakehook: &Path, seed: u64, directory: &Path) -> Result<bool> {
    let forwarder = if args.pass_through { Forwarder::PassThrough } else { Forwarder::Lakehook };
    let changes = args.time.map_or(args.changes as usize, |time| (time.as_secs_f64() * args.rate) as usize);
    let mut plan = plan::plan(seed, changes);
    let hapi = Hapi::start(directory).await?;
    let mut stand =
        Stand::start(directory, lakehook, forwarder, hapi.url.clone(), args.replicas.into()).await?;
    hapi.subscribe(&stand.endpoint(), TOKEN).await?;
    say(&format!("HAPI at {}, HealthLake at {}", hapi.url, stand.sandbox.endpoint));

    let (started, begun) = (Instant::now(), process::now());
    let storm = Storm::new(hapi, &mut plan);
    let said = |text: &str| say(&format!("{:>5} s  {text}", started.elapsed().as_secs()));
    let troubled = faults::run(&mut stand, storm.clone(), seed, changes, said);
    let (made, troubles) = tokio::try_join!(storm.run(plan.steps, args.rate), troubled)?;
    stand.sandbox.calm().await?;
    said("all changes are made, all faults are over: until HAPI has nothing more to send");
    let mut wrong = Vec::new();
    if !quiet(&stand, args.quiet).await? {
        wrong.push(format!("HAPI still sends after {QUIET_WITHIN:?}"));
    }
    let seconds = (process::now() - begun).div_ceil(1000);
    wrong.extend(stand.crashed()?);

    let mut ledger = ledger::told(&storm.entries);
    if forwarder == Forwarder::PassThrough {
        // It can't pass them on at all.
        ledger.retain(|_, told| !told.raw);
    }
    let attempts = stand.balancer.attempts()?;
    let hapi = storm.hapi.read().await;
    let now = alive(&hapi, &ledger).await?;
    for (key, told) in &ledger {
        let version = now.get(key).and_then(|resource| resource["meta"]["versionId"].as_str()?.parse().ok());
        if version != told.alive() {
            wrong.push(format!("{key}: HAPI has {version:?}, the ledger {:?}", told.alive()));
        }
    }
    let differences = judge::differences(&ledger, &attempts, &now, &stand.sandbox.resources().await?);
    let (mut reconcile_found, mut different_after_repair) = (None, Vec::new());
    if forwarder == Forwarder::Lakehook {
        said(&format!("{} differ; lakehook reconcile counts, then repairs", differences.len()));
        let counted = reconcile::run(&stand, false).await?;
        let keys: Vec<&str> = differences.iter().map(|difference| difference.key.as_str()).collect();
        if counted.found != keys {
            wrong.push(format!("reconcile finds {:?}, the judge {keys:?}", counted.found));
        }
        reconcile_found = Some(counted.found.len());
        let repaired = reconcile::run(&stand, true).await?;
        if repaired.code != 0 {
            wrong.push("reconcile --repair leaves differences".to_owned());
        }
        let after = judge::differences(&ledger, &attempts, &now, &stand.sandbox.resources().await?);
        different_after_repair = after.into_iter().map(|difference| difference.key).collect();
    }
    let verdict = Verdict {
        forwarder: if args.pass_through { "a plain signing pass-through" } else { "lakehook" },
        seed,
        changes: storm.made(),
        resources: ledger.len(),
        made,
        seconds,
        replicas: stand.replicas.len(),
        clocks_differ: forwarder == Forwarder::Lakehook && stand.skew.is_some() && stand.replicas.len() > 2,
        traffic: Traffic::of(&attempts),
        troubles,
        faults: stand.sandbox.struck(),
        answers: stand.sandbox.answers().await?,
        history: judge::history(&ledger, &stand.sandbox.history().await?),
        differences,
        reconcile_found,
        different_after_repair,
        wrong,
    };
    if let Some(path) = &args.json {
        std::fs::write(path, serde_json::to_vec_pretty(&verdict)?)?;
    }
    print(&verdict.to_string());
    // The pass-through's figures are what it was run for.
    if forwarder == Forwarder::PassThrough {
        return Ok(true);
    }
    for complaint in verdict.complaints() {
        print(&complaint);
    }
    Ok(verdict.passed())
}

/// Until nothing came for `quiet`.
async fn quiet(stand: &Stand, quiet: Duration) -> Result<bool> {
    let started = Instant::now();
    let (mut seen, mut since) = (0, Instant::now());
    while started.elapsed() < QUIET_WITHIN {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let attempts = stand.balancer.attempts()?.len();
        if attempts != seen {
            (seen, since) = (attempts, Instant::now());
        } else if since.elapsed() >= quiet {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn alive(hapi: &Hapi, ledger: &ledger::Ledger) -> Result<BTreeMap<String, Value>> {
    let mut all = BTreeMap::new();
    for key in ledger.keys() {
        if let Some(resource) = hapi.read(key).await? {
            all.insert(key.clone(), resource);
        }
    }
    Ok(all)
}

fn program(given: Option<&Path>) -> Result<PathBuf> {
    let built =
        ["release", "debug"].map(|profile| repository().join("target").join(profile).join("lakehook"));
    let path = match given {
        Some(path) => Some(path.to_owned()),
        None => built.into_iter().find(|path| path.exists()),
    };
    let path =
        path.filter(|path| path.exists()).ok_or("no lakehook is built: cargo build, or --lakehook PATH")?;
    Ok(std::path::absolute(path)?)
}

pub fn repository() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

#[allow(clippy::print_stderr)]
fn say(text: &str) {
    eprintln!("{text}");
}

#[allow(clippy::print_stdout)]
pub fn print(text: &str) {
    println!("{text}");
}
