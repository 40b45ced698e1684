//! What all of a simulated run shares: its random numbers, its clock, what the CDR holds, HealthLake's store, and what
//! has happened so far.

use std::fmt::Display;
use std::sync::{Arc, Mutex};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use fastrand::Rng;
use tokio::time::Instant;

use crate::delivery::Key;
use crate::healthlake::Clock;
use crate::order::record::Millis;
use crate::order::walk::{OnStoreFailure, Protocol};
use crate::sandbox::{Config, Sandbox};

/// When every run begins.
const EPOCH: Duration = Duration::from_millis(1_800_000_000_000);

/// Where the order is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// One replica, which does not end
    Memory,
    /// One replica at a time, killed now and then
    File,
    /// Three replicas over one DynamoDB table, each killed now and then
    DynamoDb,
}

/// A rule taken out, to see that the storms would notice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Without {
    /// Rule 1: two deliveries of a resource race.
    Claims,
    /// Rule 2: what was forwarded is not remembered.
    Versions,
    /// Rule 3: a DELETE leaves no tombstone.
    Tombstones,
    /// What was withdrawn is forgotten.
    Withdrawals,
    /// Rule 3: clocks are taken for equal though they differ.
    ClockSkew,
    /// Rule 4: the CDR is not asked.
    Cdr,
    /// Rule 6: writes are unconditional, and nobody waits.
    Fences,
    /// Rule 6: writes are conditional, but nobody waits.
    Settle,
    /// An ended claim leaves nothing behind.
    LeftBehind,
}

/// How a run goes: all of it drawn from the seed.
#[derive(Clone, Debug)]
pub(super) struct Knobs {
    pub kept: Kept,
    pub without: Option<Without>,
    pub replicas: usize,
    pub has_cdr: bool,
    pub resources: usize,
    pub changes: usize,
    /// Of a change of what is alive: that it is a deletion
    pub deletes: f64,
    /// Of an upsert: that it has a label which the filter keeps out
    pub labels: f64,
    /// Longest pause between changes of one burst, and between bursts
    pub pauses: (Millis, Millis),
    /// Saved changes are handed on so often, in one batch.
    pub hand_on: Millis,
    /// A version that is deleted by then is not sent, as HAPI has it.
    pub drops_deleted: bool,
    /// Deliveries at once
    pub workers: usize,
    /// So far ahead of the first the sender takes deliveries, in no order.
    pub window: usize,
    /// Version ids are no numbers, as Medplum has it.
    pub named_versions: bool,
    /// Of an upsert: that only its key is notified, and the CDR has to be read
    pub id_only: f64,
    pub deadline: Millis,
    pub settle: Millis,
    pub clock_skew: Millis,
    /// Each clock is ahead by up to this.
    pub clocks_differ: Millis,
    /// Longest ways there and back: to a replica, DynamoDB, HealthLake, the CDR
    pub ways: [Millis; 4],
    /// Of each request: at the replica, DynamoDB, HealthLake, the CDR
    pub faults: [f64; 4],
    /// A replica stands still just before it sends.
    pub stalls: f64,
    /// Mean pauses between two freezes and two kills of a replica; 0: never
    pub freezes: Millis,
    pub kills: Millis,
}

fn one_of<T: Copy>(random: &mut Rng, of: &[T]) -> T {
    of[random.usize(..of.len())]
}

impl Knobs {
    fn draw(random: &mut Rng, kept: Kept, without: Option<Without>) -> Self {
        let rates = [0.0, 0.02, 0.1, 0.25];
        let ways = [2, 20, 150];
        let replicas = if kept == Kept::DynamoDb { 3 } else { 1 };
        let settle = random.u64(4..20) * 1000;
        let clock_skew = one_of(random, &[50, 50, 300]);
        let mut knobs = Self {
            kept,
            without,
            replicas,
            has_cdr: without.is_some() || random.f64() < 0.8,
            resources: random.usize(1..4),
            changes: random.usize(4..24),
            deletes: one_of(random, &[0.1, 0.3, 0.5]),
            labels: 0.0,
            pauses: (one_of(random, &[0, 5, 40]), one_of(random, &[5, 400, 4000])),
            hand_on: one_of(random, &[0, 0, 200, 5000]),
            drops_deleted: random.bool(),
            workers: one_of(random, &[2, 2, 4]),
            window: one_of(random, &[2, 6, 20]),
            named_versions: random.f64() < 0.2,
            id_only: one_of(random, &[0.0, 0.0, 0.2]),
            deadline: random.u64(1..9) * 1000,
            settle,
            clock_skew,
            clocks_differ: one_of(random, &[0, clock_skew]),
            ways: std::array::from_fn(|_| one_of(random, &ways)),
            faults: std::array::from_fn(|_| one_of(random, &rates)),
            stalls: one_of(random, &[0.0, 0.0, 0.05]),
            freezes: one_of(random, &[0, 0, 20_000]),
            kills: one_of(random, &[0, 0, 15_000]),
        };
        if random.f64() < 0.2 {
            // Deliveries come at once: what clocks say of before and after is closest to being wrong.
            (knobs.hand_on, knobs.ways[0], knobs.pauses.0) = (0, 2, 5);
            knobs.clocks_differ = knobs.clock_skew;
        }
        if without == Some(Without::LeftBehind) {
            // What it guards against is rare: a process that dies, or stands still, just when it sends.
            (knobs.kills, knobs.stalls, knobs.faults[2]) = (4000, 0.1, 0.25);
        }
        if kept == Kept::Memory {
            // Its end would be the end of what it remembers.
            knobs.kills = 0;
        }
        if without == Some(Without::ClockSkew) {
            (knobs.clocks_differ, knobs.clock_skew) = (2000, 0);
        }
        if knobs.id_only > 0.0 && !knobs.has_cdr {
            knobs.id_only = 0.0;
        }
        knobs
    }

    pub fn protocol(&self) -> Protocol {
        Protocol {
            belated: false,
            looks_again: false,
            has_cdr: self.has_cdr && self.without != Some(Without::Cdr),
            settle: if self.without == Some(Without::Settle) { 0 } else { self.settle },
            // This sender repeats for as long as it takes.
            horizon: 1 << 40,
            clock_skew: self.clock_skew,
            on_store_failure: OnStoreFailure::Refuse,
        }
    }
}

/// A change that the CDR has made.
#[derive(Clone, Copy, Debug)]
pub(super) struct Change {
    pub deleted: bool,
    /// The filter keeps it out.
    pub filtered: bool,
    /// True time, and the time by the CDR's clock
    pub at: Millis,
    pub last_updated: Millis,
}

pub(super) struct World {
    pub knobs: Knobs,
    pub sandbox: Sandbox,
    random: Mutex<Rng>,
    started: Instant,
    cdr_clock: Millis,
    /// By resource; the version is the position, counted from 1.
    cdr: Mutex<Vec<Vec<Change>>>,
    trace: Mutex<Vec<String>>,
    tracing: bool,
    /// When a replica was killed
    pub kills: Mutex<Vec<Millis>>,
}

impl World {
    pub fn killed(&self) {
        let now = (EPOCH + self.started.elapsed()).as_millis() as Millis;
        self.kills.lock().unwrap().push(now);
    }

    /// Whether a write that took effect then may not have been heard of, since a replica was killed in the middle of it.
    pub fn maybe_unheard(&self, at: Millis) -> bool {
        self.kills
            .lock()
            .unwrap()
            .iter()
            .any(|kill| (at.saturating_sub(self.knobs.settle)..at + self.knobs.deadline).contains(kill))
    }

    /// `tracing`: everything that happens is kept as text.
    pub fn new(seed: u64, kept: Kept, without: Option<Without>, tracing: bool) -> Arc<Self> {
        let mut random = Rng::with_seed(seed);
        let mut knobs = Knobs::draw(&mut random, kept, without);
        match without {
            None => knobs.labels = one_of(&mut random, &[0.0, 0.0, 0.3, 0.6]),
            Some(Without::Withdrawals) => knobs.labels = 0.3,
            Some(_) => {}
        }
        let started = Instant::now();
        let clock = move || (EPOCH + started.elapsed()).as_millis() as i64;
        let clock = move || jiff::Timestamp::from_millisecond(clock()).unwrap();
        let cdr_clock = random.u64(..=knobs.clocks_differ);
        Arc::new(Self {
            sandbox: Sandbox::with_clock(Config::default(), Arc::new(clock)),
            cdr: Mutex::new(vec![Vec::new(); knobs.resources]),
            knobs,
            kills: Mutex::default(),
            random: Mutex::new(random),
            started,
            cdr_clock,
            trace: Mutex::default(),
            tracing,
        })
    }

    /// True time.
    pub fn now(&self) -> Millis {
        (EPOCH + self.started.elapsed()).as_millis() as Millis
    }

    /// A clock that is ahead of true time by as much as the run allows.
    pub fn some_clock(&self) -> Clock {
        let (started, ahead) = (self.started, self.up_to(self.knobs.clocks_differ));
        Arc::new(move || UNIX_EPOCH + EPOCH + started.elapsed() + ahead)
    }

    pub fn chance(&self, probability: f64) -> bool {
        self.random.lock().unwrap().f64() < probability
    }

    pub fn pick(&self, of: usize) -> usize {
        self.random.lock().unwrap().usize(..of)
    }

    pub fn up_to(&self, longest: Millis) -> Duration {
        Duration::from_millis(self.random.lock().unwrap().u64(..=longest))
    }

    pub fn note(&self, who: impl Display, what: impl FnOnce() -> String) {
        if self.tracing {
            let at = self.started.elapsed().as_millis();
            self.trace.lock().unwrap().push(format!("{at:>7} {who}: {}", what()));
        }
    }

    pub fn trace(&self) -> Vec<String> {
        self.trace.lock().unwrap().clone()
    }

    /// The CDR updates, creates or deletes. Its version, and whether it was a deletion.
    pub fn change(&self, resource: usize) -> (u64, bool) {
        let deletes = self.chance(self.knobs.deletes);
        let labelled = self.knobs.labels > 0.0 && self.chance(self.knobs.labels);
        let at = self.now();
        let mut cdr = self.cdr.lock().unwrap();
        let changes = &mut cdr[resource];
        let alive = changes.last().is_some_and(|change| !change.deleted);
        // Two versions of one resource in one millisecond would have no order.
        let after = changes.last().map_or(0, |change| change.last_updated + 1);
        let deleted = alive && deletes;
        let filtered = labelled && !deleted;
        changes.push(Change { deleted, filtered, at, last_updated: (at + self.cdr_clock).max(after) });
        let version = changes.len() as u64;
        drop(cdr);
        self.note("cdr", || {
            format!(
                "{} of {resource}",
                match (deleted, filtered) {
                    (true, _) => "deletion ",
                    (_, true) => "labelled version ",
                    _ => "version ",
                }
                .to_owned()
                    + &version.to_string()
            )
        });
        (version, deleted)
    }

    pub fn changes(&self, resource: usize) -> Vec<Change> {
        self.cdr.lock().unwrap()[resource].clone()
    }

    /// What the CDR has now: a version's number.
    pub fn current(&self, resource: usize) -> Option<u64> {
        let cdr = self.cdr.lock().unwrap();
        let changes = &cdr[resource];
        changes.last().filter(|change| !change.deleted).map(|_| changes.len() as u64)
    }

    pub fn body(&self, resource: usize, version: u64) -> Bytes {
        let change = self.cdr.lock().unwrap()[resource][version as usize - 1];
        let updated = jiff::Timestamp::from_millisecond(change.last_updated as i64).unwrap();
        let security = if change.filtered { r#","security":[{"code":"R"}]"# } else { "" };
        let id = if self.knobs.named_versions { format!("v{version}") } else { version.to_string() };
        format!(
            r#"{{"resourceType":"Patient","id":"{resource}","meta":{{"versionId":"{id}","lastUpdated":"{updated}"{security}}},"name":[{{"family":"F{version}"}}]}}"#
        )
        .into()
    }
}

pub(super) fn key(resource: usize) -> Key {
    Key::new("Patient", &resource.to_string()).unwrap()
}
