//! Two servers that hold any number of resources and no memory: what a resource is follows from its number. For `size`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use lakehook::delivery::Key;
use lakehook::filter::Filter;
use lakehook::reconcile::canonical::Digest;
use lakehook::reconcile::{
    Cost, Decimals, Held, Index, Listed, Options, Run, Scope, Side, SideError, Which, Window,
};

const START: i64 = 1_700_000_000_000;
/// Odd and not divisible by 5, so that for powers of ten `STEP * n` meets each number once.
const STEP: u64 = 7_654_321;
const KIND: &str = "Patient";
/// One of so many differs.
pub const DIFFERS: u64 = 1000;

/// The CDR lists by time, as HAPI is asked to; HealthLake by id. The one order is a shuffle of the other.
pub struct Formula {
    which: Which,
    keys: u64,
    /// `STEP` backwards
    back: u64,
    requests: AtomicU64,
}

impl Formula {
    /// `keys`: a power of ten.
    fn new(which: Which, keys: u64) -> Self {
        let back = (0..keys).find(|n| n * (STEP % keys) % keys == 1).unwrap();
        Self { which, keys, back, requests: AtomicU64::new(0) }
    }

    fn resource(&self, id: u64) -> (String, Held) {
        let updated = START + (id * self.back % self.keys) as i64;
        let mut digest = [0; 16];
        digest[..8].copy_from_slice(&id.to_le_bytes());
        digest[8] = u8::from(id % DIFFERS == 7 && self.which == Which::HealthLake);
        (format!("{id:016}"), Held { version: "1".into(), updated, digest: Digest(digest) })
    }

    fn bounds(&self, window: Window) -> (u64, u64) {
        let bound = |at: Option<i64>, or: u64| {
            at.map_or(or, |at| u64::try_from(at - START).unwrap_or(0).min(self.keys))
        };
        (bound(window.from, 0), bound(window.to, self.keys))
    }
}

impl Side for Formula {
    async fn list(&self, _: &str, window: Window, next: Option<&str>) -> Result<Listed, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (from, to) = self.bounds(window);
        let place: u64 = next.map_or(0, |next| next.parse().unwrap());
        let (resources, end) = match self.which {
            Which::Cdr => {
                let end = (from + place + 200).min(to);
                let ids = (from + place..end).map(|time| time * (STEP % self.keys) % self.keys);
                (ids.map(|id| self.resource(id)).collect(), (end < to).then_some(end - from))
            }
            Which::HealthLake if (from, to) == (0, self.keys) => {
                let end = (place + 100).min(to);
                ((place..end).map(|id| self.resource(id)).collect(), (end < to).then_some(end))
            }
            Which::HealthLake => {
                let ids = (from..to).map(|time| time * (STEP % self.keys) % self.keys);
                (ids.map(|id| self.resource(id)).collect(), None)
            }
        };
        Ok(Listed { resources, next: end.map(|end| end.to_string()) })
    }

    async fn count(&self, _: &str, window: Window) -> Result<u64, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let (from, to) = self.bounds(window);
        Ok(to - from)
    }

    async fn read(&self, key: &Key) -> Result<Option<Held>, SideError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Ok(Some(self.resource(key.id().parse().unwrap()).1))
    }

    async fn read_version(&self, _: &Key, _: u64) -> Result<Option<Digest>, SideError> {
        Ok(None)
    }

    fn cost(&self) -> Cost {
        Cost { requests: self.requests.load(Ordering::Relaxed), bytes: 0 }
    }
}

/// What a run over so many keys a side took.
#[derive(Debug)]
pub struct Measured {
    pub everything: Duration,
    /// The run after it, of what changed: nothing
    pub changes: Duration,
    pub found: u64,
    /// Of the process, above what it had at the start (KiB)
    pub grown: u64,
    /// Bytes
    pub file: u64,
}

/// In a process of its own, since it is the process that is measured.
pub async fn measure(keys: u64) -> Measured {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reconcile.redb");
    let (cdr, healthlake) = (Formula::new(Which::Cdr, keys), Formula::new(Which::HealthLake, keys));
    let filter = Filter::default();
    let before = status("VmRSS:");
    let index = Index::open(&path, "a test").unwrap();
    let run = Run {
        cdr: &cdr,
        healthlake: &healthlake,
        index: &index,
        options: Options { settle: Duration::ZERO, ..Options::default() },
        mirror: None,
        heard: &|_, _, _| {},
        exports: [None, None],
        decimals: Decimals::Digits,
        filter: &filter,
    };
    let mut took = [Duration::ZERO; 2];
    let mut found = 0;
    for took in &mut took {
        let (started, mut n) = (Instant::now(), 0);
        let scope = Scope::Types { types: vec![KIND.into()], everything: false };
        let report = run.run(scope, BTreeMap::new(), &mut |_| n += 1).await.unwrap();
        assert_eq!((report.differences(), report.undecided, report.failed), (n, 0, 0));
        (*took, found) = (started.elapsed(), n);
    }
    assert_eq!((index.len(Which::Cdr).unwrap(), index.len(Which::HealthLake).unwrap()), (keys, keys));
    let [everything, changes] = took;
    let file = std::fs::metadata(&path).unwrap().len();
    Measured { everything, changes, found, grown: status("VmHWM:").saturating_sub(before), file }
}

/// KiB
fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().unwrap_or("0").parse().unwrap()
}
