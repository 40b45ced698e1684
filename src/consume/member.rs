//! The member of the consumer group: reads messages, puts them on the desk, and commits what is done with. It polls
//! all the time, whatever happens at HealthLake, so that the group does not take it for dead.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use krafka::consumer::{
    AutoOffsetReset, Consumer, ConsumerRebalanceListener, ConsumerRecord, IsolationLevel, OffsetAndMetadata,
    PartitionAssignmentStrategy, TopicPartition,
};
use krafka::error::ErrorCode;
use krafka::{Kafka, KrafkaError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::brokers::Brokers;
use super::desk::{Counts, Desk, list};
use super::ledger::Next;
use super::message;
use super::poison::{Keep, Letter, OnPoison};

/// Messages that are read and not done with; behind so many the partitions are paused. Of a message only its
/// resource's key is held.
const MOST_HELD: usize = 1000;
/// A poll waits this long for messages, and a commit for more to be done.
const POLL: Duration = Duration::from_millis(250);
const COMMIT_EVERY: Duration = Duration::from_millis(500);
const TELL_EVERY: Duration = Duration::from_secs(60);
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// What is asked of one run.
pub struct Task {
    /// End where the topic ended when a partition was assigned
    pub once: bool,
    pub on_poison: OnPoison,
    pub keep: Option<Arc<dyn Keep>>,
    /// For what was read before a poison message to be settled
    pub patience: Duration,
    pub stopping: watch::Receiver<bool>,
}

pub struct Member {
    brokers: Brokers,
    consumer: Arc<Consumer>,
    desk: Arc<Desk>,
    task: Task,
    /// Where each partition ended when it was assigned, for `once`
    ends: HashMap<i32, i64>,
    /// Since when nothing more is read, and why
    ending: Option<(Instant, String)>,
    failing: bool,
}

impl Member {
    /// Joins nothing yet: that is `run`'s.
    pub async fn new(brokers: Brokers, kafka: &Kafka, desk: Arc<Desk>, task: Task) -> Result<Self, String> {
        let listener =
            Listener { topic: brokers.topic.clone(), desk: desk.clone(), consumer: Arc::default() };
        let known = listener.consumer.clone();
        let consumer = kafka
            .consumer(&brokers.group)
            .enable_auto_commit(false)
            // A group that is new to the topic has missed nothing.
            .auto_offset_reset(AutoOffsetReset::Earliest)
            .isolation_level(IsolationLevel::ReadCommitted)
            // What stays with its member is not read twice when another comes or goes.
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            .session_timeout(brokers.session_timeout)
            .heartbeat_interval((brokers.session_timeout / 3).min(Duration::from_secs(3)))
            .metrics_push(false)
            .rebalance_listener(listener)
            .build()
            .await
            .map_err(|error| format!("--kafka: {}", brokers.text(&error)))?;
        let consumer = Arc::new(consumer);
        let _ = known.set(Arc::downgrade(&consumer));
        Ok(Self { brokers, consumer, desk, task, ends: HashMap::new(), ending: None, failing: false })
    }

    /// Until it is stopped, the topic's end is reached, or something makes it useless to go on. What is done with by
    /// then is committed by `leave`.
    pub async fn run(&mut self) -> Result<(), String> {
        let subscribed = self.consumer.subscribe([&self.brokers.topic]).await;
        subscribed.map_err(|error| format!("--kafka-topic: {}", self.brokers.text(&error)))?;
        let (mut committed, mut told, mut last) = (Instant::now(), Instant::now(), Counts::default());
        loop {
            if *self.task.stopping.borrow() {
                return self.ending.take().map_or(Ok(()), |(_, why)| Err(why));
            }
            if let Some(fault) = self.desk.fault() {
                return Err(fault);
            }
            self.hold().await;
            self.read().await?;
            if committed.elapsed() >= COMMIT_EVERY {
                commit(&self.consumer, &self.desk, &self.brokers.topic, None).await;
                committed = Instant::now();
            }
            if told.elapsed() >= TELL_EVERY {
                told = Instant::now();
                let counts = self.desk.counts();
                if counts != last || self.desk.held() > 0 {
                    self.tell("consuming").await;
                    last = counts;
                }
            }
            if let Some((since, why)) = &self.ending {
                if self.desk.is_idle() || since.elapsed() > self.task.patience {
                    return Err(why.clone());
                }
            } else if self.task.once && self.at_end().await {
                return Ok(());
            }
        }
    }

    /// Commits what is done with, and leaves the group, so that others need not wait for the session's end.
    pub async fn leave(&self) {
        commit(&self.consumer, &self.desk, &self.brokers.topic, None).await;
        self.tell("consumed").await;
        if let Err(error) = self.consumer.close().await {
            tracing::warn!(target: "lakehook::consume", error = self.brokers.text(&error), "the group was not left in order");
        }
    }

    async fn read(&mut self) -> Result<(), String> {
        match self.consumer.poll(POLL).await {
            Ok(records) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!(target: "lakehook::consume", "the brokers answer again");
                }
                for record in records {
                    self.accept(record).await;
                }
                Ok(())
            }
            Err(error) if error.is_retriable() => {
                if !std::mem::replace(&mut self.failing, true) {
                    let error = self.brokers.text(&error);
                    tracing::warn!(target: "lakehook::consume", error, "the brokers do not answer; trying on");
                }
                let mut stopping = self.task.stopping.clone();
                let stopped = stopping.wait_for(|stopping| *stopping);
                let _ = tokio::time::timeout(PAUSE_AFTER_ERROR, stopped).await;
                Ok(())
            }
            Err(error) => Err(format!("reading `{}`: {}", self.brokers.topic, self.brokers.text(&error))),
        }
    }

    async fn accept(&mut self, record: ConsumerRecord) {
        // Behind a poison message nothing is taken: it would be committed past it otherwise, or read for nothing.
        if self.ending.is_some() {
            return;
        }
        let (partition, offset) = (record.partition, record.offset);
        let value = record.value.unwrap_or_default();
        let why = match message::key(&value) {
            Ok(key) => {
                let place = self.desk.take(partition, offset, record.leader_epoch);
                return self.desk.add(key, place);
            }
            Err(why) => why,
        };
        let topic = self.brokers.topic.clone();
        let name = format!("message {offset} of partition {partition} of `{topic}`");
        if let Some(keep) = &self.task.keep {
            let letter = Letter { topic, partition, offset, value, why };
            if let Err(error) = keep.keep(letter).await {
                let why = format!(
                    "{name} is not understood ({why}) and could not be kept as a dead letter: {error}"
                );
                self.ending = Some((Instant::now(), why));
                return;
            }
        } else if self.task.on_poison == OnPoison::Stop {
            let why = format!(
                "{name} is not understood: {why}. Nothing from it on is committed; look at it with Kafka's own tools, then pass it over with --on-poison skip, or move the group's offset"
            );
            self.ending = Some((Instant::now(), why));
            return;
        }
        let kept = self.task.keep.is_some();
        tracing::warn!(target: "lakehook::consume", partition, offset, %why, kept, "a message is not understood");
        let place = self.desk.take(partition, offset, record.leader_epoch);
        self.desk.passed(place, kept);
    }

    /// Reads no more while enough is held or the end is near; the polls go on.
    async fn hold(&self) {
        let topic = &self.brokers.topic;
        let ours = self.partitions().await;
        if self.ending.is_some() || self.desk.held() >= MOST_HELD {
            self.consumer.pause(topic, &ours).await;
        } else if self.desk.held() <= MOST_HELD / 2 {
            self.consumer.resume(topic, &ours).await;
        }
    }

    async fn partitions(&self) -> Vec<i32> {
        self.consumer.assignment().await.remove(&self.brokers.topic).unwrap_or_default()
    }

    async fn at_end(&mut self) -> bool {
        if !self.desk.has_joined() || !self.desk.is_idle() {
            return false;
        }
        // So much was given up on that no more is read.
        if self.desk.held() >= MOST_HELD {
            return true;
        }
        let topic = &self.brokers.topic;
        let mut all = true;
        for partition in self.partitions().await {
            let end = match self.ends.get(&partition) {
                Some(end) => *end,
                None => match self.consumer.fetch_watermarks(topic, partition).await {
                    Ok((_, end)) => *self.ends.entry(partition).or_insert(end),
                    Err(_) => return false,
                },
            };
            all &= self.consumer.position(topic, partition).await.is_some_and(|position| position >= end);
        }
        all
    }

    /// How far the log's end is from what may be committed, over all partitions of this member.
    async fn lag(&self) -> i64 {
        let lag = self.consumer.lag().await;
        let behind = lag.into_iter().filter_map(|(at, partition)| {
            let end = partition.last_stable_offset.or(partition.high_watermark)?;
            let open = self.desk.first_open(at.partition).or(partition.position)?;
            Some((end - open).max(0))
        });
        behind.sum()
    }

    async fn tell(&self, what: &'static str) {
        let counts = self.desk.counts();
        tracing::info!(
            target: "lakehook::consume",
            topic = self.brokers.topic,
            group = self.brokers.group,
            partitions = self.partitions().await.len(),
            lag = self.lag().await,
            held = self.desk.held(),
            settled = list(&counts.settled),
            refused = list(&counts.refused),
            open = list(&counts.open),
            kept = counts.kept,
            skipped = counts.skipped,
            "{what}"
        );
    }
}

/// Commits what is due, of these partitions only where some are named. What fails is due again.
async fn commit(consumer: &Consumer, desk: &Desk, topic: &str, only: Option<&[i32]>) {
    let mut due = desk.due();
    due.retain(|(partition, _)| only.is_none_or(|only| only.contains(partition)));
    if due.is_empty() {
        return;
    }
    let offsets = due.iter().map(|(partition, Next { offset, leader_epoch })| {
        let offset = match leader_epoch {
            Some(epoch) => OffsetAndMetadata::with_epoch(*offset, *epoch),
            None => OffsetAndMetadata::new(*offset),
        };
        (TopicPartition::new(topic, *partition), offset)
    });
    match consumer.commit_offsets(offsets.collect::<Vec<_>>()).await {
        Ok(()) => desk.committed(&due),
        // The group is being dealt anew: the listener is told, or the next owner reads them again.
        Err(KrafkaError::Broker {
            code: ErrorCode::RebalanceInProgress | ErrorCode::IllegalGeneration | ErrorCode::UnknownMemberId,
            ..
        }) => {}
        Err(error) => {
            tracing::warn!(target: "lakehook::consume", %error, "the offsets are not committed; trying again");
            if !error.is_retriable() {
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

/// Hears what the group gives and takes.
struct Listener {
    topic: String,
    desk: Arc<Desk>,
    /// Known once it is built
    consumer: Arc<OnceLock<Weak<Consumer>>>,
}

impl ConsumerRebalanceListener for Listener {
    async fn on_partitions_assigned(&self, partitions: &[TopicPartition]) {
        let partitions = numbers(partitions);
        tracing::info!(target: "lakehook::consume", ?partitions, "partitions assigned");
        self.desk.assigned(&partitions);
    }

    async fn on_partitions_revoked(&self, partitions: &[TopicPartition]) {
        let partitions = numbers(partitions);
        tracing::info!(target: "lakehook::consume", ?partitions, "partitions revoked");
        if let Some(consumer) = self.consumer.get().and_then(Weak::upgrade) {
            commit(&consumer, &self.desk, &self.topic, Some(&partitions)).await;
        }
        self.desk.gone(&partitions);
    }

    async fn on_partitions_lost(&self, partitions: &[TopicPartition]) {
        let partitions = numbers(partitions);
        tracing::warn!(target: "lakehook::consume", ?partitions, "partitions lost: the group took this member for dead");
        self.desk.gone(&partitions);
    }
}

fn numbers(partitions: &[TopicPartition]) -> Vec<i32> {
    partitions.iter().map(|at| at.partition).collect()
}
