//! The rule that ties the rooms: a `Delivery` becomes a `Verdict`. Live deliveries and everything that will
//! ever write to HealthLake come through here. What is refused for good is kept before anybody is told.

mod drive;
mod filter;
mod judge;
mod keep;
mod look;
mod report;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use crate::afterwork::Afterwork;
use crate::cdr::Cdr;
use crate::deadletter::Keeper;
use crate::delivery::{Addressed, Delivery, Key, Version};
use crate::filter::Filter;
use crate::healthlake::{Clock, HealthLake};
use crate::mirror::Source;
use crate::order::queue::{Queue, TooMany, Turn};
use crate::order::store::Store;
use crate::order::walk::{Protocol, Want};
use crate::trace;
use crate::validate::Validator;
use crate::verdict::{BadRequest, Verdict};

use drive::Drive;
use filter::looks;
use judge::{Judged, judge};
pub use look::Remembered;
pub use report::{Content, Letter, OrderNotes, Report, Stages};

pub struct Forward {
    pub validator: Arc<Validator>,
    pub filter: Arc<Filter>,
    pub queue: Arc<Queue>,
    pub store: Arc<dyn Store>,
    pub protocol: Protocol,
    pub healthlake: HealthLake,
    pub cdr: Option<Arc<Cdr>>,
    /// Where what is refused for good is kept
    pub dead_letters: Option<Keeper>,
    pub clock: Clock,
    /// What goes on after the answer to the delivery that caused it
    pub afterwork: Afterwork,
}

/// A resource that may be sent.
struct Valid {
    key: Key,
    version: Version,
    json: Bytes,
}

/// Bodies from here on are validated off the threads that serve connections (bytes).
const LARGE: usize = 256 << 10;

impl Forward {
    /// One delivery, from whoever sends it. What is refused for good is kept, where the settings say so.
    pub async fn forward(&self, delivery: Delivery, source: Source, deadline: Instant) -> Report {
        self.deliver(delivery, source, deadline, None).await
    }

    /// `id` is the delivery's in our log.
    pub async fn deliver(
        &self,
        delivery: Delivery,
        source: Source,
        deadline: Instant,
        id: Option<&str>,
    ) -> Report {
        let work = async {
            let mut report = Report::of(&delivery, source);
            report.verdict = match self.walk(delivery, deadline, &mut report).await {
                Ok(verdict) | Err(verdict) => verdict,
            };
            let report = self.keep(report, deadline, id).await;
            trace::told(&report);
            report
        };
        work.instrument(trace::delivery(source)).await
    }

    /// Until nothing goes on any more of what deliveries left to be done after their answer.
    pub async fn settled(&self) {
        self.afterwork.done().await;
        if let Some(keeper) = &self.dead_letters {
            keeper.settled().await;
        }
    }

    async fn walk(
        &self,
        delivery: Delivery,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Verdict, Verdict> {
        let (key, want, json) = match delivery {
            Delivery::Upsert { addressed, json, verbatim } => {
                self.upsert(addressed, json, verbatim, report).await?
            }
            Delivery::Delete { key } => {
                report.content.deleted = true;
                (key, Want::Delete, Bytes::new())
            }
            Delivery::Changed { key } if self.filter.by_type(key.resource_type()).is_some() => {
                report.filtered = self.filter.by_type(key.resource_type());
                let want = Want::Withdraw { version: Version::default(), look: looks(report.source) };
                (key, want, Bytes::new())
            }
            Delivery::Changed { .. } if self.cdr.is_none() => {
                return Err(Verdict::BadRequest(BadRequest::NoContentAndNoCdr));
            }
            Delivery::Changed { key } => (key, Want::Current, Bytes::new()),
        };
        let _turn = self.turn(&key, &want, deadline, report).await?;
        Drive::new(self, &key, json, deadline, report).run(want).await
    }

    async fn turn(
        &self,
        key: &Key,
        want: &Want,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Turn, Verdict> {
        let version = match want {
            Want::Upsert(version) if *version != Version::default() => Some(version.clone()),
            _ => None,
        };
        let started = Instant::now();
        let turn = timeout_at(deadline, self.queue.turn(key, version));
        let turn = turn.instrument(trace::step("order queue")).await;
        report.stages.wait = started.elapsed();
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(TooMany)) => Err(Verdict::Throttled { retry_after: None }),
            Err(_) => Err(Verdict::DeadlinePassed),
        }
    }

    async fn validate(
        &self,
        addressed: Addressed,
        json: Bytes,
        verbatim: bool,
        report: &mut Report,
    ) -> Result<Valid, Verdict> {
        let work = async {
            let valid = self.judged(addressed, json, verbatim, report).await;
            if let Err(verdict) = &valid {
                trace::failed(verdict.name());
            }
            valid
        };
        work.instrument(trace::step("validate")).await
    }

    async fn judged(
        &self,
        addressed: Addressed,
        json: Bytes,
        verbatim: bool,
        report: &mut Report,
    ) -> Result<Valid, Verdict> {
        let started = Instant::now();
        let judged = if json.len() < LARGE {
            judge(&self.validator, &addressed, &json)
        } else {
            let (validator, json) = (self.validator.clone(), json.clone());
            tokio::task::spawn_blocking(move || judge(&validator, &addressed, &json))
                .await
                .map_err(|_| Verdict::Internal)?
        };
        report.stages.validate += started.elapsed();
        let Judged { named, refused_above } = judged.map_err(|refusal| match verbatim {
            true => Verdict::from(refusal),
            false => refusal.without_places().into(),
        })?;
        report.refused_above = refused_above;
        let (key, version) = named.map_err(Verdict::BadRequest)?;
        Ok(Valid { key, version, json })
    }
}
