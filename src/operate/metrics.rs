//! Metrics in Prometheus text. Every name and unit stands here, in `reconcile_metrics`, `canary_metrics` and `otlp`.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::canary_metrics::CanaryMetrics;
use super::otlp::TraceMetrics;
use super::reconcile_metrics::ReconcileMetrics;
use crate::deadletter::Usage;
use crate::delivery::is_resource_type;
use crate::forward::{Letter, Report};
use crate::validate::Mode;
use crate::verdict::Verdict;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Delivered {
    verdict: &'static str,
    resource_type: String,
    interaction: &'static str,
    /// `live`, or the command that sent it
    source: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KeptOut {
    /// `filter::Rule::name`
    rule: &'static str,
    resource_type: String,
    /// Whether HealthLake had an earlier version, which is deleted there
    withdrawn: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    verdict: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Stage {
    stage: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OrderEvent {
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Upstream {
    status: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kept {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Above {
    mode: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Subscribed {
    /// `Subscription/lakehook`
    subscription: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Checked {
    outcome: &'static str,
}

/// Where a delivery's time goes
const STAGES: [&str; 5] = ["validate", "wait", "store", "cdr", "healthlake"];

/// A sender could invent types; those behind this number share a label.
const MOST_TYPES: usize = 256;

pub struct Metrics {
    registry: Registry,
    pub reconcile: ReconcileMetrics,
    pub canary: CanaryMetrics,
    pub traces: TraceMetrics,
    deliveries: Family<Delivered, Counter>,
    filtered: Family<KeptOut, Counter>,
    rejected: Family<Rejected, Counter>,
    stages: Family<Stage, Histogram>,
    /// Of `STAGES`, in their order: looked up once
    stage: [Histogram; STAGES.len()],
    would_refuse: Family<Above, Counter>,
    upstream: Family<Upstream, Counter>,
    order: Family<OrderEvent, Counter>,
    dead_letters_kept: Family<Kept, Counter>,
    dead_letter_failures: Counter,
    dead_letters: Gauge,
    dead_letters_stored: Gauge,
    attempts: Counter,
    bytes: Counter,
    in_flight: Gauge,
    bytes_in_flight: Gauge,
    remembered: Gauge,
    log_lines_dropped: Counter,
    credentials_expire: Gauge<f64, std::sync::atomic::AtomicU64>,
    subscription_active: Family<Subscribed, Gauge>,
    subscription_checks: Family<Checked, Counter>,
    types: std::sync::Mutex<std::collections::HashSet<String>>,
}

/// What is only known when it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Now {
    pub in_flight: usize,
    pub bytes_in_flight: usize,
    pub remembered: usize,
    /// Since the start
    pub log_lines_dropped: u64,
    /// As last counted
    pub dead_letters: Usage,
    /// Seconds since the epoch; 0 where the credentials don't expire or there are none
    pub credentials_expire: f64,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a tenth of a millisecond to beyond the longest deadline that makes sense.
        let buckets: fn() -> Histogram = || {
            Histogram::new([
                0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ])
        };
        let stages = Family::new_with_constructor(buckets);
        let mut metrics = Self {
            registry: Registry::with_prefix("lakehook"),
            reconcile: ReconcileMetrics::default(),
            canary: CanaryMetrics::default(),
            traces: TraceMetrics::default(),
            deliveries: Family::default(),
            filtered: Family::default(),
            rejected: Family::default(),
            stage: STAGES.map(|stage| stages.get_or_create(&Stage { stage }).clone()),
            stages,
            would_refuse: Family::default(),
            upstream: Family::default(),
            order: Family::default(),
            dead_letters_kept: Family::default(),
            dead_letter_failures: Counter::default(),
            dead_letters: Gauge::default(),
            dead_letters_stored: Gauge::default(),
            attempts: Counter::default(),
            bytes: Counter::default(),
            in_flight: Gauge::default(),
            bytes_in_flight: Gauge::default(),
            remembered: Gauge::default(),
            log_lines_dropped: Counter::default(),
            credentials_expire: Gauge::default(),
            subscription_active: Family::default(),
            subscription_checks: Family::default(),
            types: Default::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "deliveries",
            "Deliveries by verdict, type, interaction and source",
            self.deliveries.clone(),
        );
        registry.register(
            "filtered",
            "Deliveries that the filter keeps out, by rule and type, and whether an earlier version was deleted at HealthLake",
            self.filtered.clone(),
        );
        registry.register("rejected", "Requests that did not become a delivery", self.rejected.clone());
        registry.register_with_unit(
            "delivery_stage",
            "Time spent by stage: validate, wait (for the same resource), store (the order), cdr (asked), healthlake",
            Unit::Seconds,
            self.stages.clone(),
        );
        registry.register(
            "order_events",
            "What happened to the order: contended claims, the CDR asked, in doubt without a CDR, claims lost, store failures, preconditions",
            self.order.clone(),
        );
        registry.register(
            "dead_letters_kept",
            "Deliveries refused for good that were kept as a dead letter, by reason",
            self.dead_letters_kept.clone(),
        );
        registry.register(
            "dead_letter_failures",
            "Deliveries refused for good that could not be kept: the CDR got the refusal",
            self.dead_letter_failures.clone(),
        );
        registry.register(
            "dead_letters",
            "Dead letters in the store, as counted each minute",
            self.dead_letters.clone(),
        );
        registry.register_with_unit(
            "dead_letters_stored",
            "Size of the dead letters in the store, where it tells",
            Unit::Bytes,
            self.dead_letters_stored.clone(),
        );
        registry.register(
            "would_refuse",
            "Deliveries that passed validation and that a stricter mode would have refused",
            self.would_refuse.clone(),
        );
        registry.register("healthlake_answers", "Answers of HealthLake by status", self.upstream.clone());
        registry.register("healthlake_attempts", "Requests sent to HealthLake", self.attempts.clone());
        registry.register_with_unit("forwarded", "JSON forwarded", Unit::Bytes, self.bytes.clone());
        registry.register("in_flight", "Deliveries in flight", self.in_flight.clone());
        registry.register_with_unit(
            "in_flight_body",
            "Bytes reserved by deliveries in flight",
            Unit::Bytes,
            self.bytes_in_flight.clone(),
        );
        registry.register("remembered", "Resources in the order memory", self.remembered.clone());
        registry.register(
            "log_lines_dropped",
            "Lines of the log that nobody read in time",
            self.log_lines_dropped.clone(),
        );
        registry.register_with_unit(
            "credentials_expire_timestamp",
            "When the AWS credentials expire, since the epoch; 0 if they do not",
            Unit::Seconds,
            self.credentials_expire.clone(),
        );
        registry.register(
            "subscription_active",
            "1 where lakehook's Subscription at the CDR is active; with --manage-subscription",
            self.subscription_active.clone(),
        );
        registry.register(
            "subscription_checks",
            "Looks at lakehook's Subscriptions at the CDR, by outcome: ok, failed",
            self.subscription_checks.clone(),
        );
        self.reconcile.register(registry);
        self.canary.register(registry);
        self.traces.register(registry);
    }

    pub fn subscription_active(&self, subscription: &str, active: bool) {
        let labels = Subscribed { subscription: subscription.to_owned() };
        self.subscription_active.get_or_create(&labels).set(i64::from(active));
    }

    pub fn subscription_checked(&self, ok: bool) {
        let outcome = if ok { "ok" } else { "failed" };
        self.subscription_checks.get_or_create(&Checked { outcome }).inc();
    }

    pub fn delivered(&self, report: &Report) {
        let labels = Delivered {
            verdict: report.verdict.name(),
            resource_type: self.resource_type(report.key.as_ref().map(|key| key.resource_type())),
            interaction: report.interaction,
            source: report.source.name(),
        };
        self.deliveries.get_or_create(&labels).inc();
        if let Verdict::Filtered { rule, withdrawn } = &report.verdict {
            let withdrawn = if *withdrawn { "true" } else { "false" };
            let labels = KeptOut { rule: rule.name(), resource_type: labels.resource_type, withdrawn };
            self.filtered.get_or_create(&labels).inc();
        }
        let stages = &report.stages;
        let took = [stages.validate, stages.wait, stages.store, stages.cdr, stages.healthlake];
        for (stage, took) in self.stage.iter().zip(took) {
            stage.observe(took.as_secs_f64());
        }
        let order = &report.order;
        let notes = [
            ("contended", order.contended),
            ("asked-cdr", order.asked_cdr),
            ("in-doubt", order.in_doubt),
            ("claim-lost", order.claim_lost),
            ("store-failed", order.store_failed),
            ("precondition", order.precondition),
        ];
        for (event, _) in notes.into_iter().filter(|(_, happened)| *happened) {
            self.order.get_or_create(&OrderEvent { event }).inc();
        }
        match (report.letter, &report.verdict) {
            (Letter::Kept, Verdict::DeadLettered { refused, .. }) => {
                self.dead_letters_kept.get_or_create(&Kept { reason: refused.name() }).inc();
            }
            (Letter::Failed, _) => {
                self.dead_letter_failures.inc();
            }
            _ => {}
        }
        // What `structure` refuses `strict` refuses as well.
        for (mode, name) in [(Mode::Structure, "structure"), (Mode::Strict, "strict")] {
            if report.refused_above.is_some_and(|laxest| laxest <= mode) {
                self.would_refuse.get_or_create(&Above { mode: name }).inc();
            }
        }
        self.attempts.inc_by(report.attempts.into());
        self.bytes.inc_by(report.bytes as u64);
        let status = match (&report.said, &report.could_not) {
            (Some(said), _) => said.status.as_str().to_owned(),
            (None, Some(_)) => "none".to_owned(),
            (None, None) => return,
        };
        self.upstream.get_or_create(&Upstream { status }).inc();
    }

    pub fn rejected(&self, verdict: &Verdict) {
        self.rejected.get_or_create(&Rejected { verdict: verdict.name() }).inc();
    }

    pub fn text(&self, now: Now) -> String {
        let whole = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        self.in_flight.set(whole(now.in_flight));
        self.bytes_in_flight.set(whole(now.bytes_in_flight));
        self.remembered.set(whole(now.remembered));
        self.log_lines_dropped.inc_by(now.log_lines_dropped.saturating_sub(self.log_lines_dropped.get()));
        let signed = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        self.dead_letters.set(signed(now.dead_letters.letters));
        self.dead_letters_stored.set(signed(now.dead_letters.bytes.unwrap_or_default()));
        self.credentials_expire.set(now.credentials_expire);
        let mut text = String::new();
        // Writing into a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    fn resource_type(&self, name: Option<&str>) -> String {
        let Some(name) = name.filter(|name| is_resource_type(name)) else { return "none".to_owned() };
        let mut types = self.types.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if types.contains(name) || (types.len() < MOST_TYPES && types.insert(name.to_owned())) {
            return name.to_owned();
        }
        "other".to_owned()
    }
}
