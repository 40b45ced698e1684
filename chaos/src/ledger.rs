//! What was changed at HAPI, version by version: the truth that HealthLake's history is judged by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::plan::Subject;

/// One version; the first is version 1.
#[derive(Clone, Copy, Debug)]
pub struct Version {
    pub deleted: bool,
    /// When HAPI was asked for it (milliseconds since the epoch)
    pub asked: u64,
}

pub struct Entry {
    pub subject: Subject,
    /// `Type/id`, known once it was created
    pub key: OnceLock<String>,
    /// Changes of one resource are made one after the other, in the plan's order.
    pub turn: Arc<tokio::sync::Mutex<()>>,
    versions: Mutex<Vec<Version>>,
}

impl Entry {
    pub fn new(subject: Subject) -> Self {
        let key = OnceLock::new();
        if let Some(id) = &subject.id {
            let _ = key.set(format!("{}/{id}", subject.kind));
        }
        Self { subject, key, turn: Arc::default(), versions: Mutex::default() }
    }

    /// As version `number`, counted from 1. A number that HAPI left out is as the one before it: nothing changed.
    pub fn add(&self, number: usize, version: Version) {
        let mut versions = self.versions.lock().unwrap_or_else(PoisonError::into_inner);
        while versions.len() + 1 < number {
            let before = versions.last().copied().unwrap_or(Version { deleted: true, ..version });
            versions.push(before);
        }
        versions.push(version);
    }

    pub fn versions(&self) -> Vec<Version> {
        self.versions.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What HAPI had of one resource, once nothing changes any more.
#[derive(Clone, Debug)]
pub struct Told {
    pub kind: &'static str,
    pub raw: bool,
    pub versions: Vec<Version>,
}

impl Told {
    /// The version it ended with; none: deleted, or never there
    pub fn alive(&self) -> Option<usize> {
        self.versions.last().filter(|last| !last.deleted).map(|_| self.versions.len())
    }

    /// Whether a deletion is among the versions after `from` and before `to`
    pub fn deleted_between(&self, from: usize, to: usize) -> bool {
        let to = to.saturating_sub(1).min(self.versions.len());
        self.versions.get(from..to).is_some_and(|between| between.iter().any(|version| version.deleted))
    }
}

/// By `Type/id`
pub type Ledger = BTreeMap<String, Told>;

pub fn told(entries: &[Entry]) -> Ledger {
    entries
        .iter()
        .filter_map(|entry| {
            let versions = entry.versions();
            let Subject { kind, raw, .. } = entry.subject;
            Some((entry.key.get()?.clone(), Told { kind, raw, versions }))
                .filter(|(_, told)| !told.versions.is_empty())
        })
        .collect()
}
