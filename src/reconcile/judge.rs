//! Judges suspects, by reads of their ids: a difference counts only if it still holds when every delivery of the
//! CDR's version must have ended.
//!
//! HealthLake is read first, then the CDR. If the CDR has the version that it had at a look before, and that look is
//! longer ago than a delivery takes, then it had this version when HealthLake was read, and HealthLake should have had
//! it too. Where the CDR moved on in between, the look begins anew: under a storm of updates nothing is alleged.
//!
//! What the CDR does not have has no version: it may have been there between the looks. Then HealthLake's version tells,
//! which every delivery in between would have changed.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio::time::sleep;

use super::canonical::Digest;
use super::finding::{Finding, Kind, Repair};
use super::index::{Index, Look, Suspect, Which};
use super::side::{At, Held, Side, SideError};
use super::sweep::SweepError;
use crate::delivery::{Delivery, Key};
use crate::mirror::{Mirror, patiently};

/// Suspects read into memory at a time.
const BATCH: usize = 256;
/// So many of the CDR's older versions are compared with what HealthLake has.
const VERSIONS_BACK: u64 = 5;

/// With so many that can't be read it is the server, not the resource.
const MOST_FAILED: u64 = 50;

pub struct Judge<'a, C, H> {
    pub cdr: &'a C,
    pub healthlake: &'a H,
    pub index: &'a Index,
    pub sweep: u32,
    /// Where repairs go; None: nothing is written.
    pub mirror: Option<&'a dyn Mirror>,
    /// A delivery has ended by then, with what its sender waits before it sends.
    pub settle: Duration,
    /// How often a suspect that changes meanwhile is looked at again
    pub rounds: u32,
    /// Reads at once
    pub parallel: usize,
    /// For one repair
    pub patience: Duration,
    pub now: fn() -> At,
    /// Types that turned out not to be supported
    pub unsupported: Mutex<std::collections::BTreeSet<String>>,
}

/// What a look at a suspect said.
#[derive(Debug)]
enum Said {
    Equal,
    /// The CDR's version has to be seen once more, later.
    LookAgain(Suspect),
    Different(Box<Finding>),
    NotSupported,
    /// A side could not be asked.
    Failed(SideError),
}

/// What is left over.
#[derive(Debug, Default)]
pub struct Left {
    /// Kept changing, so that they could not be judged
    pub undecided: u64,
    /// Could not be read
    pub failed: u64,
    /// Why, of the first one
    pub problem: Option<String>,
}

/// Both sides of a resource, HealthLake's read first.
struct Both {
    healthlake: Option<Held>,
    cdr: Option<Held>,
}

impl Both {
    fn equal(&self) -> bool {
        self.healthlake.as_ref().map(|held| held.digest) == self.expected()
    }

    /// What HealthLake has to hold: what the CDR has, unless the filter keeps it out.
    fn expected(&self) -> Option<Digest> {
        self.cdr.as_ref().and_then(Held::expected)
    }

    fn state(&self) -> String {
        let hex = |held: &Option<Held>| held.as_ref().map_or("-".to_owned(), |held| held.digest.hex());
        format!("{} {}", hex(&self.cdr), hex(&self.healthlake))
    }
}

impl<C: Side, H: Side> Judge<'_, C, H> {
    /// Tells of each difference that holds.
    pub async fn run(&self, found: &mut (dyn FnMut(Finding) + Send)) -> Result<Left, SweepError> {
        let mut left = Left::default();
        // A key that was told of stays a suspect.
        self.index.begin_to_tell()?;
        for _ in 0..self.rounds {
            left = Left::default();
            let mut from = None;
            loop {
                let batch = self.index.suspects(from.as_ref(), BATCH)?;
                let Some((last, _)) = batch.last() else { break };
                from = Some(last.clone());
                let mut left_to_judge = Vec::with_capacity(batch.len());
                for (key, suspect) in batch {
                    if !self.index.is_told(&key)? {
                        left_to_judge.push((key, suspect));
                    }
                }
                let mut told = Vec::new();
                let mut judged = stream::iter(left_to_judge)
                    .map(async |(key, suspect)| {
                        let said = match self.judge(&key, suspect).await {
                            Err(SweepError::Side(error)) => Ok(Said::Failed(error)),
                            said => said,
                        };
                        (key, said)
                    })
                    .buffer_unordered(self.parallel);
                while let Some((key, said)) = judged.next().await {
                    match said? {
                        Said::Equal => self.index.set_suspect(&key, None)?,
                        Said::NotSupported => {
                            self.index.set_suspect(&key, None)?;
                            lock(&self.unsupported).insert(key.resource_type().to_owned());
                        }
                        Said::LookAgain(suspect) => {
                            self.index.set_suspect(&key, Some(&suspect))?;
                            left.undecided += 1;
                        }
                        Said::Different(finding) => {
                            told.push(key);
                            found(*finding);
                        }
                        Said::Failed(error) => {
                            tracing::warn!(%key, %error, "could not be compared");
                            left.failed += 1;
                            if left.failed > MOST_FAILED {
                                return Err(error.into());
                            }
                            left.problem.get_or_insert_with(|| format!("{key}: {error}"));
                        }
                    }
                }
                // What the batch learned is on disk with it.
                self.index.tell(&told)?;
            }
            if left.undecided + left.failed == 0 {
                break;
            }
        }
        Ok(left)
    }

    async fn judge(&self, key: &Key, mut suspect: Suspect) -> Result<Said, SweepError> {
        if lock(&self.unsupported).contains(key.resource_type()) {
            return Ok(Said::NotSupported);
        }
        // The list that named the CDR's version was a look too. That it named none proves little: a search may lag.
        if suspect.look.is_none()
            && let Some(known) = self.index.get(Which::Cdr, key)?
            && !known.held.version.is_empty()
        {
            suspect.look = Some(Look { at: known.seen, version: Some(known.held.version), healthlake: None });
        }
        let settle = crate::order::record::millis(self.settle) as At;
        if let Some(look) = &suspect.look {
            let left = look.at.saturating_add(settle) - (self.now)();
            sleep(Duration::from_millis(u64::try_from(left).unwrap_or(0))).await;
        }
        let before = (self.now)();
        let both = match self.read(key).await {
            Err(SideError::NotSupported { .. }) => return Ok(Said::NotSupported),
            both => both?,
        };
        let after = (self.now)();
        self.learn(key, &both, after)?;
        if both.equal() {
            return Ok(Said::Equal);
        }
        let version = |held: &Option<Held>| {
            held.as_ref().map(|held| held.version.clone()).filter(|version| !version.is_empty())
        };
        let (cdr, healthlake) = (version(&both.cdr), version(&both.healthlake));
        let holds = suspect.look.as_ref().is_some_and(|look| {
            let unmoved = look.version == cdr && (cdr.is_some() || look.healthlake == healthlake);
            unmoved && look.at.saturating_add(settle) <= before
        });
        if !holds {
            suspect.look = Some(Look { at: after, version: cdr, healthlake });
            return Ok(Said::LookAgain(suspect));
        }
        let mut finding = self.finding(key, &suspect, &both).await?;
        if let Some(mirror) = self.mirror {
            let unsupported = self.repair(mirror, &mut finding, &mut suspect, &both).await?;
            if unsupported {
                return Ok(Said::NotSupported);
            }
        }
        Ok(Said::Different(Box::new(finding)))
    }

    async fn read(&self, key: &Key) -> Result<Both, SideError> {
        let healthlake = self.healthlake.read(key).await?;
        let cdr = self.cdr.read(key).await?;
        Ok(Both { healthlake, cdr })
    }

    fn learn(&self, key: &Key, both: &Both, at: At) -> Result<(), SweepError> {
        self.index.set(Which::HealthLake, key, both.healthlake.as_ref(), at, self.sweep)?;
        Ok(self.index.set(Which::Cdr, key, both.cdr.as_ref(), at, self.sweep)?)
    }

    async fn finding(&self, key: &Key, suspect: &Suspect, both: &Both) -> Result<Finding, SweepError> {
        let mut holds_version = None;
        let kind = match (&both.cdr, &both.healthlake) {
            (Some(_), None) | (None, None) => Kind::Missing,
            (None, Some(_)) => Kind::Extra,
            (Some(_), Some(_)) if both.expected().is_none() => Kind::Extra,
            (Some(cdr), Some(healthlake)) => {
                holds_version = self.older_version(key, cdr, healthlake).await?;
                let written_before = healthlake.updated < cdr.updated;
                if holds_version.is_some() || written_before { Kind::Stale } else { Kind::Altered }
            }
        };
        let version = |held: &Option<Held>| {
            held.as_ref().map(|held| held.version.clone()).filter(|version| !version.is_empty())
        };
        let updated = |held: &Option<Held>| held.as_ref().map(|held| held.updated);
        Ok(Finding {
            key: key.clone(),
            kind,
            cdr_version: version(&both.cdr),
            cdr_last_updated: updated(&both.cdr),
            healthlake_version: version(&both.healthlake),
            healthlake_last_updated: updated(&both.healthlake),
            holds_version,
            since: Some(suspect.since),
            repair: None,
            verdict: None,
        })
    }

    /// The CDR's version that HealthLake holds; only servers that number their versions tell.
    async fn older_version(
        &self,
        key: &Key,
        cdr: &Held,
        healthlake: &Held,
    ) -> Result<Option<u64>, SweepError> {
        let Ok(newest) = cdr.version.parse::<u64>() else { return Ok(None) };
        for version in (newest.saturating_sub(VERSIONS_BACK).max(1)..newest).rev() {
            // What the CDR does not keep or show proves nothing.
            let Ok(Some(digest)) = self.cdr.read_version(key, version).await else { continue };
            if digest == healthlake.digest {
                return Ok(Some(version));
            }
        }
        Ok(None)
    }

    /// Has the CDR's current state forwarded, and reads back. True: the type turned out not to be supported.
    async fn repair(
        &self,
        mirror: &dyn Mirror,
        finding: &mut Finding,
        suspect: &mut Suspect,
        both: &Both,
    ) -> Result<bool, SweepError> {
        if suspect.tried.as_deref() == Some(&both.state()) {
            // The same again would only make another version of the same.
            finding.repair = Some(Repair::Persisting);
            return Ok(false);
        }
        let key = finding.key.clone();
        // Both have the CDR asked again where that may matter. Of what the order memory believes to be deleted already,
        // only a delete is sent once more.
        let delivery = match finding.kind {
            Kind::Extra if both.cdr.is_none() => Delivery::Delete { key: key.clone() },
            _ => Delivery::Changed { key: key.clone() },
        };
        let told = patiently(mirror, delivery, self.patience).await;
        let told = match told {
            Ok(told) => told,
            Err(error) => {
                tracing::warn!(%key, %error, "repair not settled");
                finding.repair = Some(Repair::Unsettled);
                return Ok(false);
            }
        };
        finding.verdict = Some(told.verdict.clone());
        if told.verdict == crate::verdict::Verdict::NotMirrored.name() {
            return Ok(true);
        }
        if let Some(refused) = told.refused {
            // It is kept among the dead letters; HealthLake does not have it.
            finding.verdict = Some(refused);
            finding.repair = Some(Repair::Refused);
            return Ok(false);
        }
        if !told.settled {
            finding.repair = Some(if told.retryable { Repair::Unsettled } else { Repair::Refused });
            return Ok(false);
        }
        let after = self.read(&key).await?;
        self.learn(&key, &after, (self.now)())?;
        if after.equal() {
            self.index.set_suspect(&key, None)?;
            finding.repair = Some(Repair::Repaired);
        } else if after.cdr.as_ref().map(Held::name) != both.cdr.as_ref().map(Held::name) {
            // A live delivery is at it.
            suspect.look = None;
            self.index.set_suspect(&key, Some(suspect))?;
            finding.repair = Some(Repair::Unsettled);
        } else {
            suspect.tried = Some(after.state());
            self.index.set_suspect(&key, Some(suspect))?;
            finding.repair = Some(Repair::Persisting);
        }
        Ok(false)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
