//! What the sweeps that compare both sides found, for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::reconcile::Snapshot;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    resource_type: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Open {
    resource_type: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// All are set when they are asked for: counts grow from the start of the process.
#[derive(Default)]
pub struct ReconcileMetrics {
    found: Family<Found, Gauge>,
    open: Family<Open, Gauge>,
    repaired: Gauge,
    sweeps: Family<Outcome, Gauge>,
    leads: Gauge,
    lag: Gauge<f64, AtomicU64>,
    last_sweep: Gauge<f64, AtomicU64>,
}

impl ReconcileMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "reconcile_differences_found",
            "Differences found since the start, by type and kind: missing, extra, stale, altered",
            self.found.clone(),
        );
        registry.register(
            "reconcile_open",
            "Resources known to differ, or not judged yet, by type",
            self.open.clone(),
        );
        registry.register(
            "reconcile_repaired",
            "Differences repaired since the start",
            self.repaired.clone(),
        );
        registry.register("reconcile_sweeps", "Sweeps since the start, by outcome", self.sweeps.clone());
        registry.register(
            "reconcile_leads",
            "1 where this replica sweeps, 0 where another does",
            self.leads.clone(),
        );
        registry.register_with_unit(
            "reconcile_lag",
            "Age of the oldest known difference; 0 where there is none",
            Unit::Seconds,
            self.lag.clone(),
        );
        registry.register_with_unit(
            "reconcile_last_sweep_timestamp",
            "When the last sweep ended, since the epoch; 0 before the first",
            Unit::Seconds,
            self.last_sweep.clone(),
        );
    }

    pub(super) fn set(&self, snapshot: &Snapshot) {
        let whole = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        for (resource_type, kinds) in &snapshot.found {
            for (kind, n) in kinds {
                let labels = Found { resource_type: resource_type.clone(), kind };
                self.found.get_or_create(&labels).set(whole(*n));
            }
        }
        self.open.clear();
        for (resource_type, n) in &snapshot.open {
            self.open.get_or_create(&Open { resource_type: resource_type.clone() }).set(whole(*n));
        }
        self.repaired.set(whole(snapshot.repaired));
        self.sweeps.get_or_create(&Outcome { outcome: "done" }).set(whole(snapshot.sweeps));
        self.sweeps.get_or_create(&Outcome { outcome: "failed" }).set(whole(snapshot.failed_sweeps));
        self.leads.set(i64::from(snapshot.leads));
        self.lag.set(snapshot.lag().as_secs_f64());
        self.last_sweep.set(snapshot.last_sweep.map_or(0.0, |at| at as f64 / 1e3));
    }
}
