//! A CDR and a HealthLake in memory, with the latter's late search, and a mirror between them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::delivery::{Delivery, Key, Version};
use crate::filter::Filter;
use crate::mirror::{Mirror, Telling, Told};
use crate::reconcile::canonical::{Decimals, Digest, digest};
use crate::reconcile::cdr::judged;
use crate::reconcile::run::now;
use crate::reconcile::{
    At, Cost, Finding, Held, Index, Listed, Options, Report, Run, Scope, Side, SideError, SweepError, Window,
};

pub const PAGE: usize = 100;

#[derive(Clone, Default)]
pub struct Resource {
    /// None: deleted in this version
    pub versions: Vec<(At, Option<String>)>,
}

impl Resource {
    fn current(&self) -> Option<(u64, At, &str)> {
        let (at, json) = self.versions.last()?;
        Some((self.versions.len() as u64, *at, json.as_deref()?))
    }
}

#[derive(Clone, Default)]
pub struct Server {
    pub resources: Arc<Mutex<BTreeMap<String, Resource>>>,
    /// What was written so lately is left out of searches.
    pub lag: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
    pub lists: Arc<AtomicU64>,
    /// Lists from this one on fail.
    pub fails_from: Arc<AtomicU64>,
    pub unsupported: Arc<Mutex<BTreeSet<String>>>,
    /// The CDR's: what it keeps out.
    pub filter: Arc<Filter>,
}

impl Server {
    pub fn put(&self, key: &str, json: String) {
        self.put_at(key, json, now());
    }

    pub fn put_at(&self, key: &str, json: String, at: At) {
        self.resources.lock().unwrap().entry(key.into()).or_default().versions.push((at, Some(json)));
    }

    pub fn delete(&self, key: &str) {
        self.resources.lock().unwrap().entry(key.into()).or_default().versions.push((now(), None));
    }

    /// As if it had never been.
    pub fn lose(&self, key: &str) {
        self.resources.lock().unwrap().remove(key);
    }

    pub fn get(&self, key: &str) -> Option<String> {
        self.resources.lock().unwrap().get(key)?.current().map(|(.., json)| json.to_owned())
    }

    pub fn alive(&self) -> BTreeMap<String, String> {
        let resources = self.resources.lock().unwrap();
        let alive = resources.iter().filter_map(|(key, resource)| Some((key, resource.current()?.2)));
        alive.map(|(key, json)| (key.clone(), json.to_owned())).collect()
    }

    pub fn versions(&self, key: &str) -> usize {
        self.resources.lock().unwrap().get(key).map_or(0, |resource| resource.versions.len())
    }

    /// Of all resources
    pub fn writes(&self) -> usize {
        self.resources.lock().unwrap().values().map(|resource| resource.versions.len()).sum()
    }

    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    fn found(&self, kind: &str, window: Window) -> Vec<(String, (u64, At, String))> {
        let before = now() - self.lag.load(Ordering::Relaxed) as At;
        let resources = self.resources.lock().unwrap();
        let of_kind = resources.iter().filter(|(key, _)| key.split('/').next() == Some(kind));
        of_kind
            .filter_map(|(key, resource)| {
                let (version, at, json) = resource.current()?;
                let within = window.from.is_none_or(|from| at >= from) && window.to.is_none_or(|to| at < to);
                (within && (at < before || self.lag.load(Ordering::Relaxed) == 0))
                    .then(|| (key.split_once('/').unwrap().1.to_owned(), (version, at, json.to_owned())))
            })
            .collect()
    }
}

fn held(filter: &Filter, version: u64, updated: At, json: &str) -> Held {
    let digest = judged(json.as_bytes(), Decimals::Digits, filter).unwrap();
    Held { version: version.to_string(), updated, digest }
}

impl Side for Server {
    async fn list(&self, kind: &str, window: Window, next: Option<&str>) -> Result<Listed, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let nth = self.lists.fetch_add(1, Ordering::Relaxed) + 1;
        if self.unsupported.lock().unwrap().contains(kind) {
            return Err(SideError::NotSupported { side: "HealthLake", kind: kind.into() });
        }
        let fails_from = self.fails_from.load(Ordering::Relaxed);
        if fails_from != 0 && nth >= fails_from {
            return Err(SideError::Failed { side: "it", problem: "no more".into() });
        }
        let mut found = self.found(kind, window);
        found.retain(|(id, _)| next.is_none_or(|next| id.as_str() > next));
        let more = found.len() > PAGE;
        found.truncate(PAGE);
        let next = more.then(|| found.last().unwrap().0.clone());
        let found =
            found.into_iter().map(|(id, (version, at, json))| (id, held(&self.filter, version, at, &json)));
        Ok(Listed { resources: found.collect(), next })
    }

    async fn count(&self, kind: &str, window: Window) -> Result<u64, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(self.found(kind, window).len() as u64)
    }

    async fn read(&self, key: &Key) -> Result<Option<Held>, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let resources = self.resources.lock().unwrap();
        let current = resources.get(&key.to_string()).and_then(Resource::current);
        Ok(current.map(|(version, at, json)| held(&self.filter, version, at, json)))
    }

    async fn read_version(&self, key: &Key, version: u64) -> Result<Option<Digest>, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let resources = self.resources.lock().unwrap();
        let json = resources
            .get(&key.to_string())
            .and_then(|resource| resource.versions.get(usize::try_from(version).unwrap() - 1)?.1.clone());
        Ok(json.map(|json| digest(json.as_bytes(), Decimals::Digits).unwrap()))
    }

    fn cost(&self) -> Cost {
        Cost { requests: self.requests(), bytes: 0 }
    }
}

#[derive(Clone, Default)]
pub struct World {
    pub cdr: Server,
    pub healthlake: Server,
}

pub fn body(key: &str, content: u64) -> String {
    let (kind, id) = key.split_once('/').unwrap();
    format!(r#"{{"resourceType":"{kind}","id":"{id}","value":{content}.0}}"#)
}

impl World {
    /// At both sides, written over the last `hours`.
    pub fn of(keys: impl Iterator<Item = String>, hours: i64) -> Self {
        let world = Self::default();
        let keys: Vec<String> = keys.collect();
        let step = hours * 3_600_000 / (keys.len() as i64 + 1);
        for (n, key) in keys.iter().enumerate() {
            let at = now() - hours * 3_600_000 + n as i64 * step;
            world.cdr.put_at(key, body(key, 1), at);
            world.healthlake.put_at(key, body(key, 1), at + 50);
        }
        world
    }

    /// Change at the CDR, delivered.
    pub fn forward(&self, key: &str) {
        match self.cdr.get(key) {
            Some(json) if self.cdr.filter.keeps_out(json.as_bytes()).is_none() => {
                self.healthlake.put(key, json)
            }
            _ if self.healthlake.get(key).is_some() => self.healthlake.delete(key),
            _ => {}
        }
    }

    pub async fn run(
        &self,
        index: &Index,
        settle: Duration,
        repair: bool,
        scope: Scope,
    ) -> (Result<Report, SweepError>, Vec<Finding>) {
        let mut findings = Vec::new();
        let options = Options { settle, overlap: Duration::from_secs(60), ..Options::default() };
        let run = Run {
            cdr: &self.cdr,
            healthlake: &self.healthlake,
            index,
            options,
            mirror: repair.then_some(self as &dyn Mirror),
            heard: &|_, _, _| {},
            exports: [None, None],
            decimals: Decimals::Digits,
            filter: &self.cdr.filter,
        };
        let report = run.run(scope, BTreeMap::new(), &mut |finding| findings.push(finding)).await;
        findings.sort_by_key(|finding| finding.key.to_string());
        (report, findings)
    }
}

/// Forwards what the CDR has now.
impl Mirror for World {
    fn forward(&self, delivery: Delivery) -> Telling<'_> {
        let (Delivery::Changed { key } | Delivery::Delete { key }) = delivery else {
            panic!("reconcile has the CDR read: {delivery:?}")
        };
        Self::forward(self, &key.to_string());
        let told = Told {
            key: Some(key.to_string()),
            version: Version::default(),
            verdict: "mirrored".into(),
            settled: true,
            retryable: false,
            retry_after_ms: None,
            filter_rule: None,
            issues: Vec::new(),
            healthlake_status: Some(200),
            healthlake_request_id: None,
            attempts: 1,
            in_doubt: false,
            refused: None,
        };
        Box::pin(async { Ok(told) })
    }

    fn way(&self) -> String {
        "a test".into()
    }
}

pub fn index(folder: &tempfile::TempDir) -> Index {
    Index::open(&folder.path().join("reconcile.redb"), "a test").unwrap()
}

pub fn types() -> Scope {
    let types = ["Observation", "Patient", "Task"].map(str::to_owned).to_vec();
    Scope::Types { types, everything: false }
}
