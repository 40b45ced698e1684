//! Makes the plan's changes at HAPI, several hands at a time, and writes down what HAPI made of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, RwLock, Semaphore};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Result;
use crate::hapi::{Hapi, version};
use crate::kinds::{self, Content};
use crate::ledger::{Entry, Version};
use crate::plan::{Change, Plan, Step};
use crate::process::now;

/// Changes under way at once
const HANDS: usize = 8;
/// Numbers that HAPI may leave out at once
const MOST_LEFT_OUT: usize = 4;

pub struct Storm {
    /// Held to write while HAPI is restarted: a change whose outcome is unknown would blur the truth.
    pub hapi: Arc<RwLock<Hapi>>,
    pub entries: Vec<Entry>,
    numbers: AtomicUsize,
    made: AtomicUsize,
}

impl Storm {
    pub fn new(hapi: Hapi, plan: &mut Plan) -> Arc<Self> {
        let entries = std::mem::take(&mut plan.subjects).into_iter().map(Entry::new).collect();
        Arc::new(Self { hapi: Arc::new(RwLock::new(hapi)), entries, numbers: 0.into(), made: 0.into() })
    }

    /// Changes made so far
    pub fn made(&self) -> usize {
        self.made.load(Ordering::Relaxed)
    }

    /// All steps, `rate` changes a second; how many there were of each kind.
    pub async fn run(self: &Arc<Self>, steps: Vec<Step>, rate: f64) -> Result<BTreeMap<&'static str, usize>> {
        let hands = Arc::new(Semaphore::new(HANDS));
        let (mut running, mut done) = (JoinSet::new(), BTreeMap::new());
        let mut due = Instant::now();
        for step in steps {
            tokio::time::sleep_until(due).await;
            let instant = Instant::now();
            // What HAPI could not follow is not made up for: a pause is no reason for a burst.
            due = due.max(instant - Duration::from_secs(1))
                + Duration::from_secs_f64(step.changes.len() as f64 / rate);
            *done.entry(step.what).or_default() += step.changes.len();
            let hand = hands.clone().acquire_owned().await?;
            // Taken here, in the plan's order; the plan names each of a transaction's resources once, in their order.
            let mut turns = Vec::new();
            let mut last = None;
            for (at, _) in &step.changes {
                if last != Some(*at) {
                    turns.push(self.entries[*at].turn.clone().lock_owned().await);
                    last = Some(*at);
                }
            }
            let storm = self.clone();
            running.spawn(async move { storm.step(step, turns, hand).await });
            while let Some(ended) = running.try_join_next() {
                ended??;
            }
        }
        while let Some(ended) = running.join_next().await {
            ended??;
        }
        Ok(done)
    }

    async fn step(
        &self,
        step: Step,
        _turns: Vec<OwnedMutexGuard<()>>,
        _hand: OwnedSemaphorePermit,
    ) -> Result<()> {
        if step.together {
            let hapi = self.hapi.read().await;
            self.transaction(&hapi, &step).await?;
            self.made.fetch_add(step.changes.len(), Ordering::Relaxed);
            return Ok(());
        }
        for (at, change) in step.changes {
            let hapi = self.hapi.read().await;
            self.change(&hapi, at, change).await?;
            self.made.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn content(&self, entry: &Entry, large: bool) -> Content {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        Content { kind: entry.subject.kind, raw: entry.subject.raw, number, large }
    }

    async fn change(&self, hapi: &Hapi, at: usize, change: Change) -> Result<()> {
        let entry = &self.entries[at];
        let asked = now();
        let kind = entry.subject.kind;
        let answer = match change {
            Change::Put { large } => {
                let key = known(entry)?;
                let id = key.split_once('/').map(|(_, id)| id);
                let body = kinds::body(self.content(entry, large), id);
                hapi.ask(Method::PUT, key, Some(&body)).await?
            }
            Change::Post => {
                let body = kinds::body(self.content(entry, false), None);
                let answer = hapi.ask(Method::POST, kind, Some(&body)).await?;
                let id = answer.location.as_deref().and_then(|at| {
                    let (_, rest) = at.split_once(&format!("/{kind}/"))?;
                    rest.split('/').next().map(str::to_owned)
                });
                let id = id.ok_or_else(|| format!("HAPI does not say where it created the {kind}"))?;
                let _ = entry.key.set(format!("{kind}/{id}"));
                answer
            }
            Change::Delete => hapi.ask(Method::DELETE, known(entry)?, None).await?,
        };
        note(entry, change == Change::Delete, asked, answer.version)
    }

    async fn transaction(&self, hapi: &Hapi, step: &Step) -> Result<()> {
        let asked = now();
        let mut entries = Vec::new();
        for (at, change) in &step.changes {
            let entry = &self.entries[*at];
            let key = known(entry)?;
            entries.push(match change {
                Change::Delete => json!({ "request": { "method": "DELETE", "url": key } }),
                Change::Put { .. } | Change::Post => {
                    let id = key.split_once('/').map(|(_, id)| id);
                    let resource = kinds::body(self.content(entry, false), id);
                    json!({ "resource": resource, "request": { "method": "PUT", "url": key } })
                }
            });
        }
        let bundle = json!({ "resourceType": "Bundle", "type": "transaction", "entry": entries });
        let answer = hapi.ask(Method::POST, "", Some(&bundle)).await?;
        for (n, (at, change)) in step.changes.iter().enumerate() {
            let told = answer.body["entry"][n]["response"]["etag"].as_str().and_then(version);
            note(&self.entries[*at], *change == Change::Delete, asked, told)?;
        }
        Ok(())
    }
}

/// HAPI's count is the truth. It leaves a number out now and then: seen where what was deleted is created again, and
/// where it refused what it had made. What it tells of a deletion's number is not always so, and mostly it tells none.
fn note(entry: &Entry, deleted: bool, asked: u64, told: Option<usize>) -> Result<()> {
    let version = entry.versions().len() + 1;
    let told = match told {
        _ if deleted => version,
        Some(told) => told,
        None => return Err("HAPI does not say which version it made".into()),
    };
    if !(version..version + MOST_LEFT_OUT).contains(&told) {
        let key = known(entry)?;
        return Err(format!(
            "the ledger counts version {version} of {key}, HAPI says {told}: {:?}",
            entry.versions()
        )
        .into());
    }
    entry.add(told, Version { deleted, asked });
    Ok(())
}

fn known(entry: &Entry) -> Result<&str> {
    Ok(entry.key.get().ok_or("a resource is changed before HAPI created it")?)
}
