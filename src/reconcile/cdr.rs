//! The CDR as a side.

use tokio::time::{Duration, Instant};

use super::canonical::{Decimals, Digest, NotAResource, digest};
use super::side::{Cost, Held, Listed, Pace, Side, SideError, Window, at};
use crate::cdr::{Cdr, CdrError, Current};
use crate::delivery::Key;
use crate::filter::Filter;
use crate::searchset::Head;

const SIDE: &str = "the CDR";
/// HAPI gives 200 at the most where nothing else is set; a server that gives fewer says where the rest is.
const PAGE: usize = 200;
const PATIENCE: Duration = Duration::from_secs(60);

pub struct AtCdr<'a> {
    cdr: &'a Cdr,
    decimals: Decimals,
    /// What it keeps out counts as `Digest::FILTERED`; of types that are kept out nothing is asked for.
    filter: &'a Filter,
    pace: Pace,
}

impl<'a> AtCdr<'a> {
    /// `per_second`: requests at most.
    pub fn new(cdr: &'a Cdr, decimals: Decimals, filter: &'a Filter, per_second: u32) -> Self {
        Self { cdr, decimals, filter, pace: Pace::new(per_second) }
    }

    /// The types that it serves, as its CapabilityStatement says.
    pub async fn types(&self) -> Result<Vec<String>, SideError> {
        self.pace.turn().await;
        Ok(self.cdr.capabilities().await.map_err(|error| failed(&error))?.types)
    }

    fn held(&self, json: &[u8]) -> Result<Held, SideError> {
        let head = Head::of(json);
        Ok(Held {
            version: head.meta.version_id.as_deref().unwrap_or_default().to_owned(),
            updated: at(head.meta.last_updated.as_deref()),
            digest: judged(json, self.decimals, self.filter)
                .map_err(|error| SideError::Failed { side: SIDE, problem: format!("a resource {error}") })?,
        })
    }
}

impl Side for AtCdr<'_> {
    async fn list(&self, kind: &str, window: Window, next: Option<&str>) -> Result<Listed, SideError> {
        if self.filter.by_type(kind).is_some() {
            return Ok(Listed::default());
        }
        self.pace.turn().await;
        let page = match next {
            Some(next) => self.cdr.search(next).await.map_err(|error| match error.status() {
                Some(400..500) => SideError::PageGone(SIDE),
                _ => failed(&error),
            }),
            None => {
                let window = window.query();
                let and = if window.is_empty() { "" } else { "&" };
                let path = format!("{kind}?_count={PAGE}&_sort=_lastUpdated{and}{window}");
                self.cdr.search(&path).await.map_err(|error| of_type(&error, kind))
            }
        }?;
        let mut listed = Listed { resources: Vec::with_capacity(page.resources.len()), next: page.next };
        for entry in page.resources.iter().filter(|entry| entry.key.resource_type() == kind) {
            self.pace.answered(entry.json.len());
            let held = Held {
                version: entry.version.version_id.as_deref().unwrap_or_default().to_owned(),
                updated: at(entry.version.last_updated.as_deref()),
                digest: self.held(&entry.json)?.digest,
            };
            listed.resources.push((entry.key.id().to_owned(), held));
        }
        Ok(listed)
    }

    async fn count(&self, kind: &str, window: Window) -> Result<u64, SideError> {
        if self.filter.by_type(kind).is_some() {
            return Ok(0);
        }
        self.pace.turn().await;
        self.cdr.count(kind, &window.query()).await.map_err(|error| of_type(&error, kind))
    }

    async fn read(&self, key: &Key) -> Result<Option<Held>, SideError> {
        if self.filter.by_type(key.resource_type()).is_some() {
            return Ok(None);
        }
        self.pace.turn().await;
        match self.cdr.read(key, Instant::now() + PATIENCE).await.map_err(|error| failed(&error))? {
            Current::Resource(json) => {
                self.pace.answered(json.len());
                self.held(&json).map(Some)
            }
            Current::Gone => Ok(None),
        }
    }

    async fn read_version(&self, key: &Key, version: u64) -> Result<Option<Digest>, SideError> {
        self.pace.turn().await;
        let path = format!("{key}/_history/{version}");
        let (status, json) =
            self.cdr.get(&path, Instant::now() + PATIENCE).await.map_err(|error| failed(&error))?;
        self.pace.answered(json.len());
        Ok((status == 200).then(|| digest(&json, self.decimals).ok()).flatten())
    }

    fn cost(&self) -> Cost {
        self.pace.cost()
    }
}

/// The digest of what the mirror has to hold of a resource of the CDR's.
pub(super) fn judged(json: &[u8], decimals: Decimals, filter: &Filter) -> Result<Digest, NotAResource> {
    match filter.keeps_out(json) {
        Some(_) => Ok(Digest::FILTERED),
        None => digest(json, decimals),
    }
}

fn failed(error: &CdrError) -> SideError {
    SideError::Failed { side: SIDE, problem: error.to_string() }
}

/// A type that a server knows and does not serve is 404, or 400 where it is none of its own.
fn of_type(error: &CdrError, kind: &str) -> SideError {
    match error.status() {
        Some(400 | 404) => SideError::NotSupported { side: SIDE, kind: kind.to_owned() },
        _ => failed(error),
    }
}
