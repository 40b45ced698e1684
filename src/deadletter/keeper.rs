//! What `forward` knows of dead letters: keep this one, and this resource is mirrored now. Bounds what is kept, and
//! lets go of what a newer version has overtaken.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{Instant, timeout_at};

use super::{DeadLetters, Letter, LetterId, Name, Payload, StoreError, Usage};
use crate::afterwork::Afterwork;
use crate::delivery::{Key, Version};
use crate::healthlake::Clock;
use crate::order;

/// How often is looked what is there, and what is too old.
const TEND: Duration = Duration::from_secs(60);
/// A store that seems full is counted anew, but not more often than this.
const RECOUNT: Duration = Duration::from_secs(1);

/// What may be kept.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub letters: u64,
    pub bytes: u64,
    /// Letters last written longer ago are removed.
    pub retention: Duration,
}

/// Why a letter is not kept: the CDR gets its error.
#[derive(Debug, thiserror::Error)]
pub enum KeepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "{letters} dead letters are kept, as many as --dead-letters-max allows: redrive or drop some, or raise it"
    )]
    TooMany { letters: u64 },
    #[error(
        "{bytes} bytes of dead letters are kept, and --dead-letters-max-size allows {limit}: redrive or drop some, or raise it"
    )]
    TooMuch { bytes: u64, limit: u64 },
    #[error("the dead-letter store did not answer before the delivery's deadline")]
    Deadline,
}

/// A letter that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    pub id: LetterId,
    pub attempts: u32,
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    store: Arc<dyn DeadLetters>,
    limits: Limits,
    clock: Clock,
    state: Mutex<State>,
    afterwork: Afterwork,
}

#[derive(Default)]
struct State {
    /// As last counted, and what was added since
    usage: Usage,
    counted: Option<Instant>,
    /// Resources that have letters, as far as known
    keys: HashSet<Key>,
}

impl Keeper {
    pub fn new(store: Arc<dyn DeadLetters>, limits: Limits, clock: Clock) -> Self {
        Self(Arc::new(Inner {
            store,
            limits,
            clock,
            state: Mutex::default(),
            afterwork: Afterwork::default(),
        }))
    }

    pub fn store(&self) -> &Arc<dyn DeadLetters> {
        &self.0.store
    }

    /// Until nothing goes on any more after deliveries that it had to do with.
    pub async fn settled(&self) {
        self.0.afterwork.done().await;
    }

    /// As last counted.
    pub fn usage(&self) -> Usage {
        self.state().usage
    }

    /// Durable when it returns. `letter`'s times and attempts are filled in here.
    pub async fn keep(&self, letter: Letter, payload: Payload, by: Instant) -> Result<Kept, KeepError> {
        match timeout_at(by, self.kept(letter, payload)).await {
            Ok(kept) => kept,
            Err(_) => Err(KeepError::Deadline),
        }
    }

    async fn kept(&self, mut letter: Letter, payload: Payload) -> Result<Kept, KeepError> {
        let store = &self.0.store;
        let others = store.names_of(&letter.key).await?;
        let now = Timestamp::try_from((self.0.clock)()).unwrap_or(Timestamp::UNIX_EPOCH);
        (letter.first, letter.last, letter.attempts) = (now, now, 1);
        let (again, others): (Vec<_>, Vec<_>) = others.into_iter().partition(|name| name.id == letter.id);
        let older = self.upserts_before(others, &letter.version(), Ordering::Less).await;
        // What takes another's place needs no room of its own.
        if again.is_empty() && older.is_empty() {
            self.room_for(payload.0.len() as u64).await?;
        }
        // One that can't be read (another key) is written anew.
        if let Some(name) = again.first()
            && let Ok(Some(before)) = store.letter(name).await
        {
            letter.first = before.first;
            letter.attempts = before.attempts.saturating_add(1);
        }
        let bytes = payload.0.len() as u64;
        store.keep(&letter, payload).await?;
        {
            let mut state = self.state();
            if again.is_empty() {
                state.usage.letters += 1;
                state.usage.bytes = state.usage.bytes.map(|sum| sum + bytes);
            }
            state.keys.insert(letter.key.clone());
        }
        self.let_go(older).await;
        Ok(Kept { id: letter.id, attempts: letter.attempts })
    }

    async fn room_for(&self, bytes: u64) -> Result<(), KeepError> {
        let Err(full) = self.room(bytes) else { return Ok(()) };
        // Somebody may have redriven or dropped some since they were counted.
        if self.state().counted.is_some_and(|at| at.elapsed() < RECOUNT) {
            return Err(full);
        }
        self.count().await?;
        self.room(bytes)
    }

    fn room(&self, bytes: u64) -> Result<(), KeepError> {
        let (limits, state) = (&self.0.limits, self.state());
        let sum = state.usage.bytes.unwrap_or_default();
        if state.counted.is_none() || state.usage.letters >= limits.letters {
            Err(KeepError::TooMany { letters: state.usage.letters })
        } else if sum.saturating_add(bytes) > limits.bytes {
            Err(KeepError::TooMuch { bytes: sum, limit: limits.bytes })
        } else {
            Ok(())
        }
    }

    async fn count(&self) -> Result<(), StoreError> {
        let usage = self.0.store.usage().await?;
        let mut state = self.state();
        (state.usage, state.counted) = (usage, Some(Instant::now()));
        Ok(())
    }

    /// HealthLake has this version now: letters of the same or older ones are of no use any more.
    pub fn mirrored(&self, key: &Key, version: &Version) {
        if !self.state().keys.contains(key) {
            return;
        }
        let (keeper, key, version) = (self.clone(), key.clone(), version.clone());
        self.0.afterwork.spawn(async move {
            if let Ok(names) = keeper.0.store.names_of(&key).await {
                let overtaken = keeper.upserts_before(names, &version, Ordering::Equal).await;
                keeper.let_go(overtaken).await;
            }
        });
    }

    /// Those whose version is surely older than `version`, or the same with `most`: `Equal`. A delete has no version,
    /// so nothing tells that it is overtaken; a redrive finds out.
    async fn upserts_before(&self, names: Vec<Name>, version: &Version, most: Ordering) -> Vec<Name> {
        let mut before = Vec::new();
        for name in names {
            let Ok(Some(letter)) = self.0.store.letter(&name).await else { continue };
            let older = match order::compare(&letter.version(), version) {
                Some(ordering) => ordering <= most,
                // Neither says what it is: the order of arrival.
                None => letter.version() == *version && *version == Version::default(),
            };
            if older && !letter.is_delete() {
                before.push(name);
            }
        }
        before
    }

    async fn let_go(&self, names: Vec<Name>) {
        for name in names {
            if self.0.store.remove(&name).await == Ok(true) {
                tracing::info!(key = %name.key, letter = %name.id, "a dead letter was overtaken by a newer version");
                let mut state = self.state();
                state.usage.letters = state.usage.letters.saturating_sub(1);
                state.usage.bytes = state.usage.bytes.map(|sum| sum.saturating_sub(name.bytes));
            }
        }
    }

    /// For as long as the process lives: counts what is kept, and removes what is older than the retention.
    pub async fn tend(self) {
        let mut told = false;
        loop {
            match self.tend_once().await {
                Ok(()) => told = false,
                Err(error) if !told => {
                    tracing::error!(%error, store = self.0.store.kind(), "the dead letters can't be counted");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::time::sleep(TEND).await;
        }
    }

    async fn tend_once(&self) -> Result<(), StoreError> {
        let store = &self.0.store;
        self.count().await?;
        // To list a queue is to hide what it holds.
        if store.expires_by_itself() {
            return Ok(());
        }
        let names = store.names().await?;
        let keys = names.iter().map(|name| name.key.clone()).collect();
        // What was kept meanwhile may be missing for a minute: `mirrored` is a convenience.
        self.state().keys = keys;
        let Some(oldest) = (self.0.clock)().checked_sub(self.0.limits.retention) else { return Ok(()) };
        let mut expired = 0;
        for name in names.iter().filter(|name| name.at < oldest) {
            if store.remove(name).await? {
                expired += 1;
                tracing::warn!(key = %name.key, letter = %name.id, "a dead letter was older than --dead-letters-retention and is removed");
            }
        }
        if expired > 0 {
            self.count().await?;
        }
        Ok(())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "keeper_tests.rs"]
mod tests;
