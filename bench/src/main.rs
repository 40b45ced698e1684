//! `lakehook-bench load`: real R4 deliveries through lakehook and its peers, interleaved in one run on one machine, so
//! that ratios mean something. `compare` shows two results side by side.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod contestant;
mod drive;
mod payload;
mod report;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use contestant::{Contestant, Programs};
use report::{Measured, Report};
use upstream::Upstream;

pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[derive(Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure; the programs must be built
    Load(Box<Load>),
    /// Show two results of `load --json` side by side
    Compare { before: PathBuf, after: PathBuf },
}

#[derive(Args)]
pub struct Load {
    /// Where `lakehook` and `bare-proxy` are
    #[arg(long, default_value = "target/release")]
    programs: PathBuf,
    /// aws-sigv4-proxy as shipped, if there is one
    #[arg(long)]
    sigv4_proxy: Option<PathBuf>,
    /// aws-sigv4-proxy with its idle pool raised
    #[arg(long)]
    sigv4_proxy_tuned: Option<PathBuf>,
    /// Folder of R4 resources as JSON; else a mix of our own
    #[arg(long, env = "LAKEHOOK_BENCH_RESOURCES")]
    resources: Option<PathBuf>,
    /// Connections of the sender
    #[arg(long, default_value_t = 32)]
    connections: usize,
    /// Rounds; in each every contestant has its turn
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Of one turn (seconds)
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// Deliveries a second; none: as many as go
    #[arg(long)]
    rate: Option<u64>,
    /// Upstream over TLS, as HealthLake is
    #[arg(long)]
    tls: bool,
    /// Bytes of each resource, instead of real ones
    #[arg(long)]
    size: Option<usize>,
    /// Only these contestants
    #[arg(long)]
    only: Vec<String>,
    /// Where the result is written
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    match Cli::parse().command {
        Command::Load(load) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(measure(&load))
        }
        Command::Compare { before, after } => {
            report::compare(&Report::read(&before)?, &Report::read(&after)?)
        }
    }
}

async fn measure(load: &Load) -> Result<()> {
    let payloads = payload::payloads(load)?;
    let upstream = Upstream::start(load.tls, load.connections).await?;
    let programs = Programs::of(load);
    let mut contestants = Vec::new();
    for mut contestant in programs.all(&upstream)? {
        if load.only.is_empty() || load.only.contains(&contestant.name) {
            contestant.start().await?;
            contestants.push(contestant);
        }
    }
    let mut report = Report::new(load, &payloads);
    for contestant in &contestants {
        // Connections, caches, the first signing key: nobody should be measured cold.
        turn(contestant, load, &payloads, Duration::from_secs(1)).await?;
    }
    for round in 1..=load.rounds {
        for contestant in &contestants {
            eprintln!("round {round} of {}: {}", load.rounds, contestant.name);
            let measured = turn(contestant, load, &payloads, Duration::from_secs(load.seconds)).await?;
            report.add(&contestant.name, measured);
        }
    }
    for contestant in &contestants {
        report.peak(&contestant.name, contestant.peak_bytes()?);
    }
    print!("{report}");
    if let Some(path) = &load.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)?)?;
    }
    Ok(())
}

async fn turn(
    contestant: &Contestant,
    load: &Load,
    payloads: &[payload::Payload],
    time: Duration,
) -> Result<Measured> {
    let before = contestant.cpu()?;
    let driven = drive::drive(contestant.address, contestant.base_path, payloads, load, time).await?;
    let cpu = contestant.cpu()? - before;
    Ok(Measured::of(driven, cpu))
}
