//! OAuth2 client credentials: a token held ready, renewed before it expires, by one request at a time.

mod endpoint;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, sleep};

use self::endpoint::{Failure, Known};
use super::authorization::{Held, header};
use super::client;
use crate::healthlake::{Clock, Trust};

/// A token is renewed when this part of its lifetime is left, or this long before its end.
const RENEW_AT: f64 = 0.2;
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// After a refusal at the CDR one new token is worth a try. If that did not help, another one at once won't.
const FORCED_PAUSE: Duration = Duration::from_secs(5);
/// While the old one is still good, a renewal that failed is not tried again at once.
const RETRY_PAUSE: Duration = Duration::from_secs(5);
/// Attempts to get a token where the endpoint can't be reached or is in trouble.
const ATTEMPTS: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(300);

/// A secret that is given, or stands in a file and is read whenever it is needed.
pub enum Secret {
    Value(SecretString),
    File(PathBuf),
}

impl Secret {
    /// Fails with the file's path and what is wrong with it.
    pub fn read(&self) -> Result<SecretString, String> {
        match self {
            Self::Value(value) => Ok(value.clone()),
            Self::File(path) => {
                let problem = |problem: &str| format!("{}: {problem}", path.display());
                let text = std::fs::read_to_string(path).map_err(|error| problem(&error.to_string()))?;
                match text.trim() {
                    "" => Err(problem("is empty")),
                    secret => Ok(secret.into()),
                }
            }
        }
    }
}

/// How the client shows who it is.
pub enum ClientSecret {
    /// `client_secret`
    Secret(Secret),
    /// SMART backend services: `private_key_jwt`. The file is read again for each token; `id` is its `kid`.
    Key { file: PathBuf, id: Option<String> },
}

/// Where tokens come from.
pub enum TokenUrl {
    Given(Url),
    /// As `{base}/.well-known/smart-configuration` says
    Discovered {
        base: Url,
    },
}

pub struct OAuth {
    client_id: String,
    secret: ClientSecret,
    token_url: TokenUrl,
    /// Where none is given: reading all, and writing what is written
    scope: Option<String>,
    /// Types that are written
    writes: Vec<String>,
    allow_insecure: bool,
    http: reqwest::Client,
    clock: Clock,
    known: Mutex<Option<Known>>,
    held: ArcSwapOption<Token>,
    renewing: tokio::sync::Mutex<u64>,
    last_failure: Mutex<Option<(Instant, String)>>,
}

struct Token {
    value: HeaderValue,
    generation: u64,
    obtained: Instant,
    lifetime: Duration,
}

impl Token {
    fn left(&self) -> Duration {
        self.lifetime.saturating_sub(self.obtained.elapsed())
    }

    fn held(&self) -> Held {
        Held { value: Some(self.value.clone()), generation: self.generation }
    }
}

impl OAuth {
    pub fn new(
        client_id: String,
        secret: ClientSecret,
        token_url: TokenUrl,
        clock: Clock,
        trust: &Trust,
    ) -> Result<Self, reqwest::Error> {
        let url = match &token_url {
            TokenUrl::Given(url) => url,
            TokenUrl::Discovered { base } => base,
        };
        Ok(Self {
            http: client(url, trust)?,
            client_id,
            secret,
            token_url,
            scope: None,
            writes: Vec::new(),
            allow_insecure: false,
            clock,
            known: Mutex::default(),
            held: ArcSwapOption::empty(),
            renewing: tokio::sync::Mutex::new(0),
            last_failure: Mutex::default(),
        })
    }

    /// What is asked for, instead of what SMART calls reading everything.
    pub fn scope(mut self, scope: Option<String>) -> Self {
        self.scope = scope;
        self
    }

    /// The default scope includes writing these types.
    pub fn writes(mut self, types: Vec<String>) -> Self {
        self.writes = types;
        self
    }

    /// `http://` elsewhere than on loopback, where the discovery names such a token endpoint
    pub fn allow_insecure(mut self, allow: bool) -> Self {
        self.allow_insecure = allow;
        self
    }

    /// A token that is good now, renewed where its end is near; that a renewal fails matters only once it is
    /// reached.
    pub(super) async fn current(self: &Arc<Self>) -> Result<Held, String> {
        let Some(token) = self.held.load_full().filter(|token| !token.left().is_zero()) else {
            return self.renew(|oauth| oauth.good().is_none()).await;
        };
        if token.left() > RENEW_BEFORE.min(token.lifetime.mul_f64(RENEW_AT)) || self.failed_lately() {
            return Ok(token.held());
        }
        let generation = token.generation;
        let renewed = self.renew(move |oauth| oauth.good().is_none_or(|now| now.generation == generation));
        match renewed.await {
            Ok(held) => Ok(held),
            Err(problem) if !token.left().is_zero() => {
                tracing::warn!(
                    problem,
                    left_s = token.left().as_secs(),
                    "could not renew the CDR's token; the old one is good still"
                );
                Ok(token.held())
            }
            Err(problem) => Err(problem),
        }
    }

    /// Another one after the CDR refused that of `generation`; the same where that was new.
    pub(super) async fn renewed(self: &Arc<Self>, generation: u64) -> Result<Held, String> {
        self.renew(move |oauth| match oauth.good() {
            Some(token) if token.generation != generation => false,
            Some(token) => token.obtained.elapsed() >= FORCED_PAUSE,
            None => true,
        })
        .await
    }

    fn good(&self) -> Option<Arc<Token>> {
        self.held.load_full().filter(|token| !token.left().is_zero())
    }

    /// One at a time, in a task of its own: a delivery whose deadline passes meanwhile must not throw away what
    /// the next one waits for. Who waited for one that failed shares its failure.
    async fn renew(
        self: &Arc<Self>,
        needed: impl FnOnce(&Self) -> bool + Send + 'static,
    ) -> Result<Held, String> {
        let oauth = self.clone();
        let asked = Instant::now();
        let task = tokio::spawn(async move {
            let mut generation = oauth.renewing.lock().await;
            if let Some(problem) = oauth.failed_since(asked) {
                return Err(problem);
            }
            match oauth.held.load_full() {
                Some(token) if !needed(&oauth) => Ok(token.held()),
                _ => oauth.obtain(&mut generation).await,
            }
        });
        task.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    async fn obtain(&self, generation: &mut u64) -> Result<Held, String> {
        let mut pause = FIRST_PAUSE;
        let mut attempt = 1;
        let granted = loop {
            match self.ask().await {
                Ok(granted) => break granted,
                Err(Failure { passing: true, .. }) if attempt < ATTEMPTS => {
                    sleep(pause).await;
                    pause *= 3;
                    attempt += 1;
                }
                Err(failure) => {
                    // What the CDR said of its token endpoint may have changed.
                    *self.known() = None;
                    *self.failure() = Some((Instant::now(), failure.problem.clone()));
                    return Err(failure.problem);
                }
            }
        };
        *generation += 1;
        let value = header(format!("Bearer {}", granted.access_token.expose_secret()))
            .map_err(|problem| format!("{}: its access_token {problem}", granted.from))?;
        let token = Arc::new(Token {
            value,
            generation: *generation,
            obtained: Instant::now(),
            lifetime: granted.lifetime,
        });
        self.held.store(Some(token.clone()));
        tracing::debug!(lifetime_s = granted.lifetime.as_secs(), "the CDR's token renewed");
        Ok(token.held())
    }

    fn failed_since(&self, asked: Instant) -> Option<String> {
        self.failure().as_ref().filter(|(at, _)| *at >= asked).map(|(_, problem)| problem.clone())
    }

    fn failed_lately(&self) -> bool {
        self.failure().as_ref().is_some_and(|(at, _)| at.elapsed() < RETRY_PAUSE)
    }

    fn failure(&self) -> std::sync::MutexGuard<'_, Option<(Instant, String)>> {
        self.last_failure.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Option<Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
