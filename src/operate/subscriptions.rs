//! lakehook's Subscriptions at the CDR while it serves: made or mended once, then watched. A CDR that turns one
//! off says so nowhere else, and the mirror would fall behind without a word.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Value, json};
use tokio::time::sleep;

use super::Metrics;
use crate::cdr::Cdr;
use crate::cdr::subscription::{Action, Seen, SubscriptionError, Wish, apply, seen, steps};
use crate::healthlake::Clock;

/// While one is `requested`, the CDR is about to make it active.
const SOON: Duration = Duration::from_secs(1);
const SOON_ENOUGH: u32 = 30;

/// What was seen last.
#[derive(Default)]
pub struct Subscriptions(Mutex<State>);

#[derive(Default)]
struct State {
    by_path: BTreeMap<String, Watched>,
    /// Why they could not be made or mended
    problem: Option<String>,
}

struct Watched {
    seen: Option<Seen>,
    since: SystemTime,
    checked: Option<SystemTime>,
    /// Why the last look failed
    problem: Option<String>,
}

impl Subscriptions {
    /// For health in detail.
    pub fn describe(&self) -> Value {
        let state = self.locked();
        let at = |time: SystemTime| jiff::Timestamp::try_from(time).ok().map(|time| time.to_string());
        let each: Vec<Value> = state
            .by_path
            .iter()
            .map(|(path, watched)| {
                json!({
                    "subscription": path,
                    "status": watched.seen.as_ref().map(Seen::as_str),
                    "since": at(watched.since),
                    "checked": watched.checked.and_then(at),
                    "problem": watched.problem,
                })
            })
            .collect();
        json!({ "problem": state.problem, "watched": each })
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes, mends and watches, until the process ends.
pub struct Keeper {
    pub cdr: Arc<Cdr>,
    pub wish: Wish,
    pub every: Duration,
    pub metrics: Arc<Metrics>,
    pub state: Arc<Subscriptions>,
    pub clock: Clock,
}

impl Keeper {
    pub async fn run(self) {
        let paths = loop {
            match self.ensure().await {
                Ok(paths) => break paths,
                Err(error) => self.not_ensured(&error),
            }
            sleep(self.every).await;
        };
        let mut soon = 0;
        loop {
            let mut requested = false;
            for path in &paths {
                requested |= self.look(path).await == Some(Seen::Requested);
            }
            soon = if requested { soon + 1 } else { 0 };
            sleep(if (1..=SOON_ENOUGH).contains(&soon) { SOON.min(self.every) } else { self.every }).await;
        }
    }

    /// Writes where it has to and may; what was switched off at the CDR stays off.
    async fn ensure(&self) -> Result<Vec<String>, SubscriptionError> {
        let capabilities = self
            .cdr
            .capabilities()
            .await
            .map_err(|source| SubscriptionError::Cdr { what: "metadata".into(), source })?;
        let mut paths = Vec::new();
        let mut problem = None;
        for step in steps(&self.cdr, &self.wish, &capabilities).await? {
            let subscription = step.name();
            let what: Vec<&str> = step.changes.iter().map(|change| change.what.as_str()).collect();
            let path = match step.action(false) {
                Action::Nothing => {
                    tracing::info!(subscription, "the Subscription at the CDR is as it should be");
                    subscription
                }
                Action::Foreign => {
                    let text = "is not marked as lakehook's, and left as it is: `lakehook subscribe --take-over` takes it over, --subscription-id makes another one";
                    tracing::error!(subscription, "the Subscription at the CDR {text}");
                    problem = Some(format!("{subscription} {text}"));
                    subscription
                }
                Action::Update if step.status() == Some("off") => {
                    tracing::warn!(
                        subscription,
                        "the Subscription was switched off at the CDR, and stays so: `lakehook subscribe` switches it on"
                    );
                    subscription
                }
                action @ (Action::Create | Action::Update) => {
                    let path = apply(&self.cdr, &step).await?;
                    let made = if action == Action::Create { "created" } else { "mended" };
                    tracing::info!(subscription = path, ?what, "the Subscription at the CDR is {made}");
                    path
                }
            };
            paths.push(path);
        }
        self.state.locked().problem = problem;
        Ok(paths)
    }

    fn not_ensured(&self, error: &SubscriptionError) {
        let text = error.to_string();
        let mut state = self.state.locked();
        // Once for each fault, not once a minute.
        if state.problem.as_ref() != Some(&text) {
            tracing::error!(%error, "the Subscription at the CDR could not be looked after; it is tried again");
        }
        state.problem = Some(text);
        drop(state);
        self.metrics.subscription_checked(false);
    }

    async fn look(&self, path: &str) -> Option<Seen> {
        let now = (self.clock)();
        let found = seen(&self.cdr, path).await;
        self.metrics.subscription_checked(found.is_ok());
        let mut state = self.state.locked();
        let watched = state.by_path.entry(path.to_owned()).or_insert_with(|| Watched {
            seen: None,
            since: now,
            checked: None,
            problem: None,
        });
        match found {
            Ok(seen) => {
                watched.checked = Some(now);
                watched.problem = None;
                self.metrics.subscription_active(path, seen == Seen::Active);
                let status = seen.as_str();
                // The CDR's own words about an error may quote a resource: they are not logged.
                match (&watched.seen, &seen) {
                    (Some(before), now) if before == now => {}
                    (None, Seen::Requested) => {}
                    (_, Seen::Active) => tracing::info!(subscription = path, "the Subscription is active"),
                    (_, Seen::Requested) => {
                        tracing::warn!(subscription = path, "the Subscription is requested: not active yet");
                    }
                    _ => tracing::error!(
                        subscription = path,
                        status,
                        "the Subscription is not active: the CDR sends nothing, and HealthLake falls behind"
                    ),
                }
                if watched.seen.as_ref() != Some(&seen) {
                    watched.since = now;
                    watched.seen = Some(seen.clone());
                }
                Some(seen)
            }
            Err(error) => {
                let text = error.to_string();
                if watched.problem.as_ref() != Some(&text) {
                    tracing::warn!(subscription = path, %error, "the Subscription's status could not be read");
                }
                watched.problem = Some(text);
                None
            }
        }
    }
}
