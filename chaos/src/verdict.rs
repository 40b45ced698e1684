//! What is said at the end.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::balancer::Traffic;
use crate::judge::{Difference, History, Whose};

#[derive(Debug, Serialize)]
pub struct Verdict {
    pub forwarder: &'static str,
    pub seed: u64,
    pub changes: usize,
    pub resources: usize,
    /// How many changes of each kind
    pub made: BTreeMap<&'static str, usize>,
    /// From the first change until HAPI had nothing more to send
    pub seconds: u64,
    pub replicas: usize,
    pub clocks_differ: bool,
    pub traffic: Traffic,
    /// What was done to the world
    pub troubles: BTreeMap<String, u64>,
    /// Counted faults that struck
    pub faults: BTreeMap<String, u64>,
    /// HealthLake's and STS's answers, which tell how often those by chance struck
    pub answers: BTreeMap<String, u64>,
    pub history: History,
    /// Once HAPI had nothing more to send, before any repair
    pub differences: Vec<Difference>,
    /// What `lakehook reconcile --dry-run` counted; none: not asked
    pub reconcile_found: Option<usize>,
    /// Still different after `lakehook reconcile --repair`
    pub different_after_repair: Vec<String>,
    /// Anything else that must not be
    pub wrong: Vec<String>,
}

impl Verdict {
    fn of(&self, whose: Whose) -> usize {
        self.differences.iter().filter(|difference| difference.whose == whose).count()
    }

    pub fn passed(&self) -> bool {
        self.of(Whose::Lost) == 0
            && self.history.stale.is_empty()
            && self.history.resurrected.is_empty()
            && self.history.foreign.is_empty()
            && self.different_after_repair.is_empty()
            && self.wrong.is_empty()
    }

    /// What is wrong, with the keys
    pub fn complaints(&self) -> Vec<String> {
        let mut all: Vec<String> = Vec::new();
        for difference in self.differences.iter().filter(|difference| difference.whose == Whose::Lost) {
            let Difference { key, hapi, healthlake, .. } = difference;
            all.push(format!(
                "lost: {key}: HAPI has it {hapi} and was answered 2xx, HealthLake has {healthlake}"
            ));
        }
        let named = |name: &'static str, texts: &[String]| {
            texts.iter().map(move |text| format!("{name}: {text}")).collect::<Vec<_>>()
        };
        all.extend(named("stale", &self.history.stale));
        all.extend(named("resurrected", &self.history.resurrected));
        all.extend(named("foreign", &self.history.foreign));
        all.extend(named("different after repair", &self.different_after_repair));
        all.extend(named("wrong", &self.wrong));
        all
    }
}

fn listed<K: fmt::Display, V: fmt::Display>(map: &BTreeMap<K, V>) -> String {
    map.iter().map(|(name, count)| format!("{count} × {name}")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Traffic { attempts, taken, retries, answers } = &self.traffic;
        writeln!(f, "\n{}, seed {}", self.forwarder, self.seed)?;
        writeln!(
            f,
            "changes      {} of {} resources in {} s: {}",
            self.changes,
            self.resources,
            self.seconds,
            listed(&self.made)
        )?;
        let clocks = if self.clocks_differ { "clocks 1.8 s apart" } else { "one clock" };
        writeln!(f, "replicas     {}, {clocks}", self.replicas)?;
        writeln!(
            f,
            "deliveries   {attempts}, of which {retries} retries; {taken} taken; answers: {}",
            listed(answers)
        )?;
        writeln!(f, "troubles     {}", listed(&self.troubles))?;
        writeln!(f, "faults       {}", listed(&self.faults))?;
        writeln!(f, "answered by  {}", listed(&self.answers))?;
        writeln!(f, "writes       {} took effect at HealthLake", self.history.writes)?;
        if self.history.unversioned > 0 {
            writeln!(
                f,
                "             {} of them say no version: judged by the end alone",
                self.history.unversioned
            )?;
        }
        let (given_up, never) = (self.of(Whose::GivenUp), self.of(Whose::NeverSent));
        writeln!(
            f,
            "HAPI lost    {}: {given_up} given up after its minute, {never} never sent",
            given_up + never
        )?;
        if let Some(found) = self.reconcile_found {
            let after = self.different_after_repair.len();
            writeln!(f, "reconcile    found {found}; different after --repair: {after}")?;
        }
        let History { stale, resurrected, .. } = &self.history;
        write!(f, "lost {}, stale {}, resurrected {}", self.of(Whose::Lost), stale.len(), resurrected.len())
    }
}
