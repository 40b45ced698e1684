//! Sweeps of a running instance: what changed, every few minutes; everything, now and then. Of many replicas one does
//! it: the one that holds a lease in the shared order store.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::time::{Instant, sleep, sleep_until};

use super::finding::{Finding, as_instant};
use super::report::{Extent, Report};
use super::run::now;
use super::side::At;
use crate::order::lease::{LEASE, Lease, leads, lost};

#[derive(Clone, Copy, Debug)]
pub struct Every {
    pub changes: Duration,
    pub everything: Duration,
}

/// What health and metrics tell.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// This replica sweeps; another one does, where not.
    pub leads: bool,
    pub sweeping: bool,
    #[serde(serialize_with = "as_instant")]
    pub last_sweep: Option<At>,
    pub last_extent: Option<Extent>,
    /// Why the last sweep failed, where it did
    pub last_error: Option<String>,
    /// Differences that are known and not repaired, by type
    pub open: BTreeMap<String, u64>,
    #[serde(serialize_with = "as_instant")]
    pub oldest_difference: Option<At>,
    pub undecided: u64,
    /// Since the start, by type and kind
    pub found: BTreeMap<String, BTreeMap<&'static str, u64>>,
    pub repaired: u64,
    pub sweeps: u64,
    pub failed_sweeps: u64,
}

impl Snapshot {
    /// How long the oldest known difference has been there.
    pub fn lag(&self) -> Duration {
        let since = self.oldest_difference.map_or(0, |oldest| (now() - oldest).max(0));
        Duration::from_millis(u64::try_from(since).unwrap_or(0))
    }
}

#[derive(Clone, Default)]
pub struct Status(Arc<Mutex<Snapshot>>);

impl Status {
    pub fn snapshot(&self) -> Snapshot {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Snapshot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A difference that holds.
    pub fn found(&self, finding: &Finding) {
        let mut this = self.lock();
        let kind = finding.key.resource_type().to_owned();
        *this.found.entry(kind).or_default().entry(finding.kind.name()).or_default() += 1;
        this.repaired += u64::from(finding.repair == Some(super::Repair::Repaired));
    }
}

pub struct Continuous {
    pub every: Every,
    pub status: Status,
    pub lease: Option<Lease>,
}

impl Continuous {
    /// Until it is dropped. `sweep` does one, of everything where it is told so, and gives the report with what is
    /// open after it.
    pub async fn run<F>(self, mut sweep: impl FnMut(bool) -> F)
    where
        F: Future<Output = Result<(Report, BTreeMap<String, u64>, Option<At>), String>>,
    {
        let mut everything_at = Instant::now();
        let mut next = Instant::now();
        loop {
            if !self.leads().await {
                sleep(LEASE / 2).await;
                continue;
            }
            if Instant::now() < next {
                sleep_until(next.min(Instant::now() + LEASE / 3)).await;
                continue;
            }
            let everything = Instant::now() >= everything_at;
            self.status.lock().sweeping = true;
            let swept = tokio::select! {
                swept = sweep(everything) => Some(swept),
                () = lost(self.lease.as_ref(), |leads| self.tell(leads)) => None,
            };
            next = Instant::now() + self.every.changes;
            self.status.lock().sweeping = false;
            match swept {
                Some(Ok((report, open, oldest))) => {
                    if everything {
                        everything_at = Instant::now() + self.every.everything;
                    }
                    self.ended(&report, open, oldest);
                }
                Some(Err(error)) => {
                    tracing::warn!(error, "reconcile: the sweep failed; the next one goes on");
                    let mut status = self.status.lock();
                    status.failed_sweeps += 1;
                    status.last_error = Some(error);
                }
                None => tracing::warn!("reconcile: another replica leads now"),
            }
        }
    }

    async fn leads(&self) -> bool {
        let leads = leads(self.lease.as_ref()).await;
        self.tell(leads);
        leads
    }

    fn tell(&self, leads: bool) {
        self.status.lock().leads = leads;
    }

    fn ended(&self, report: &Report, open: BTreeMap<String, u64>, oldest: Option<At>) {
        tracing::info!(
            extent = ?report.extent,
            seconds = report.seconds(),
            differences = report.differences(),
            repaired = report.repaired(),
            undecided = report.undecided,
            cdr_requests = report.cdr.requests,
            healthlake_requests = report.healthlake.requests,
            "reconciled"
        );
        let mut status = self.status.lock();
        status.sweeps += 1;
        status.last_error = None;
        status.last_sweep = report.ended;
        status.last_extent = Some(report.extent);
        status.undecided = report.undecided;
        (status.open, status.oldest_difference) = (open, oldest);
    }
}
