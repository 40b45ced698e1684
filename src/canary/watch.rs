//! The canaries of a running instance, one after the other. Of many replicas one flies them: the one that holds a lease
//! in the shared order store.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::{Instant, sleep, sleep_until};

use super::{Canary, Flight, Lost};
use crate::forward::Forward;
use crate::operate::{CanaryMetrics, Recent};
use crate::order::lease::{LEASE, Lease, leads, lost};

/// After the start the Subscription may have to be made first.
const AT_FIRST: Duration = Duration::from_secs(15);

/// What health and metrics tell.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// `Type/id`
    resource: String,
    /// This replica flies them; another one does, where not.
    pub leads: bool,
    last: Option<(Flight, SystemTime)>,
    /// In a row
    failures: u64,
    last_error: Option<String>,
    /// When the last one arrived, or since when one should have.
    since: Option<Instant>,
}

impl Snapshot {
    /// Time since the last one arrived, or since this replica began to fly them; none where it does not.
    pub fn age(&self) -> Option<Duration> {
        self.since.filter(|_| self.leads).map(|since| since.elapsed())
    }

    pub fn last_lag(&self) -> Option<Duration> {
        self.last.as_ref().map(|(flight, _)| flight.arrived)
    }

    /// For health in detail
    pub fn describe(&self) -> Value {
        let at = |at: &SystemTime| jiff::Timestamp::try_from(*at).ok().map(|at| at.to_string());
        let flight = self.last.as_ref().map(|(flight, _)| flight);
        json!({
            "resource": self.resource,
            "leads": self.leads,
            "lagSeconds": flight.map(|flight| flight.arrived.as_secs_f64()),
            "deliveredSeconds": flight.and_then(|flight| flight.delivered).map(|after| after.as_secs_f64()),
            "lastArrived": self.last.as_ref().and_then(|(_, time)| at(time)),
            "ageSeconds": self.age().map(|age| age.as_secs()),
            "failuresInARow": self.failures,
            "problem": self.last_error,
        })
    }
}

#[derive(Clone)]
pub struct Status(Arc<Mutex<Snapshot>>);

impl Status {
    pub fn new(canary: &Canary) -> Self {
        Self(Arc::new(Mutex::new(Snapshot {
            resource: canary.key.to_string(),
            leads: false,
            last: None,
            failures: 0,
            last_error: None,
            since: None,
        })))
    }

    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Watch {
    pub canary: Canary,
    pub every: Duration,
    pub status: Status,
    pub lease: Option<Lease>,
    pub forward: Arc<Forward>,
    pub recent: Arc<Recent>,
    pub metrics: CanaryMetrics,
}

impl Watch {
    /// Until it is dropped.
    pub async fn run(self) {
        let mut next = Instant::now() + self.every.min(AT_FIRST);
        let mut failing_since = None;
        loop {
            if !self.leads().await {
                sleep(LEASE / 2).await;
                continue;
            }
            if Instant::now() < next {
                sleep_until(next.min(Instant::now() + LEASE / 3)).await;
                continue;
            }
            next = Instant::now() + self.every;
            tokio::select! {
                flown = self.canary.fly(&self.forward.healthlake, Some(&self.recent)) => match flown {
                    Ok(flight) => self.arrived(flight, &mut failing_since),
                    Err(lost) => self.lost(&lost, &mut failing_since),
                },
                () = lost(self.lease.as_ref(), |leads| self.tell(leads)) => {
                    tracing::info!("canary: another replica flies it now");
                }
            }
        }
    }

    async fn leads(&self) -> bool {
        let leads = leads(self.lease.as_ref()).await;
        self.tell(leads);
        leads
    }

    fn tell(&self, leads: bool) {
        let mut status = self.status.lock();
        if !leads {
            status.since = None;
        } else if status.since.is_none() {
            status.since = Some(Instant::now());
        }
        status.leads = leads;
    }

    fn arrived(&self, flight: Flight, failing_since: &mut Option<Instant>) {
        let lag_seconds = flight.arrived.as_secs_f64();
        let delivered_seconds = flight.delivered.map(|after| after.as_secs_f64());
        tracing::debug!(target: "lakehook::canary", lag_seconds, delivered_seconds, "the canary arrived");
        self.metrics.arrived(&flight);
        let mut status = self.status.lock();
        if let Some(since) = failing_since.take() {
            let (failures, seconds) = (status.failures, since.elapsed().as_secs_f64());
            tracing::info!(
                target: "lakehook::canary",
                failures,
                seconds,
                lag_seconds,
                "the canary arrives again after {failures} failures in {seconds:.1} s"
            );
        }
        status.last = Some((flight, (self.canary.clock)()));
        (status.failures, status.last_error) = (0, None);
        status.since = Some(Instant::now());
    }

    fn lost(&self, lost: &Lost, failing_since: &mut Option<Instant>) {
        failing_since.get_or_insert_with(Instant::now);
        self.metrics.lost(lost);
        let mut status = self.status.lock();
        status.failures += 1;
        status.last_error = Some(lost.to_string());
        let failures = status.failures;
        tracing::warn!(target: "lakehook::canary", failures, reason = lost.name(), "canary: {lost}");
    }
}
