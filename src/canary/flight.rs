//! One canary: written at the CDR, seen here on its way, found at HealthLake.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep, sleep_until};

use super::lost::subscription;
use super::{Lost, content};
use crate::cdr::{Answer, Cdr, Current};
use crate::delivery::Key;
use crate::healthlake::{Clock, HealthLake, Meaning};
use crate::operate::Recent;

/// For one question on either side.
const PATIENCE: Duration = Duration::from_secs(10);
/// Of HealthLake's answer so much is read (bytes): a canary is small.
const ANSWER_LIMIT: usize = 1 << 20;
/// HealthLake is asked again after a tenth of the time that has passed, but within these.
const PAUSE: std::ops::RangeInclusive<Duration> = Duration::from_millis(200)..=Duration::from_secs(5);
/// Deliveries of the canary that are looked at
const DELIVERIES: usize = 8;

/// Who flies.
pub struct Canary {
    pub cdr: Arc<Cdr>,
    pub key: Key,
    /// It is lost when it is not at HealthLake after so long.
    pub timeout: Duration,
    /// Id of the Subscription that delivers it, where it is not lakehook's usual one
    pub subscription: Option<String>,
    pub clock: Clock,
}

/// One that arrived. All count from the moment when the write began: the lag is never larger.
#[derive(Clone, Debug, PartialEq)]
pub struct Flight {
    /// The CDR's version of it, where the CDR says so
    pub version: Option<String>,
    /// The CDR had taken it.
    pub written: Duration,
    /// Its delivery to this instance had ended; none where another one had it.
    pub delivered: Option<Duration>,
    /// HealthLake was found to have it.
    pub arrived: Duration,
}

/// What a delivery of it came to.
enum Delivered {
    Mirrored(Duration),
    Refused(String),
}

/// What HealthLake has.
enum Found {
    /// A canary that carries this
    Value(String),
    Nothing,
    /// It could not be read; why, for people.
    Unread(String),
}

impl Canary {
    /// `recent` are the deliveries to this process, where it takes any.
    pub async fn fly(&self, healthlake: &HealthLake, recent: Option<&Recent>) -> Result<Flight, Lost> {
        let value = uuid::Uuid::new_v4().to_string();
        let json = self.content(&value).await?;
        let (at, started) = ((self.clock)(), Instant::now());
        let lost = |read, error| Lost::Cdr { key: self.key.clone(), read, error };
        let answer = self.cdr.update(&self.key, json, None).await.and_then(Answer::success);
        let version = version(&answer.map_err(|error| lost(false, error))?);
        let written = started.elapsed();
        let until = started + self.timeout;
        let mut delivered = None;
        let unread = loop {
            if delivered.is_none()
                && let Some(found) = recent.and_then(|recent| self.delivered(recent, version.as_deref(), at))
            {
                match found {
                    Delivered::Mirrored(after) => delivered = Some(after),
                    Delivered::Refused(verdict) => {
                        return Err(Lost::Refused { key: self.key.clone(), verdict });
                    }
                }
            }
            let unread = match self.at_healthlake(healthlake).await? {
                Found::Value(found) if found == value => {
                    let arrived = started.elapsed();
                    if let (None, Some(recent)) = (delivered, recent) {
                        delivered = self.ended(recent, version.as_deref(), at).await;
                    }
                    return Ok(Flight { version, written, delivered, arrived });
                }
                Found::Value(_) | Found::Nothing => None,
                Found::Unread(why) => Some(why),
            };
            let now = Instant::now();
            if now >= until {
                break unread;
            }
            let pause = (started.elapsed() / 10).clamp(*PAUSE.start(), *PAUSE.end());
            sleep_until((now + pause).min(until)).await;
        };
        let key = self.key.clone();
        Err(match (unread, delivered) {
            (Some(why), _) => Lost::NotRead { key, why },
            (None, Some(_)) => Lost::Overwritten { key },
            (None, None) => {
                let deadline = Instant::now() + PATIENCE;
                let subscription =
                    subscription(&self.cdr, self.subscription.as_deref(), &key, deadline).await;
                Lost::NotDelivered { key, waited: self.timeout, subscription }
            }
        })
    }

    /// HealthLake may show it before its delivery here has come to its end.
    async fn ended(&self, recent: &Recent, version: Option<&str>, at: SystemTime) -> Option<Duration> {
        for _ in 0..5 {
            if let Some(Delivered::Mirrored(after)) = self.delivered(recent, version, at) {
                return Some(after);
            }
            sleep(Duration::from_millis(100)).await;
        }
        None
    }

    async fn content(&self, value: &str) -> Result<bytes::Bytes, Lost> {
        let key = || self.key.clone();
        match self.cdr.read(&self.key, Instant::now() + PATIENCE).await {
            Err(error) => Err(Lost::Cdr { key: key(), read: true, error }),
            Ok(Current::Gone) => {
                content::fresh(&self.key, value).ok_or_else(|| Lost::NotThere { key: key() })
            }
            Ok(Current::Resource(json)) => {
                content::renewed(&json, value).ok_or_else(|| Lost::NotMarked { key: key() })
            }
        }
    }

    /// Lost at once where HealthLake does not take the type.
    async fn at_healthlake(&self, healthlake: &HealthLake) -> Result<Found, Lost> {
        let deadline = Instant::now() + PATIENCE;
        let exchange = match healthlake.ask(&self.key.to_string(), ANSWER_LIMIT, deadline).await {
            Ok(exchange) => exchange,
            Err(could_not) => return Ok(Found::Unread(could_not.to_string())),
        };
        if exchange.said.meaning == Meaning::NotSupported {
            return Err(Lost::Refused { key: self.key.clone(), verdict: "not-mirrored".into() });
        }
        Ok(match exchange.said.status.as_u16() {
            200 => content::value(&exchange.body).map_or(Found::Nothing, Found::Value),
            404 | 410 => Found::Nothing,
            status => Found::Unread(format!("HealthLake answered {status}")),
        })
    }

    /// The delivery of this version to this process, where it has ended for good.
    fn delivered(&self, recent: &Recent, version: Option<&str>, written: SystemTime) -> Option<Delivered> {
        let written = jiff::Timestamp::try_from(written).ok()?;
        let lines = recent.last(DELIVERIES, Some(&self.key.to_string()));
        lines.into_iter().find_map(|line| {
            // None where it came before.
            let after = Duration::try_from(line.at.duration_since(written)).ok()?;
            if version.is_some() && line.version_id.as_deref() != version {
                return None;
            }
            match line.verdict.as_str() {
                "mirrored" => Some(Delivered::Mirrored(after)),
                "not-mirrored" | "dead-lettered" | "invalid" | "refused-by-healthlake" => {
                    Some(Delivered::Refused(line.verdict))
                }
                _ => None,
            }
        })
    }
}

/// From the resource, or from the ETag of a server that returns none.
fn version(answer: &Answer) -> Option<String> {
    let stored: serde_json::Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let version = stored["meta"]["versionId"].as_str().map(str::to_owned);
    version.or_else(|| {
        let etag = answer.etag.as_deref()?.strip_prefix("W/").unwrap_or(answer.etag.as_deref()?);
        Some(etag.trim_matches('"').to_owned())
    })
}
