//! Credentials held ready: refreshed in the background well before they expire, so that no delivery waits
//! for STS, and kept until they expire where STS is down.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
pub use aws_credential_types::Credentials;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_smithy_runtime_api::client::identity::Identity;
use tokio::time::Instant;
use tracing::Instrument;

use super::sts::describe;
use crate::trace;

/// Reads the wall clock; tests put another one in.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// After a refusal at HealthLake one refresh is worth a try. If that did not help, another one at once
/// won't, and STS must not be asked once per delivery.
const FORCED_REFRESH_PAUSE: Duration = Duration::from_secs(5);
/// The part of their lifetime after which credentials are renewed, plus up to a fifth of jitter.
const RENEW_AFTER: f64 = 0.5;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(30);
/// With so little left they are renewed whatever their age seems to be: a process that was frozen may not know it.
const LITTLE: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, thiserror::Error)]
#[error("no AWS credentials: {0}")]
pub struct CredentialsError(String);

/// Credentials in use. `generation` tells whether they were renewed since.
#[derive(Debug)]
pub struct Held {
    pub identity: Identity,
    pub has_token: bool,
    pub expires_at: Option<SystemTime>,
    pub generation: u64,
    obtained: Instant,
}

pub struct Manager {
    provider: SharedCredentialsProvider,
    clock: Clock,
    current: ArcSwapOption<Held>,
    generations: AtomicU64,
    refreshing: tokio::sync::Mutex<()>,
    last_failure: Mutex<Option<(Instant, CredentialsError)>>,
}

impl Held {
    pub(super) fn of(credentials: Credentials, generation: u64) -> Self {
        Self {
            has_token: credentials.session_token().is_some(),
            expires_at: credentials.expiry(),
            identity: credentials.into(),
            generation,
            obtained: Instant::now(),
        }
    }
}

impl Manager {
    pub fn new(provider: SharedCredentialsProvider, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            provider,
            clock,
            current: ArcSwapOption::empty(),
            generations: AtomicU64::new(0),
            refreshing: tokio::sync::Mutex::new(()),
            last_failure: Mutex::new(None),
        })
    }

    /// What signs now. Waits for the provider only where nothing valid is held.
    pub async fn current(self: &Arc<Self>) -> Result<Arc<Held>, CredentialsError> {
        if let Some(held) = self.valid() {
            return Ok(held);
        }
        self.refresh(|manager| manager.valid().is_none()).await
    }

    /// New ones after HealthLake refused those of `generation`; at most one refresh whoever asks.
    pub async fn renewed(self: &Arc<Self>, generation: u64) -> Result<Arc<Held>, CredentialsError> {
        self.refresh(move |manager| match manager.valid() {
            Some(held) if held.generation > generation => false,
            Some(held) => held.obtained.elapsed() >= FORCED_REFRESH_PAUSE,
            None => true,
        })
        .await
    }

    /// When the credentials held expire; None where none are held or they don't.
    pub fn expires_at(&self) -> Option<SystemTime> {
        self.current.load().as_ref().and_then(|held| held.expires_at)
    }

    pub fn holds_valid(&self) -> bool {
        self.valid().is_some()
    }

    /// Renews in the background until the process ends.
    pub async fn run(self: Arc<Self>) {
        let mut retry = RETRY_FIRST;
        loop {
            let pause = match self.current.load_full().filter(|_| retry == RETRY_FIRST) {
                Some(held) => match self.renew_in(&held) {
                    Some(pause) => pause,
                    None => std::future::pending().await,
                },
                None if retry == RETRY_FIRST => Duration::ZERO,
                None => retry.mul_f64(0.75 + fastrand::f64() * 0.5),
            };
            tokio::time::sleep(pause).await;
            let asked = Instant::now();
            match self.refresh(move |manager| !manager.obtained_since(asked)).await {
                Ok(_) => retry = RETRY_FIRST,
                Err(error) => {
                    tracing::warn!(%error, valid = self.holds_valid(), "could not renew the AWS credentials");
                    retry = (retry * 2).min(RETRY_LONGEST);
                }
            }
        }
    }

    /// For a process that is frozen between deliveries, where nothing is renewed in the background: renews past half
    /// of the lifetime, and waits for it. What is still valid serves on where that fails; the next try is then
    /// [`RETRY_LONGEST`] away.
    pub async fn renew_if_due(self: &Arc<Self>) {
        let Some(held) = self.valid() else { return };
        let Some(at) = held.expires_at else { return };
        let left = at.duration_since((self.clock)()).unwrap_or_default();
        let due = left < held.obtained.elapsed() || left < LITTLE;
        let lately = |(at, _): &(Instant, _)| at.elapsed() < RETRY_LONGEST;
        if !due
            || self.last_failure.lock().unwrap_or_else(PoisonError::into_inner).as_ref().is_some_and(lately)
        {
            return;
        }
        let generation = held.generation;
        let newer = move |manager: &Self| manager.valid().is_some_and(|held| held.generation > generation);
        if let Err(error) = self.refresh(move |manager| !newer(manager)).await {
            tracing::warn!(%error, valid = self.holds_valid(), "could not renew the AWS credentials");
        }
    }

    fn valid(&self) -> Option<Arc<Held>> {
        let held = self.current.load_full()?;
        held.expires_at.is_none_or(|at| at > (self.clock)()).then_some(held)
    }

    fn obtained_since(&self, asked: Instant) -> bool {
        self.current.load().as_ref().is_some_and(|held| held.obtained >= asked)
    }

    fn renew_in(&self, held: &Held) -> Option<Duration> {
        let left = held.expires_at?.duration_since((self.clock)()).unwrap_or_default();
        Some(left.mul_f64(RENEW_AFTER + fastrand::f64() * 0.2).max(Duration::from_millis(100)))
    }

    /// One at a time. It runs to its end in a task of its own: a delivery whose deadline passes meanwhile
    /// must not throw away what the next one waits for.
    async fn refresh(
        self: &Arc<Self>,
        needed: impl FnOnce(&Self) -> bool + Send + 'static,
    ) -> Result<Arc<Held>, CredentialsError> {
        let manager = self.clone();
        let asked = Instant::now();
        let work = async move {
            let _one = manager.refreshing.lock().await;
            if let Some(error) = manager.failed_since(asked) {
                return Err(error);
            }
            match manager.current.load_full() {
                Some(held) if !needed(&manager) => Ok(held),
                _ => manager.fetch().instrument(trace::renewal()).await,
            }
        };
        let task = tokio::spawn(work.in_current_span());
        task.await.unwrap_or_else(|error| Err(CredentialsError(error.to_string())))
    }

    async fn fetch(&self) -> Result<Arc<Held>, CredentialsError> {
        let credentials = self.provider.provide_credentials().await.map_err(|error| {
            let error = CredentialsError(describe(&error));
            trace::failed("credentials-refused");
            *self.last_failure.lock().unwrap_or_else(PoisonError::into_inner) =
                Some((Instant::now(), error.clone()));
            error
        })?;
        let held = Arc::new(Held::of(credentials, self.generations.fetch_add(1, Ordering::Relaxed)));
        self.current.store(Some(held.clone()));
        tracing::debug!(generation = held.generation, "AWS credentials renewed");
        Ok(held)
    }

    /// Who waited for a refresh that failed shares its failure instead of asking again in turn.
    fn failed_since(&self, asked: Instant) -> Option<CredentialsError> {
        let failure = self.last_failure.lock().unwrap_or_else(PoisonError::into_inner);
        failure.as_ref().filter(|(at, _)| *at >= asked).map(|(_, error)| error.clone())
    }
}

#[cfg(test)]
#[path = "credentials_tests.rs"]
mod tests;
