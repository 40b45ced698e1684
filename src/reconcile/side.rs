//! The two sides as the comparison sees them: lists by type and time, counts, reads by id.

use std::future::Future;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

use super::canonical::Digest;
use crate::delivery::Key;

/// Milliseconds since the epoch.
pub type At = i64;

/// `meta.lastUpdated` from `from` on, and before `to`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    pub from: Option<At>,
    pub to: Option<At>,
}

impl Window {
    pub fn since(from: Option<At>) -> Self {
        Self { from, to: None }
    }

    pub fn before(to: At) -> Self {
        Self { from: None, to: Some(to) }
    }

    /// As search parameters: `_lastUpdated=ge…&_lastUpdated=lt…`, or nothing.
    pub fn query(&self) -> String {
        let bound = |prefix: &str, at: Option<At>| {
            let at = jiff::Timestamp::from_millisecond(at?).ok()?;
            Some(format!("_lastUpdated={prefix}{at:.3}"))
        };
        let bounds = [bound("ge", self.from), bound("lt", self.to)];
        bounds.into_iter().flatten().collect::<Vec<_>>().join("&")
    }
}

/// A version of a resource, as one side has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// `meta.versionId`, the side's own; empty where it gives none
    pub version: String,
    /// `meta.lastUpdated`, by the side's own clock; 0 where it gives none
    pub updated: At,
    pub digest: Digest,
}

impl Held {
    /// What the other side has to hold; None: nothing.
    pub fn expected(&self) -> Option<Digest> {
        (self.digest != Digest::FILTERED).then_some(self.digest)
    }

    /// What tells one version from another where the server numbers none.
    pub fn name(&self) -> String {
        if self.version.is_empty() { self.digest.hex() } else { self.version.clone() }
    }
}

/// One page of a list.
#[derive(Debug, Default)]
pub struct Listed {
    /// By id
    pub resources: Vec<(String, Held)>,
    pub next: Option<String>,
}

/// Holds no resource's data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SideError {
    /// It has no such resource type, or does not let it be searched or read.
    #[error("{side} does not support {kind}")]
    NotSupported { side: &'static str, kind: String },
    /// The page is not there any more: the list has to begin anew.
    #[error("{0}'s next page is gone")]
    PageGone(&'static str),
    #[error("{side}: {problem}")]
    Failed { side: &'static str, problem: String },
}

pub trait Side: Send + Sync {
    /// A page of the type's resources in the window, with their bodies' digests; `next` as the page before said.
    fn list(
        &self,
        kind: &str,
        window: Window,
        next: Option<&str>,
    ) -> impl Future<Output = Result<Listed, SideError>> + Send;

    /// How many there are in the window, as far as the server's search knows.
    fn count(&self, kind: &str, window: Window) -> impl Future<Output = Result<u64, SideError>> + Send;

    /// The current version; None: it is not there, or not any more. Never from search.
    fn read(&self, key: &Key) -> impl Future<Output = Result<Option<Held>, SideError>> + Send;

    /// The digest of an older version, where the side keeps and gives it.
    fn read_version(
        &self,
        key: &Key,
        version: u64,
    ) -> impl Future<Output = Result<Option<Digest>, SideError>> + Send;

    fn cost(&self) -> Cost;
}

/// What was asked of a side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Cost {
    pub requests: u64,
    /// Of answers
    pub bytes: u64,
}

/// Counts requests, and keeps them apart by at least so long.
pub struct Pace {
    apart: Duration,
    next: Mutex<Instant>,
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Pace {
    /// Requests a second at most; 0: as many as come.
    pub fn new(per_second: u32) -> Self {
        let apart = if per_second == 0 { Duration::ZERO } else { Duration::from_secs(1) / per_second };
        Self {
            apart,
            next: Mutex::new(Instant::now()),
            requests: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
        }
    }

    pub async fn turn(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        if self.apart.is_zero() {
            return;
        }
        let at = {
            let mut next = self.next.lock().await;
            let at = (*next).max(Instant::now());
            *next = at + self.apart;
            at
        };
        sleep_until(at).await;
    }

    pub fn answered(&self, bytes: usize) {
        self.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    pub fn cost(&self) -> Cost {
        Cost { requests: self.requests.load(Ordering::Relaxed), bytes: self.bytes.load(Ordering::Relaxed) }
    }
}

/// `meta.lastUpdated` as text; 0 where it is none.
pub fn at(last_updated: Option<&str>) -> At {
    last_updated
        .and_then(|text| text.parse::<jiff::Timestamp>().ok())
        .map_or(0, jiff::Timestamp::as_millisecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_two_bounds_that_both_servers_read() {
        let window = Window { from: Some(1_700_000_000_000), to: Some(1_700_000_000_500) };
        assert_eq!(
            window.query(),
            "_lastUpdated=ge2023-11-14T22:13:20.000Z&_lastUpdated=lt2023-11-14T22:13:20.500Z"
        );
        assert_eq!(Window::default().query(), "");
        assert_eq!(at(Some("2023-11-14T23:13:20.5+01:00")), 1_700_000_000_500);
    }

    #[tokio::test(start_paused = true)]
    async fn requests_are_kept_apart() {
        let (pace, started) = (Pace::new(10), Instant::now());
        for _ in 0..11 {
            pace.turn().await;
        }
        assert_eq!((started.elapsed().as_millis(), pace.cost().requests), (1000, 11));
    }
}
