//! `lakehook consume`: forwards what a CDR's failed channel on Kafka holds.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::consume_keep::keep;
use super::engine::Way;
use super::{DIFFERENCES, FAILED, Sources, USAGE, fail, print, say};
use crate::consume::{Brokers, Counts, Desk, Member, OnPoison, Task, Worker, list};
use crate::mirror::{Mirror, Source};
use crate::operate::telemetry;
use crate::operate::{Signal, Signals};
use crate::settings::{KafkaArgs, MirrorArgs, Plan, Settings, plan};

/// A worker's last attempt may take a delivery's deadline, and the way there and back.
const GRACE: Duration = Duration::from_secs(2);

#[derive(Args, Debug)]
pub(super) struct ConsumeCommand {
    #[command(flatten)]
    kafka: KafkaArgs,
    /// End where the topic ends now, instead of waiting for more
    #[arg(long, help_heading = "Consume")]
    once: bool,
    /// What to do with a message that is not understood, where no dead letters are kept
    #[arg(
        long,
        env = "LAKEHOOK_ON_POISON",
        value_name = "WHAT",
        value_enum,
        default_value = "stop",
        help_heading = "Consume"
    )]
    on_poison: OnPoison,
    /// How long to go on with what may be sent again; without --once there is no end to it, and a line in the log each time
    #[arg(long, value_name = "TIME", default_value = "1m", value_parser = crate::settings::duration, help_heading = "Control")]
    patience: Duration,
    /// Resources at once
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u16).range(1..=64), help_heading = "Control")]
    parallel: u16,
    #[command(flatten)]
    mirror: MirrorArgs,
    #[command(flatten)]
    settings: Settings,
}

pub(super) async fn run(command: ConsumeCommand, sources: &Sources) -> ExitCode {
    // The client tells of each step of the group as well; what matters of it is told in our own words.
    let filter = match command.settings.log.log.as_str() {
        "info" => "info,krafka=warn,krafka::consumer::group=error",
        other => other,
    };
    // Counted by nobody: there is no admin address.
    let traces = match super::traces(&command.settings, Default::default(), sources) {
        Ok(traces) => traces,
        Err(code) => return code,
    };
    if let Err(error) = telemetry::start_traced(filter, command.settings.log.lines(), traces.as_ref()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    let brokers = match command.kafka.brokers(&command.settings) {
        Ok(brokers) => brokers,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    let plan = match plan(command.settings.clone()) {
        Ok(plan) => plan,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    if plan.cdr.is_none() {
        return fail(
            USAGE,
            "--cdr-url is missing: consume forwards what the CDR has now, so it has to be asked",
        );
    }
    let outcome = consume(command, brokers, &plan).await;
    if let Some(traces) = traces {
        traces.close().await;
    }
    match outcome {
        Ok(counts) => ended(&counts),
        Err(text) => fail(FAILED, &text),
    }
}

/// What became of the messages, where it ended in order.
async fn consume(command: ConsumeCommand, brokers: Brokers, plan: &Plan) -> Result<Option<Counts>, String> {
    let (stop, stopping) = watch::channel(false);
    let signals = Signals::new().map_err(|error| error.to_string())?;
    let second = listen(signals, stop.clone());
    let work = async {
        let kafka = brokers.connect().await?;
        let partitions = brokers.partitions(&kafka).await?;
        let way = Way::open(plan, &command.mirror, Source::Consume).await?;
        tracing::info!(
            target: "lakehook::consume",
            brokers = brokers.servers,
            topic = brokers.topic,
            partitions,
            group = brokers.group,
            way = way.mirror.way(),
            version = env!("CARGO_PKG_VERSION"),
            "consuming"
        );
        let desk = Arc::new(Desk::default());
        let task = Task {
            once: command.once,
            on_poison: command.on_poison,
            keep: keep(plan).await?,
            patience: command.patience,
            stopping: stopping.clone(),
        };
        let member = Member::new(brokers, &kafka, desk.clone(), task).await;
        let outcome = match member {
            Ok(mut member) => {
                let workers = workers(&command, plan, &desk, &way.mirror, &stopping);
                let outcome = member.run().await;
                let _ = stop.send(true);
                desk.close();
                workers.join_all().await;
                member.leave().await;
                outcome
            }
            Err(text) => Err(text),
        };
        way.close().await;
        let counts = desk.counts();
        print(&summary(&counts));
        outcome.map(|()| command.once.then_some(counts))
    };
    tokio::select! {
        outcome = work => outcome,
        _ = second => Err("ended by a second signal; what is not committed comes again".to_owned()),
    }
}

/// The first signal asks for the end in order; the task ends at the second.
fn listen(mut signals: Signals, stop: watch::Sender<bool>) -> JoinHandle<Signal> {
    tokio::spawn(async move {
        let first = signals.next().await;
        tracing::info!(target: "lakehook::consume", ?first, "ending: what is being forwarded is awaited; a second signal ends at once");
        let _ = stop.send(true);
        signals.next().await
    })
}

fn workers(
    command: &ConsumeCommand,
    plan: &Plan,
    desk: &Arc<Desk>,
    mirror: &Arc<dyn Mirror>,
    stopping: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let mut workers = JoinSet::new();
    for _ in 0..command.parallel {
        let worker = Worker {
            desk: desk.clone(),
            mirror: mirror.clone(),
            patience: command.patience,
            endless: !command.once,
            grace: plan.settings.delivery.deadline + GRACE,
            stopping: stopping.clone(),
        };
        workers.spawn(worker.run());
    }
    workers
}

fn summary(counts: &Counts) -> String {
    let mut text = format!("{} messages done with", counts.ended());
    for (what, of) in
        [("settled", &counts.settled), ("refused", &counts.refused), ("not settled", &counts.open)]
    {
        if !of.is_empty() {
            text.push_str(&format!("; {what}: {}", list(of)));
        }
    }
    for (what, n) in
        [("not understood and kept", counts.kept), ("not understood and skipped", counts.skipped)]
    {
        if n > 0 {
            text.push_str(&format!("; {what}: {n}"));
        }
    }
    text
}

/// Of a run that was to come to its end.
fn ended(counts: &Option<Counts>) -> ExitCode {
    let Some(counts) = counts else { return ExitCode::SUCCESS };
    let open = Counts::sum(&counts.open);
    if open > 0 {
        return fail(FAILED, &format!("{open} messages not settled: they are not committed and come again"));
    }
    let refused = Counts::sum(&counts.refused) + counts.kept + counts.skipped;
    if refused > 0 {
        say(&format!("{refused} refused or not understood"));
        return ExitCode::from(DIFFERENCES);
    }
    ExitCode::SUCCESS
}
