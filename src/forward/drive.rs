//! Carries out what the order's `Walk` wants done: each action in its room, its outcome back as an event.

use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use tokio::time::{Instant, sleep_until, timeout_at};
use tracing::{Instrument, Span};

use super::{Content, Forward, Report, looks};
use crate::cdr::Current;
use crate::deadletter::Payload;
use crate::delivery::{Addressed, Key, Version};
use crate::healthlake::{Attempted, CouldNot, Meaning};
use crate::mirror::Source;
use crate::order::record::{Etag, Millis, Write, millis};
use crate::order::store::{ClaimRequest, Claimed, Owner, Settled};
use crate::order::walk::{Action, End, Event, Protocol, Walk, Want};
use crate::trace;
use crate::verdict::Verdict;

/// A claim outlives its delivery by this much: what ends at the deadline still has to be written down.
const AFTERMATH: Duration = Duration::from_secs(2);

pub(super) struct Drive<'a> {
    forward: &'a Forward,
    key: &'a Key,
    /// The delivery's own bytes
    json: Bytes,
    /// What the CDR answered last
    current: Bytes,
    deadline: Instant,
    owner: Owner,
    report: &'a mut Report,
    /// Why the CDR's answer could not be used
    refused: Option<Verdict>,
    /// A write was sent under the claim.
    sent: bool,
    /// What the filter keeps out was at HealthLake, and is deleted there.
    withdrawn: bool,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        forward: &'a Forward,
        key: &'a Key,
        json: Bytes,
        deadline: Instant,
        report: &'a mut Report,
    ) -> Self {
        let owner = Owner(uuid::Uuid::new_v4().as_u128());
        Self {
            forward,
            key,
            json,
            current: Bytes::new(),
            deadline,
            owner,
            report,
            refused: None,
            sent: false,
            withdrawn: false,
        }
    }

    pub(super) async fn run(mut self, want: Want) -> Result<Verdict, Verdict> {
        let protocol = Protocol {
            // A dead letter is as old as it is.
            belated: self.report.source == Source::Redrive,
            looks_again: looks(self.report.source),
            ..self.forward.protocol
        };
        let mut walk = Walk::new(want, protocol, self.millis(self.deadline));
        let mut event = Event::Begin;
        loop {
            let action = walk.apply(event, self.now());
            if let Action::Done(end) = action {
                self.report.order.asked_cdr = walk.asked_cdr;
                self.report.order.in_doubt = walk.in_doubt;
                return Ok(self.verdict(end));
            }
            event = self.carry_out(action).await;
        }
    }

    async fn carry_out(&mut self, action: Action) -> Event {
        let span = self.span(&action);
        self.act(action).instrument(span).await
    }

    /// The clients of HealthLake and of the CDR have spans of their own.
    fn span(&self, action: &Action) -> Span {
        let name = match action {
            Action::Claim { .. } => "order claim",
            Action::Settle(_) => "order settle",
            Action::Release => "order release",
            Action::Wait { .. } => return trace::step("order wait"),
            _ => return Span::none(),
        };
        trace::order(name, self.forward.store.name())
    }

    async fn act(&mut self, action: Action) -> Event {
        let (healthlake, key, deadline) = (&self.forward.healthlake, self.key, self.deadline);
        let started = Instant::now();
        match action {
            Action::Claim { write } => self.claim(write).await,
            Action::AskCdr => self.ask_cdr().await,
            Action::Put { if_match, current } => {
                let json = if current { &self.current } else { &self.json };
                self.report.content.payload = Payload(json.clone());
                if !current {
                    self.report.content.version = self.report.version.clone();
                }
                self.sent = true;
                let attempted = healthlake.put(key, json, if_match, deadline).await;
                self.report.heard(&attempted, started);
                self.written(&attempted, if_match)
            }
            Action::Delete { if_match } => {
                self.report.content = Content { deleted: true, ..Content::default() };
                self.sent = true;
                let attempted = healthlake.delete(key, if_match, deadline).await;
                self.report.heard(&attempted, started);
                let event = self.written(&attempted, if_match);
                self.withdrawn = matches!(event, Event::Took { .. });
                event
            }
            Action::ReadHealthLake => {
                let (attempted, at_healthlake) = healthlake.read(key, deadline).await;
                self.report.heard(&attempted, started);
                at_healthlake.map_or(Event::HealthLakeFailed, Event::AtHealthLake)
            }
            Action::Wait { until } => {
                let wait = Duration::from_millis(until.saturating_sub(self.now()));
                sleep_until((started + wait).min(deadline)).await;
                self.report.stages.wait += started.elapsed();
                Event::Woke
            }
            Action::Settle(record) => {
                let settled = self.forward.store.settle(key, self.owner, record).await;
                self.report.stages.store += started.elapsed();
                match settled {
                    Ok(Settled::Yes) => Event::Settled,
                    Ok(Settled::Lost) => {
                        self.report.order.claim_lost = true;
                        trace::order_said("claim-lost");
                        Event::Lost
                    }
                    Err(error) => self.store_failed(&error.0),
                }
            }
            Action::Release => {
                // A claim that can't be given back ends by itself.
                let _ = self.forward.store.release(key, self.owner).await;
                self.report.stages.store += started.elapsed();
                Event::Released
            }
            Action::Done(_) => Event::Released,
        }
    }

    async fn claim(&mut self, write: Write) -> Event {
        let started = Instant::now();
        let now = self.now();
        let until = self.millis(self.deadline + AFTERMATH);
        let settle = self.forward.protocol.settle;
        let request = ClaimRequest { owner: self.owner, until, now, write, settle };
        let claimed = timeout_at(self.deadline, self.forward.store.claim(self.key, request)).await;
        self.report.stages.store += started.elapsed();
        match claimed {
            Ok(Ok(Claimed::Yes(record))) => Event::Claimed(record),
            Ok(Ok(Claimed::No { until })) => {
                self.report.order.contended = true;
                trace::order_said("contended");
                Event::Held { until }
            }
            Ok(Err(error)) => self.claim_failed(&error.0),
            Err(_) => self.claim_failed("no answer before the deadline"),
        }
    }

    /// It may have been made all the same: given back, it does not hold the next delivery up until it ends. Unless
    /// something was sent under it before: that it may have landed is known from the claim alone.
    fn claim_failed(&mut self, error: &str) -> Event {
        if self.sent {
            return self.store_failed(error);
        }
        let (store, key, owner) = (self.forward.store.clone(), self.key.clone(), self.owner);
        self.forward.afterwork.spawn(async move {
            let _ = store.release(&key, owner).await;
        });
        self.store_failed(error)
    }

    fn store_failed(&mut self, error: &str) -> Event {
        self.report.order.store_failed = true;
        trace::failed("store-failed");
        tracing::error!(key = %self.key, store = self.forward.store.name(), error, "the order store failed");
        Event::StoreFailed
    }

    async fn ask_cdr(&mut self) -> Event {
        let Some(cdr) = &self.forward.cdr else { return Event::CdrFailed };
        let started = Instant::now();
        let read = cdr.read(self.key, self.deadline).await;
        self.report.stages.cdr += started.elapsed();
        match read {
            Ok(Current::Gone) => {
                self.report.filtered = None;
                Event::CdrGone
            }
            Ok(Current::Resource(json)) => {
                self.report.filtered = self.forward.filter.keeps_out(&json);
                if self.report.filtered.is_some() {
                    let version = version_of(&json);
                    self.report.content = Content { version: version.clone(), ..Content::default() };
                    if self.report.version == Version::default() {
                        self.report.version = version.clone();
                    }
                    return Event::CdrHasFiltered(version);
                }
                let addressed = Addressed::to(self.key);
                self.report.content = Content { payload: Payload(json.clone()), ..Content::default() };
                match self.forward.validate(addressed, json, false, self.report).await {
                    Ok(valid) => {
                        self.current = valid.json;
                        self.report.content.version = valid.version.clone();
                        if self.report.version == Version::default() {
                            self.report.version = valid.version.clone();
                        }
                        Event::CdrHas(valid.version)
                    }
                    Err(verdict) => {
                        self.refused = Some(verdict);
                        Event::CdrFailed
                    }
                }
            }
            Err(_) => Event::CdrFailed,
        }
    }

    /// What HealthLake's answer, or its absence, says of the write itself.
    fn written(&mut self, attempted: &Attempted, if_match: Option<Etag>) -> Event {
        let precondition = Event::Precondition { earlier: attempted.earlier_unknown };
        let event = match &attempted.result {
            Ok(said) => match &said.meaning {
                Meaning::Done(_) => {
                    let etag = said.etag.as_deref().and_then(Etag::parse);
                    return Event::Took { etag, earlier: attempted.earlier_unknown };
                }
                Meaning::Gone => return Event::Gone { earlier: attempted.earlier_unknown },
                Meaning::Conflict if if_match.is_some() && said.status == 412 => precondition,
                // It is not there any more, so it has not the version that was asked for; if it is HealthLake that
                // says so.
                Meaning::Unexpected
                    if if_match.is_some()
                        && !said.issue_codes.is_empty()
                        && matches!(said.status.as_u16(), 404 | 410) =>
                {
                    precondition
                }
                Meaning::Failed => Event::Unknown,
                Meaning::Unexpected if said.status.is_success() => Event::Unknown,
                _ => Event::Refused,
            },
            Err(CouldNot::Cut | CouldNot::Deadline) if attempted.attempts > 0 => Event::Unknown,
            Err(_) => Event::NotSent,
        };
        self.report.order.precondition |= matches!(event, Event::Precondition { .. });
        match event {
            // The first attempt was cut: whatever the second was told, the first may have landed.
            Event::Refused | Event::NotSent if attempted.earlier_unknown => Event::Unknown,
            event => event,
        }
    }

    fn verdict(&mut self, end: End) -> Verdict {
        match end {
            End::Answered => self.answered(),
            End::Filtered => match self.report.filtered {
                Some(rule) => Verdict::Filtered { rule, withdrawn: self.withdrawn },
                None => Verdict::Internal,
            },
            End::Superseded => Verdict::Superseded,
            End::CdrFailed => self.refused.take().unwrap_or(Verdict::CdrUnavailable),
            End::StoreFailed => Verdict::OrderUnavailable,
            End::Unsettled => Verdict::Unsettled,
        }
    }

    /// Of what the filter keeps out nothing may be taken for done that does not say that HealthLake has nothing of it.
    fn answered(&self) -> Verdict {
        let verdict = self.report.answered();
        if self.report.filtered.is_none() || verdict.is_retryable() {
            return verdict;
        }
        if !self.sent && verdict == Verdict::NotMirrored {
            // HealthLake does not have the type.
            return verdict;
        }
        tracing::error!(key = %self.key, "the filter keeps it out, and HealthLake does not delete what it has of it");
        Verdict::UnexpectedAnswer
    }

    fn now(&self) -> Millis {
        let since = (self.forward.clock)().duration_since(UNIX_EPOCH).unwrap_or_default();
        millis(since)
    }

    /// A moment of tokio's clock on the wall's.
    fn millis(&self, at: Instant) -> Millis {
        let left = at.saturating_duration_since(Instant::now());
        self.now() + millis(left)
    }
}

/// Of a resource of the CDR's, as far as it can be read.
fn version_of(json: &[u8]) -> Version {
    #[derive(Default, serde::Deserialize)]
    struct Head {
        #[serde(default)]
        meta: serde_json::Value,
    }
    let Head { meta } = serde_json::from_slice(json).unwrap_or_default();
    Version::new(meta["versionId"].as_str(), meta["lastUpdated"].as_str())
}

#[cfg(test)]
#[path = "drive_tests.rs"]
mod tests;
