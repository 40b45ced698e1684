//! The rule that ties the rooms: a `Delivery` becomes a `Verdict`. Live deliveries and everything that will
//! ever write to HealthLake come through here.

mod drive;
mod report;

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::cdr::Cdr;
use crate::delivery::{Addressed, Delivery, Key, Version};
use crate::healthlake::{Clock, HealthLake};
use crate::order::queue::{Queue, TooMany, Turn};
use crate::order::store::Store;
use crate::order::walk::{Protocol, Want};
use crate::validate::Validator;
use crate::verdict::{BadRequest, Verdict};

use drive::Drive;
pub use report::{OrderNotes, Report, Stages};

pub struct Forward {
    pub validator: Arc<Validator>,
    pub queue: Arc<Queue>,
    pub store: Arc<dyn Store>,
    pub protocol: Protocol,
    pub healthlake: HealthLake,
    pub cdr: Option<Cdr>,
    pub clock: Clock,
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
    pub async fn forward(&self, delivery: Delivery, deadline: Instant) -> Report {
        let mut report = Report::of(&delivery);
        report.verdict = match self.walk(delivery, deadline, &mut report).await {
            Ok(verdict) | Err(verdict) => verdict,
        };
        report
    }

    async fn walk(
        &self,
        delivery: Delivery,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Verdict, Verdict> {
        let (key, want, json) = match delivery {
            Delivery::Upsert { addressed, json } => {
                let valid = self.validate(addressed, json, report).await?;
                (report.key, report.version) = (Some(valid.key.clone()), valid.version.clone());
                (valid.key, Want::Upsert(valid.version), valid.json)
            }
            Delivery::Delete { key } => (key, Want::Delete, Bytes::new()),
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
        let turn = timeout_at(deadline, self.queue.turn(key, version)).await;
        report.stages.wait = started.elapsed();
        match turn {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(TooMany)) => Err(Verdict::Throttled { retry_after: None }),
            Err(_) => Err(Verdict::DeadlinePassed),
        }
    }

    async fn validate(&self, addressed: Addressed, json: Bytes, report: &mut Report) -> Result<Valid, Verdict> {
        let started = Instant::now();
        let checked = if json.len() < LARGE {
            self.validator.json(&json)
        } else {
            let (validator, json) = (self.validator.clone(), json.clone());
            tokio::task::spawn_blocking(move || validator.json(&json)).await.map_err(|_| Verdict::Internal)?
        };
        report.stages.validate += started.elapsed();
        let facts = checked.map_err(Verdict::from)?;
        let bad = |what| Verdict::BadRequest(what);
        if addressed.resource_type.is_some_and(|stated| *stated != *facts.resource_type) {
            return Err(bad(BadRequest::UrlDisagrees));
        }
        let id = facts.id.as_deref().ok_or(bad(BadRequest::NoId))?;
        if addressed.id.is_some_and(|stated| *stated != *id) {
            return Err(bad(BadRequest::UrlDisagrees));
        }
        let key = Key::new(&facts.resource_type, id).map_err(|_| bad(BadRequest::BadPath))?;
        let version = Version::new(facts.version_id.as_deref(), facts.last_updated.as_deref());
        Ok(Valid { key, version, json })
    }
}
