//! What the canaries measured, for Prometheus.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use crate::canary::{Flight, Lost, Snapshot};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Flown {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Leg {
    /// How far: `delivered` here, or `arrived` at HealthLake
    leg: &'static str,
}

#[derive(Clone)]
pub struct CanaryMetrics {
    canaries: Family<Flown, Counter>,
    canary_flights: Family<Leg, Histogram>,
    canary_lag: Gauge<f64, AtomicU64>,
    canary_age: Gauge<f64, AtomicU64>,
    canary_leads: Gauge,
}

impl Default for CanaryMetrics {
    fn default() -> Self {
        // HAPI hands changes on every 5 s, and repeats what fails for a minute.
        let buckets = || Histogram::new([0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 40.0, 80.0, 160.0]);
        Self {
            canaries: Family::default(),
            canary_flights: Family::new_with_constructor(buckets),
            canary_lag: Gauge::default(),
            canary_age: Gauge::default(),
            canary_leads: Gauge::default(),
        }
    }
}

impl CanaryMetrics {
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("canaries", "Canaries by outcome: arrived, or why not", self.canaries.clone());
        registry.register_with_unit(
            "canary_flight",
            "From the write at the CDR to the end of its delivery here (delivered), and until HealthLake has it (arrived)",
            Unit::Seconds,
            self.canary_flights.clone(),
        );
        registry.register_with_unit(
            "canary_lag",
            "What the last canary that arrived took from the CDR to HealthLake",
            Unit::Seconds,
            self.canary_lag.clone(),
        );
        registry.register_with_unit(
            "canary_age",
            "Time since a canary arrived, or since this replica began to fly them; 0 where it does not",
            Unit::Seconds,
            self.canary_age.clone(),
        );
        registry.register("canary_leads", "1 where this replica flies canaries", self.canary_leads.clone());
    }

    pub fn arrived(&self, flight: &Flight) {
        self.canaries.get_or_create(&Flown { outcome: "arrived" }).inc();
        let legs = [("arrived", Some(flight.arrived)), ("delivered", flight.delivered)];
        for (leg, took) in legs.into_iter().filter_map(|(leg, took)| Some((leg, took?))) {
            self.canary_flights.get_or_create(&Leg { leg }).observe(took.as_secs_f64());
        }
    }

    pub fn lost(&self, lost: &Lost) {
        self.canaries.get_or_create(&Flown { outcome: lost.name() }).inc();
    }

    pub(super) fn set(&self, snapshot: &Snapshot) {
        self.canary_leads.set(i64::from(snapshot.leads));
        self.canary_age.set(snapshot.age().unwrap_or_default().as_secs_f64());
        if let Some(lag) = snapshot.last_lag() {
            self.canary_lag.set(lag.as_secs_f64());
        }
    }
}
