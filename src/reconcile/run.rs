//! A run from its types to its report: sweep, judge, repair.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::canonical::Decimals;
use super::export::{Export, load};
use super::finding::Finding;
use super::index::{Index, Suspect, Which};
use super::judge::Judge;
use super::report::{Extent, Report};
use super::side::{At, Side, SideError};
use super::sweep::{Sweep, SweepError};
use crate::delivery::Key;
use crate::filter::Filter;
use crate::mirror::Mirror;

/// What a run looks at.
#[derive(Clone, Debug)]
pub enum Scope {
    /// What changed since the last run, where there was one; with true, everything in any case. No types: those of
    /// both exports
    Types {
        types: Vec<String>,
        everything: bool,
    },
    Since {
        types: Vec<String>,
        since: At,
    },
    Ids(Vec<Key>),
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// A difference that is older counts.
    pub settle: Duration,
    /// The clocks of the three machines differ by less, and a write is in both servers' searches after less.
    pub overlap: Duration,
    pub parallel: usize,
    /// For one repair
    pub patience: Duration,
    /// How often what keeps changing is looked at again
    pub rounds: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(30),
            overlap: Duration::from_secs(600),
            parallel: 8,
            patience: Duration::from_secs(60),
            rounds: 3,
        }
    }
}

pub struct Run<'a, C, H> {
    pub cdr: &'a C,
    pub healthlake: &'a H,
    pub index: &'a Index,
    pub options: Options,
    /// Where repairs go; None: nothing is written.
    pub mirror: Option<&'a dyn Mirror>,
    /// Told how many resources a page of a list brought.
    pub heard: &'a (dyn Fn(&str, Which, usize) + Sync),
    /// Bulk exports that are read instead of a side's lists
    pub exports: [Option<&'a Export>; 2],
    pub decimals: Decimals,
    /// Of the CDR's resources, in its export
    pub filter: &'a Filter,
}

pub fn now() -> At {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    At::try_from(since.as_millis()).unwrap_or(At::MAX)
}

impl<C: Side, H: Side> Run<'_, C, H> {
    /// `found` is told of each difference that holds.
    pub async fn run(
        &self,
        scope: Scope,
        left_out: BTreeMap<String, String>,
        found: &mut (dyn FnMut(Finding) + Send),
    ) -> Result<Report, SweepError> {
        let started = now();
        let mut report = match &scope {
            Scope::Types { types, everything } => {
                let whole = *everything || self.first_time(types)?;
                let extent = match (self.exports, whole) {
                    ([Some(_), Some(_)], _) => Extent::Exports,
                    ([None, None], false) => Extent::Changes,
                    _ => Extent::Everything,
                };
                Report::new(extent, self.mirror.is_some(), started)
            }
            Scope::Since { .. } => Report::new(Extent::Since, self.mirror.is_some(), started),
            Scope::Ids(_) => Report::new(Extent::Ids, self.mirror.is_some(), started),
        };
        report.not_compared = left_out;
        let sweep = self.number(matches!(report.extent, Extent::Everything | Extent::Exports))?;
        match scope {
            Scope::Types { types, .. } => {
                let types = self.load(types, sweep).await?;
                for kind in &types {
                    self.one_type(kind, sweep, None, &mut report).await?;
                }
                if report.extent != Extent::Changes {
                    self.index.set_text("running", None)?;
                }
            }
            Scope::Since { types, since } => {
                for kind in &types {
                    self.one_type(kind, sweep, Some(since), &mut report).await?;
                }
            }
            Scope::Ids(keys) => {
                for key in keys {
                    report.compared(key.resource_type(), 1);
                    self.index.suspect(&key, &Suspect { since: started, ..Suspect::default() })?;
                }
            }
        }
        let judge = Judge {
            cdr: self.cdr,
            healthlake: self.healthlake,
            index: self.index,
            sweep,
            mirror: self.mirror,
            settle: self.options.settle,
            rounds: self.options.rounds,
            parallel: self.options.parallel,
            patience: self.options.patience,
            now,
            unsupported: Mutex::default(),
        };
        let left = judge
            .run(&mut |finding| {
                report.found(&finding);
                found(finding);
            })
            .await?;
        for kind in judge.unsupported.into_inner().unwrap_or_default() {
            report.types.remove(&kind);
            report.not_compared.insert(kind, NOT_AT_HEALTHLAKE.into());
        }
        (report.undecided, report.failed, report.problem) = (left.undecided, left.failed, left.problem);
        (report.cdr, report.healthlake) = (self.cdr.cost(), self.healthlake.cost());
        report.ended = Some(now());
        Ok(report)
    }

    /// Reads the exports there are. Gives the types that are compared.
    async fn load(&self, mut types: Vec<String>, sweep: u32) -> Result<Vec<String>, SweepError> {
        let mut found = BTreeSet::new();
        for which in Which::BOTH {
            let Some(export) = self.exports[which as usize] else { continue };
            let none = Filter::default();
            let filter = if which == Which::Cdr { self.filter } else { &none };
            let (index, read) = (self.index, (sweep, now()));
            found.append(&mut load(index, which, export, self.decimals, filter, read, self.heard).await?);
        }
        if types.is_empty() {
            types = found.into_iter().collect();
        }
        for which in Which::BOTH.into_iter().filter(|which| self.exports[*which as usize].is_some()) {
            for kind in &types {
                self.sweep(kind, sweep).listed(which)?;
            }
        }
        Ok(types)
    }

    /// A type that was never swept whole can only be compared whole.
    fn first_time(&self, types: &[String]) -> Result<bool, SweepError> {
        if self.index.text("running")?.is_some() {
            return Ok(true);
        }
        for kind in types {
            if self.sweep(kind, 0).known_until()?.is_none() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Of the sweep of everything that is under way, of a new one, or of the last one.
    fn number(&self, everything: bool) -> Result<u32, SweepError> {
        let number = |name: &str| -> Result<Option<u32>, SweepError> {
            Ok(self.index.text(name)?.and_then(|text| text.parse().ok()))
        };
        let last = number("sweep")?.unwrap_or(0);
        match number("running")? {
            Some(running) if everything => Ok(running),
            _ if everything => {
                let next = last + 1;
                self.index.set_text("sweep", Some(&next.to_string()))?;
                self.index.set_text("running", Some(&next.to_string()))?;
                self.index.keep()?;
                Ok(next)
            }
            _ => Ok(last),
        }
    }

    fn sweep<'a>(&'a self, kind: &'a str, sweep: u32) -> Sweep<'a, C, H> {
        let Self { cdr, healthlake, index, heard, .. } = self;
        Sweep { cdr, healthlake, index, kind, sweep, now, heard }
    }

    async fn one_type(
        &self,
        kind: &str,
        sweep: u32,
        since: Option<At>,
        report: &mut Report,
    ) -> Result<(), SweepError> {
        let this = self.sweep(kind, sweep);
        let overlap = crate::order::record::millis(self.options.overlap) as At;
        let compared = match (report.extent, since, this.known_until()?) {
            (_, Some(since), _) => this.changes(since, false).await,
            (Extent::Changes, None, Some(until)) => this.changes(until - overlap, true).await,
            _ => match this.everything().await {
                // An earlier attempt listed some of it: what changed since then is looked at too.
                Ok((compared, begun)) if begun < report.started.unwrap_or_default() => {
                    this.changes(begun - overlap, true).await.map(|_| compared)
                }
                outcome => outcome.map(|(compared, _)| compared),
            },
        };
        if self.exports.iter().any(Option::is_some) {
            // When an export was made is not known, so no later run can look at what changed since.
            this.forget_until()?;
        }
        match compared {
            Ok(compared) => report.compared(kind, compared),
            Err(SweepError::Side(SideError::NotSupported { side, .. })) => {
                let reason = if side == "HealthLake" {
                    NOT_AT_HEALTHLAKE.to_owned()
                } else {
                    format!("{side} does not let them be searched as it takes")
                };
                report.not_compared.insert(kind.to_owned(), reason);
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

pub const NOT_AT_HEALTHLAKE: &str = "HealthLake does not support them";
