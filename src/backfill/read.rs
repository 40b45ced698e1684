//! Reads the CDR window by window, ahead of what is done with it. A window counts as read only when all of it was
//! seen in one go; one whose pages moved under the reader is read again.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::cursor::{Cursor, Position, TypeState};
use super::survey::unsearchable;
use super::windows::{Window, Windows};
use crate::cdr::{Cdr, CdrError, Entry, Page};
use crate::delivery::{Key, Version};

/// After so many goes it is let be: what moved was updated, and is live.
const GOES: u32 = 8;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What the reader hands on. Units are in order, and each one's items stand between its `Begin` and its `End`.
#[derive(Debug)]
pub enum Item {
    /// `after` is the position once it is done.
    Begin {
        after: Position,
    },
    Resource(Entry),
    End {
        missed: Missed,
    },
}

/// What a unit had and was not handed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Missed {
    /// Resources without a type and id that FHIR allows
    pub unreadable: u64,
    /// Of a type that HealthLake does not take
    pub skipped: u64,
    /// Its pages never stood still.
    pub unstable: bool,
}

#[derive(Debug, thiserror::Error)]
#[error("reading {resource_type}: {error}")]
pub struct ReadError {
    pub resource_type: String,
    pub error: CdrError,
}

/// Types that HealthLake does not take, learned on the way.
#[derive(Clone, Debug, Default)]
pub struct Skips(Arc<Mutex<BTreeSet<String>>>);

impl Skips {
    pub fn new(types: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(Mutex::new(types.into_iter().collect())))
    }

    pub fn add(&self, resource_type: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(resource_type.to_owned());
    }

    pub fn has(&self, resource_type: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(resource_type)
    }

    pub fn all(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

pub struct Reader {
    pub cdr: Arc<Cdr>,
    pub types: Vec<TypeState>,
    pub from: Position,
    pub since: Option<Timestamp>,
    pub skips: Skips,
    /// Resources of a page, and of a window
    pub page: u32,
    pub window: u64,
    /// With a CDR that does not answer
    pub patience: Duration,
}

/// One go through a window's pages.
#[derive(Default)]
struct Go {
    keys: HashSet<Key>,
    unreadable: u64,
    /// As the CDR counted when the first page was made
    total: Option<u64>,
    /// A later page was not there any more.
    expired: bool,
}

/// Nobody wants to hear more.
struct Unheard;

enum Ended {
    Unheard,
    Failed(CdrError),
}

impl From<Unheard> for Ended {
    fn from(_: Unheard) -> Self {
        Self::Unheard
    }
}

impl From<CdrError> for Ended {
    fn from(error: CdrError) -> Self {
        Self::Failed(error)
    }
}

impl Reader {
    pub fn of(cursor: &Cursor, cdr: &Arc<Cdr>, skips: Skips, patience: Duration) -> Self {
        Self {
            cdr: cdr.clone(),
            types: cursor.types.clone(),
            from: cursor.position,
            since: cursor.what.since,
            skips,
            page: 200,
            window: 1000,
            patience,
        }
    }

    /// Until everything is handed on, or nobody takes it any more.
    pub async fn run(self, items: Sender<Item>) -> Result<(), ReadError> {
        for at in self.from.at..self.types.len() {
            let from = if at == self.from.at { self.from.from } else { None };
            let state = &self.types[at];
            match self.read_type(at, state, from, &items).await {
                Ok(()) => {}
                Err(Ended::Unheard) => return Ok(()),
                Err(Ended::Failed(error)) => {
                    return Err(ReadError { resource_type: state.name.clone(), error });
                }
            }
        }
        Ok(())
    }

    async fn read_type(
        &self,
        at: usize,
        state: &TypeState,
        from: Option<Timestamp>,
        items: &Sender<Item>,
    ) -> Result<(), Ended> {
        let mut read = 0;
        let mut missed = Missed::default();
        if state.count > 0 && !state.unreadable {
            let begin = from.or(self.since);
            let mut windows =
                self.ask(async || Windows::of(&self.cdr, &state.name, begin, self.window).await).await?;
            while !self.skips.has(&state.name) {
                let Some(window) = next(self, &mut windows).await? else { break };
                let after = Position { at, from: Some(window.range.until) };
                hand(items, Item::Begin { after }).await?;
                let (seen, missed) = self.read_window(&windows, window, &state.name, items).await?;
                read += seen;
                hand(items, Item::End { missed }).await?;
            }
        }
        if self.skips.has(&state.name) {
            missed.skipped = state.count.saturating_sub(read);
        }
        hand(items, Item::Begin { after: Position { at: at + 1, from: None } }).await?;
        hand(items, Item::End { missed }).await?;
        Ok(())
    }

    /// How many resources it handed on, and what it could not.
    async fn read_window(
        &self,
        windows: &Windows<'_>,
        window: Window,
        name: &str,
        items: &Sender<Item>,
    ) -> Result<(u64, Missed), Ended> {
        let mut handed = HashMap::new();
        let mut missed = Missed::default();
        let mut expected = window.count;
        for go in 1..=GOES {
            let Go { keys, unreadable, total, expired } =
                self.go(windows, window, name, &mut handed, items).await?;
            missed.unreadable = unreadable;
            if self.skips.has(name) {
                break;
            }
            let seen = keys.len() as u64 + unreadable;
            // All that the first page's search found was seen: nothing slipped through between two pages. Without
            // that number, all that is there now is what was there before.
            let whole = match total {
                Some(total) => seen >= total,
                None => {
                    let query = window.range.query();
                    let now = self.ask(async || self.cdr.count(name, &query).await).await?;
                    let before = std::mem::replace(&mut expected, now);
                    now == before && seen >= now
                }
            };
            if whole && !expired {
                break;
            }
            missed.unstable = go == GOES;
            if missed.unstable {
                tracing::warn!(
                    resource_type = name,
                    "the CDR's pages did not stand still; reconcile finds what was missed"
                );
            }
        }
        Ok((handed.len() as u64, missed))
    }

    async fn go(
        &self,
        windows: &Windows<'_>,
        window: Window,
        name: &str,
        handed: &mut HashMap<Key, Version>,
        items: &Sender<Item>,
    ) -> Result<Go, Ended> {
        let mut go = Go::default();
        let mut page: Page = self.ask(async || windows.first_page(window.range, self.page).await).await?;
        go.total = page.total;
        loop {
            go.unreadable += page.unreadable as u64;
            for entry in page.resources {
                go.keys.insert(entry.key.clone());
                if handed.get(&entry.key) != Some(&entry.version) {
                    handed.insert(entry.key.clone(), entry.version.clone());
                    hand(items, Item::Resource(entry)).await?;
                }
            }
            let Some(next) = page.next.filter(|_| !self.skips.has(name)) else { return Ok(go) };
            page = match self.ask(async || self.cdr.search(&next).await).await {
                Ok(page) => page,
                // A search that the CDR kept for its later pages, and gave up.
                Err(error) if matches!(error.status(), Some(400 | 404 | 410)) => {
                    go.expired = true;
                    return Ok(go);
                }
                Err(error) => return Err(error.into()),
            };
        }
    }

    /// Outages of the CDR are outwaited; the client itself tries for some seconds only.
    async fn ask<T>(&self, ask: impl AsyncFn() -> Result<T, CdrError>) -> Result<T, CdrError> {
        let until = Instant::now() + self.patience;
        let mut pause = FIRST_PAUSE;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let passes = match &error {
                CdrError::Unreachable | CdrError::Deadline => true,
                CdrError::Authorization(_) => false,
                error => {
                    error.status().is_some_and(|status| status == 429 || status >= 500)
                        && !unsearchable(error)
                }
            };
            if !passes || Instant::now() + pause >= until {
                return Err(error);
            }
            tracing::warn!(%error, pause_s = pause.as_secs(), "the CDR is asked again");
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// `Windows::next` keeps what it learned before a failure, so that it can be called again.
async fn next(reader: &Reader, windows: &mut Windows<'_>) -> Result<Option<Window>, CdrError> {
    let windows = tokio::sync::Mutex::new(windows);
    reader.ask(async || windows.lock().await.next().await).await
}

async fn hand(items: &Sender<Item>, item: Item) -> Result<(), Unheard> {
    items.send(item).await.map_err(|_| Unheard)
}
