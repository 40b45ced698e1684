//! `lakehook-bench load`: real R4 deliveries through lakehook and its peers, interleaved in one run on one machine, so
//! that ratios mean something. `compare` shows two results side by side.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod contestant;
mod drive;
mod instructions;
mod memory;
mod payload;
mod report;
mod start;
mod train;
mod upstream;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use contestant::{Contestant, Programs};
use drive::{Pattern, Until};
use instructions::Instructions;
use memory::Memory;
use payload::Resources;
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
    /// Instructions of one delivery, counted by callgrind: the same on a busy machine
    Instructions(Box<Instructions>),
    /// Peak memory with many deliveries in flight at once
    Memory(Box<Memory>),
    /// From the start of the process until it is ready
    Start(start::Start),
    /// Deliveries of every kind, after which lakehook ends by itself: what a profile-guided build learns from
    Train(train::Train),
    /// Show two results of `load --json` side by side
    Compare { before: PathBuf, after: PathBuf },
}

#[derive(Args)]
pub struct Load {
    #[command(flatten)]
    programs: Programs,
    #[command(flatten)]
    resources: Resources,
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
    /// Where the result is written
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match Cli::parse().command {
        Command::Load(load) => runtime.block_on(measure(&load)),
        Command::Instructions(instructions) => runtime.block_on(instructions.count()),
        Command::Memory(memory) => runtime.block_on(memory.measure()),
        Command::Start(start) => runtime.block_on(start.measure()),
        Command::Train(train) => runtime.block_on(train.drive()),
        Command::Compare { before, after } => {
            report::compare(&Report::read(&before)?, &Report::read(&after)?)
        }
    }
}

async fn measure(load: &Load) -> Result<()> {
    let payloads = load.resources.payloads(load.connections)?;
    let upstream = Upstream::start(load.tls, load.connections).await?;
    let mut contestants = load.programs.all(&upstream)?;
    for contestant in &mut contestants {
        contestant.start().await?;
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
    let pattern = Pattern { connections: load.connections, rate: load.rate, until: Until::Passed(time) };
    let driven = drive::drive(contestant.address, contestant.base_path, payloads, pattern).await?;
    let cpu = contestant.cpu()? - before;
    Ok(Measured::of(driven, cpu))
}
