//! Seeded storms through the code that runs in production: replicas with the three stores, a HealthLake that delays,
//! cuts, answers late and acts late, a CDR, and a sender that keeps no order. Time is simulated, and everything that
//! happens follows from one seed. The judge is HealthLake's log of writes: of no resource does it go back, and in the end it is
//! equal to the CDR.
//!
//! `LAKEHOOK_TEST_SEED=n` runs one seed, and prints what happened; `LAKEHOOK_TEST_SEEDS=n` says how many are run.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod judge;
mod network;
mod replica;
mod sender;
mod stores;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use judge::Tally;
use replica::{Common, Replica};
use sender::Sender;
use stores::Shared;
use world::{Kept, Without, World};

/// One run. The trace where it is asked for, and what was wrong.
fn run(
    common: &Common,
    seed: u64,
    kept: Kept,
    without: Option<Without>,
    tracing: bool,
) -> (Vec<String>, Result<Tally, String>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let world = World::new(seed, kept, without, tracing);
        world.note("seed", || format!("{seed}: {:#?}", world.knobs));
        let outcome = storm(common, &world).await;
        (world.trace(), outcome)
    })
}

async fn storm(common: &Common, world: &Arc<World>) -> Result<Tally, String> {
    let started = Instant::now();
    let knobs = &world.knobs;
    let shared = Shared::new(knobs.kept);
    let mut replicas = Vec::new();
    for number in 0..knobs.replicas {
        replicas.push(Replica::start(number, world, common, &shared).await);
    }
    let sender = Sender::default();
    let workers = (0..knobs.workers).map(|_| sender.deliver(world, &replicas));
    let work = futures_util::future::try_join(
        async {
            sender.make_changes(world).await;
            Ok(())
        },
        futures_util::future::try_join_all(workers),
    );
    tokio::select! {
        biased;
        done = work => drop(done?),
        () = now_and_then(world, knobs.freezes, async || _ = replicas[world.pick(replicas.len())].freeze()) => {}
        () = now_and_then(world, knobs.kills, async || replicas[world.pick(replicas.len())].kill().await) => {}
    }
    // What was given up on may still land.
    sleep(Duration::from_millis(6 * knobs.settle + 60_000)).await;
    judge::judge(world)?;
    Ok(Tally::of(world, started.elapsed().as_secs()))
}

/// Never ends.
async fn now_and_then(world: &World, mean: u64, what: impl AsyncFn()) {
    if mean == 0 {
        return std::future::pending().await;
    }
    loop {
        sleep(world.up_to(2 * mean)).await;
        what().await;
    }
}

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// As many seeds, on as many threads as there are processors.
fn storms(kept: Kept, seeds: u64) {
    let common = Common::new();
    if let Some(seed) = variable("LAKEHOOK_TEST_SEED") {
        let (trace, outcome) = run(&common, seed, kept, None, true);
        println!("{}", trace.join("\n"));
        println!("seed {seed}: {:?}", outcome.unwrap_or_else(|error| panic!("seed {seed}: {error}")));
        return;
    }
    let seeds = variable("LAKEHOOK_TEST_SEEDS").unwrap_or(seeds);
    let first = fastrand::u64(..1 << 32);
    println!("seeds {first} to {}", first + seeds - 1);
    let next = AtomicU64::new(first);
    let (next, common) = (&next, &common);
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let tally = std::thread::scope(|scope| {
        let work = move || {
            let mut tally = Tally::default();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + seeds {
                    return tally;
                }
                match run(common, seed, kept, None, false).1 {
                    Ok(one) => tally += one,
                    Err(error) => fails(common, seed, kept, &error),
                }
            }
        };
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let mut all = Tally::default();
        for thread in threads {
            all += thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
        all
    });
    println!("{seeds} seeds: {tally:?}");
    assert!(tally.writes as u64 > seeds);
}

/// Once more, with everything that happened.
fn fails(common: &Common, seed: u64, kept: Kept, error: &str) -> ! {
    let (trace, again) = run(common, seed, kept, None, true);
    println!("{}", trace.join("\n"));
    panic!("LAKEHOOK_TEST_SEED={seed} ({}): {error}; once more: {again:?}", judge::name(kept));
}

#[test]
fn storms_in_memory() {
    storms(Kept::Memory, 1000);
}

#[test]
fn storms_in_a_file() {
    storms(Kept::File, 60);
}

#[test]
fn storms_over_three_replicas_and_a_table() {
    storms(Kept::DynamoDb, 2000);
}

/// A seed says everything: whatever it finds can be looked at again.
#[test]
fn a_seed_is_reproducible_to_the_step() {
    let common = Common::new();
    for (seed, kept) in (0..20).flat_map(|seed| [(seed, Kept::Memory), (seed, Kept::DynamoDb)]) {
        let (once, again) = (run(&common, seed, kept, None, true).0, run(&common, seed, kept, None, true).0);
        let differs = once.iter().zip(&again).find(|(once, again)| once != again);
        assert_eq!(differs, None, "seed {seed}, {kept:?}");
        assert_eq!(once.len(), again.len());
    }
}

/// Each rule is needed: without it some seed goes wrong.
fn go_wrong_without(without: Without, kept: Kept) {
    const SEEDS: u64 = 400;
    let common = Common::new();
    let found =
        (0..SEEDS).find_map(|seed| Some((seed, run(&common, seed, kept, Some(without), false).1.err()?)));
    let (seed, error) = found.unwrap_or_else(|| panic!("{SEEDS} seeds do without {without:?}"));
    println!("without {without:?}, seed {seed}: {error}");
}

#[test]
fn storms_go_wrong_without_claims() {
    go_wrong_without(Without::Claims, Kept::DynamoDb);
}

#[test]
fn storms_go_wrong_without_versions() {
    go_wrong_without(Without::Versions, Kept::Memory);
}

#[test]
fn storms_go_wrong_without_tombstones() {
    go_wrong_without(Without::Tombstones, Kept::Memory);
}

#[test]
fn storms_go_wrong_without_memory_of_what_was_withdrawn() {
    go_wrong_without(Without::Withdrawals, Kept::Memory);
}

#[test]
fn storms_go_wrong_without_a_margin_for_clocks() {
    go_wrong_without(Without::ClockSkew, Kept::DynamoDb);
}

#[test]
fn storms_go_wrong_without_asking_the_cdr() {
    go_wrong_without(Without::Cdr, Kept::Memory);
}

#[test]
fn storms_go_wrong_without_fences() {
    go_wrong_without(Without::Fences, Kept::Memory);
}

#[test]
fn storms_go_wrong_without_waiting_for_late_writes() {
    go_wrong_without(Without::Settle, Kept::Memory);
}

#[test]
fn storms_go_wrong_without_what_ended_claims_leave_behind() {
    go_wrong_without(Without::LeftBehind, Kept::DynamoDb);
}
