//! How fast a command may write: a budget of HealthLake's write units (1 KB of payload each) per second that finds
//! the quota by itself. Additive increase while all goes well, multiplicative decrease when HealthLake throttles.
//!
//! Live deliveries are not paced. Where both meet the quota, the command gives way and they do not: that is what
//! puts them first.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep};

/// What may be said of a budget beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Units per second to begin with
    pub start: f64,
    /// Never more than this (units per second); None: as much as HealthLake takes
    pub most: Option<f64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { start: START, most: None }
    }
}

/// A tenth of what a small data store takes.
const START: f64 = 30.0;
/// Below this nothing would ever be learned (units per second).
const LEAST: f64 = 1.0;
/// What is left of the rate after HealthLake throttled; the first time it may have been twice too high.
const DECREASE: f64 = 0.7;
const FIRST_DECREASE: f64 = 0.5;
/// The increase in one second, as a part of the rate at which HealthLake throttled last: constant between two
/// decreases, and some fifteen seconds from one to the next whatever the quota is.
const INCREASE: f64 = 0.02;
/// Unused budget of this long may be used at once.
const BURST: f64 = 0.1;
/// After a throttled write nothing is sent for this long, where HealthLake names no time: live deliveries find the
/// quota free.
const GIVE_WAY: Duration = Duration::from_millis(300);
/// A longer `Retry-After` is looked into after this time.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An outage is one when this many writes failed one after the other.
const OUTAGE: u32 = 3;
const FIRST_OUTAGE_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_OUTAGE_PAUSE: Duration = Duration::from_secs(30);

/// Units that HealthLake counts for a payload: a KB begun is one.
pub fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX)
}

/// The budget of one command, shared by all that write for it.
pub struct Pace {
    state: Mutex<State>,
    /// First come, first served; one waits for the budget, the others for their turn.
    lane: tokio::sync::Mutex<()>,
}

struct State {
    /// Units per second
    rate: f64,
    most: f64,
    /// Units that may be sent now; below zero while a large payload is paid off
    left: f64,
    filled: Instant,
    /// Nothing is sent before
    not_before: Instant,
    /// Doubling each second, until HealthLake throttles for the first time
    doubling: bool,
    /// The rate at which HealthLake throttled last
    peak: f64,
    /// When the rate was lowered last: throttled writes sent before tell nothing new
    lowered: Option<Instant>,
    /// When the budget, and not its user, was last what held a write up
    scarce: Option<Instant>,
    failures: u32,
}

/// A write that the budget let pass; to be told about when its outcome is known.
#[derive(Clone, Copy, Debug)]
pub struct Sent {
    units: u32,
    at: Instant,
}

impl Pace {
    pub fn new(limits: Limits) -> Self {
        let now = Instant::now();
        let most = limits.most.unwrap_or(f64::INFINITY).max(LEAST);
        let rate = limits.start.clamp(LEAST, most);
        let state = State {
            rate,
            most,
            left: rate * BURST,
            filled: now,
            not_before: now,
            doubling: true,
            peak: rate,
            lowered: None,
            scarce: None,
            failures: 0,
        };
        Self { state: Mutex::new(state), lane: tokio::sync::Mutex::new(()) }
    }

    /// Waits until `units` may be sent.
    pub async fn take(&self, units: u32) -> Sent {
        let _lane = self.lane.lock().await;
        loop {
            let now = Instant::now();
            let wait = self.state().take(units, now);
            match wait {
                None => return Sent { units, at: now },
                // Looked at again from time to time: the rate may have changed.
                Some(wait) => sleep(wait.min(Duration::from_secs(1))).await,
            }
        }
    }

    /// HealthLake took the write, or refused its content.
    pub fn took(&self, sent: Sent) {
        self.state().took(sent, Instant::now());
    }

    /// Nothing was sent to HealthLake after all.
    pub fn unused(&self, sent: Sent) {
        self.state().left += f64::from(sent.units);
    }

    pub fn throttled(&self, sent: Sent, retry_after: Option<Duration>) {
        self.state().throttled(sent, retry_after, Instant::now());
    }

    /// No answer, or one that is no answer: an outage, perhaps.
    pub fn failed(&self, sent: Sent) {
        self.state().failed(sent, Instant::now());
    }

    /// Units per second at the moment.
    pub fn rate(&self) -> f64 {
        self.state().rate
    }

    /// Each change of the state is whole, so a panic elsewhere does not spoil it.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// How long to wait, or None where it may go now.
    fn take(&mut self, units: u32, now: Instant) -> Option<Duration> {
        let passed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        // One unit at least, or a rate below that would never send.
        self.left = (self.left + passed * self.rate).min((self.rate * BURST).max(1.0));
        if now < self.not_before {
            return Some(self.not_before - now);
        }
        // A payload larger than what is left goes all the same, and is paid off afterwards.
        if self.left > 0.0 {
            self.left -= f64::from(units);
            return None;
        }
        self.scarce = Some(now);
        Some(Duration::from_secs_f64((-self.left / self.rate).clamp(0.001, 60.0)))
    }

    fn took(&mut self, sent: Sent, now: Instant) {
        self.failures = 0;
        // A rate that nobody uses up says nothing of the quota.
        let recently = |at: Instant| now.saturating_duration_since(at) < Duration::from_secs(1);
        if !self.scarce.is_some_and(recently) {
            return;
        }
        let units = f64::from(sent.units);
        let increase =
            if self.doubling { units } else { (self.peak * INCREASE).max(LEAST) * units / self.rate };
        self.rate = (self.rate + increase.min(self.rate)).min(self.most);
    }

    fn throttled(&mut self, sent: Sent, retry_after: Option<Duration>, now: Instant) {
        self.failures = 0;
        let pause = retry_after.unwrap_or(GIVE_WAY).min(LONGEST_PAUSE);
        self.not_before = self.not_before.max(now + pause);
        if self.lowered.is_some_and(|lowered| sent.at < lowered) {
            return;
        }
        self.peak = self.rate;
        self.rate = (self.rate * if self.doubling { FIRST_DECREASE } else { DECREASE }).max(LEAST);
        self.doubling = false;
        self.lowered = Some(now);
        self.left = self.left.min(0.0);
    }

    fn failed(&mut self, sent: Sent, now: Instant) {
        // Those that were on their way together failed together.
        if sent.at < self.not_before {
            return;
        }
        self.failures += 1;
        if self.failures >= OUTAGE {
            let doublings = (self.failures - OUTAGE).min(10);
            let pause = FIRST_OUTAGE_PAUSE.saturating_mul(1 << doublings).min(LONGEST_OUTAGE_PAUSE);
            self.not_before = self.not_before.max(now + pause);
        }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
