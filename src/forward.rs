//! The rule that ties the rooms: a `Delivery` becomes a `Verdict`. Live deliveries and everything that will
//! ever write to HealthLake come through here.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use crate::cdr::{Cdr, Current};
use crate::delivery::{Addressed, Delivery, Key, Version};
use crate::healthlake::{Attempted, CouldNot, HealthLake, Meaning, Said};
use crate::order::{Claim, Memory, is_superseded};
use crate::validate::{Facts, Mode, Refusal, Validator};
use crate::verdict::{BadRequest, Verdict};

pub struct Forward {
    pub validator: Arc<Validator>,
    pub order: Memory,
    pub healthlake: HealthLake,
    pub cdr: Option<Cdr>,
}

/// What became of a delivery and what it took: all that a log line or a metric may say.
#[derive(Debug)]
pub struct Report {
    pub verdict: Verdict,
    pub interaction: &'static str,
    pub key: Option<Key>,
    pub version: Version,
    /// The laxest mode of validation above the one in use that would have refused it.
    pub refused_above: Option<Mode>,
    /// Size of the JSON forwarded (bytes)
    pub bytes: usize,
    pub attempts: u32,
    pub said: Option<Said>,
    pub could_not: Option<CouldNot>,
    pub stages: Stages,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Stages {
    pub validate: Duration,
    /// Waiting for earlier deliveries of the same resource.
    pub wait: Duration,
    pub healthlake: Duration,
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
        match delivery {
            Delivery::Upsert { addressed, json, verbatim } => {
                let valid = self.validate(addressed, json, verbatim, report).await?;
                let mut claim = self.claim(&valid.key, deadline, report).await?;
                self.upsert(&valid, &mut claim, deadline, report).await
            }
            Delivery::Delete { key } => {
                let mut claim = self.claim(&key, deadline, report).await?;
                self.delete(&key, &mut claim, deadline, report).await
            }
            Delivery::Changed { key } => {
                let cdr = self.cdr.as_ref().ok_or(Verdict::BadRequest(BadRequest::NoContentAndNoCdr))?;
                let mut claim = self.claim(&key, deadline, report).await?;
                match cdr.read(&key, deadline).await.map_err(|_| Verdict::CdrUnavailable)? {
                    Current::Resource(json) => {
                        let valid = self.validate(Addressed::to(&key), json, false, report).await?;
                        self.upsert(&valid, &mut claim, deadline, report).await
                    }
                    Current::Gone => self.delete(&key, &mut claim, deadline, report).await,
                }
            }
        }
    }

    async fn validate(
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
        report.stages.validate = started.elapsed();
        let Judged { named, refused_above } = judged.map_err(|refusal| match verbatim {
            true => Verdict::from(refusal),
            false => refusal.without_places().into(),
        })?;
        report.refused_above = refused_above;
        let (key, version) = named.map_err(Verdict::BadRequest)?;
        (report.key, report.version) = (Some(key.clone()), version.clone());
        Ok(Valid { key, version, json })
    }

    async fn claim(&self, key: &Key, deadline: Instant, report: &mut Report) -> Result<Claim, Verdict> {
        let started = Instant::now();
        let claim = timeout_at(deadline, self.order.claim(key)).await;
        report.stages.wait = started.elapsed();
        claim.map_err(|_| Verdict::DeadlinePassed)
    }

    async fn upsert(
        &self,
        valid: &Valid,
        claim: &mut Claim,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Verdict, Verdict> {
        if is_superseded(claim, &valid.version) {
            return Ok(Verdict::Superseded);
        }
        let started = Instant::now();
        let attempted = self.healthlake.put(&valid.key, &valid.json, deadline).await;
        let verdict = report.heard(attempted, started)?;
        if matches!(verdict, Verdict::Mirrored(_)) {
            claim.upserted(valid.version.clone());
        }
        Ok(verdict)
    }

    async fn delete(
        &self,
        key: &Key,
        claim: &mut Claim,
        deadline: Instant,
        report: &mut Report,
    ) -> Result<Verdict, Verdict> {
        let started = Instant::now();
        let attempted = self.healthlake.delete(key, deadline).await;
        let verdict = report.heard(attempted, started)?;
        if matches!(verdict, Verdict::Mirrored(_) | Verdict::AlreadyGone) {
            claim.deleted();
        }
        Ok(verdict)
    }
}

/// What is known of a resource that the validator lets through.
struct Judged {
    named: Result<(Key, Version), BadRequest>,
    refused_above: Option<Mode>,
}

fn judge(validator: &Validator, addressed: &Addressed, json: &[u8]) -> Result<Judged, Refusal> {
    let facts = validator.json(json)?;
    Ok(Judged { named: named(addressed, &facts), refused_above: validator.refused_above(json) })
}

/// URL and body have to agree.
fn named(addressed: &Addressed, facts: &Facts<'_>) -> Result<(Key, Version), BadRequest> {
    if addressed.resource_type.as_deref().is_some_and(|stated| *stated != *facts.resource_type) {
        return Err(BadRequest::UrlDisagrees);
    }
    let id = facts.id.as_deref().ok_or(BadRequest::NoId)?;
    if addressed.id.as_deref().is_some_and(|stated| *stated != *id) {
        return Err(BadRequest::UrlDisagrees);
    }
    let key = Key::new(&facts.resource_type, id).map_err(|_| BadRequest::BadPath)?;
    Ok((key, Version::new(facts.version_id.as_deref(), facts.last_updated.as_deref())))
}

impl Report {
    fn of(delivery: &Delivery) -> Self {
        let (key, bytes) = match delivery {
            Delivery::Upsert { addressed, json, .. } => (addressed.key(), json.len()),
            Delivery::Delete { key } | Delivery::Changed { key } => (Some(key.clone()), 0),
        };
        Self {
            verdict: Verdict::Internal,
            interaction: delivery.interaction(),
            key,
            version: Version::default(),
            refused_above: None,
            bytes,
            attempts: 0,
            said: None,
            could_not: None,
            stages: Stages::default(),
        }
    }

    fn heard(&mut self, attempted: Attempted, started: Instant) -> Result<Verdict, Verdict> {
        self.stages.healthlake += started.elapsed();
        self.attempts = attempted.attempts;
        match attempted.result {
            Ok(said) => {
                let verdict = Verdict::from(&said);
                self.said = Some(said);
                Ok(verdict)
            }
            Err(could_not) => {
                self.could_not = Some(could_not);
                Err(could_not.into())
            }
        }
    }
}

impl From<&Said> for Verdict {
    fn from(said: &Said) -> Self {
        match &said.meaning {
            Meaning::Done(success) => Self::Mirrored(*success),
            Meaning::Gone => Self::AlreadyGone,
            Meaning::NotSupported => Self::NotMirrored,
            Meaning::Refused(issues) => Self::RefusedByHealthLake(issues.clone()),
            Meaning::Conflict => Self::Conflict,
            Meaning::TooLarge => Self::TooLarge { limit: None },
            Meaning::Throttled { retry_after } => Self::Throttled { retry_after: *retry_after },
            Meaning::NotAuthorized => Self::CredentialsRefused,
            Meaning::Unexpected => Self::UnexpectedAnswer,
            Meaning::Failed => Self::HealthLakeFailed { status: said.status.as_u16() },
        }
    }
}

impl From<CouldNot> for Verdict {
    fn from(could_not: CouldNot) -> Self {
        match could_not {
            CouldNot::Connect | CouldNot::Cut => Self::Unreachable,
            CouldNot::Deadline => Self::DeadlinePassed,
            CouldNot::Credentials => Self::CredentialsRefused,
            CouldNot::Sign => Self::Internal,
        }
    }
}
