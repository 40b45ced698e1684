//! A type's resources in windows of `_lastUpdated` small enough to be read whole. A resource that is updated leaves
//! its window for a later time, where it is live anyway; none ever enters one.

use jiff::{SignedDuration, Timestamp};

use crate::cdr::{Cdr, CdrError, Page};

/// What a FHIR server's clock tells at the least.
const TICK: SignedDuration = SignedDuration::from_millis(1);

/// `[from, until)` of `meta.lastUpdated`, in whole milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// A window with how many resources it had when it was counted.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    pub range: Range,
    pub count: u64,
}

/// The windows of one type, from the oldest on. Bounds are found when they are needed: a store of ten years asks
/// for no more counts than it has windows.
pub struct Windows<'a> {
    cdr: &'a Cdr,
    resource_type: &'a str,
    /// The next one last, with its count where it is known
    pending: Vec<(Range, Option<u64>)>,
    /// A window of more is halved.
    most: u64,
}

impl Range {
    /// FHIR search parameters
    pub fn query(&self) -> String {
        format!("_lastUpdated=ge{}&_lastUpdated=lt{}", instant(self.from), instant(self.until))
    }

    /// None where the bounds touch.
    fn halves(&self) -> Option<(Self, Self)> {
        let width = self.until.duration_since(self.from);
        if width <= TICK {
            return None;
        }
        let middle = floor(self.from + width / 2).max(self.from + TICK);
        Some((Self { until: middle, ..*self }, Self { from: middle, ..*self }))
    }
}

impl<'a> Windows<'a> {
    /// From the type's oldest resource, or from `from`, to its newest of now. What is written later is live.
    pub async fn of(
        cdr: &'a Cdr,
        resource_type: &'a str,
        from: Option<Timestamp>,
        most: u64,
    ) -> Result<Self, CdrError> {
        let mut windows = Self { cdr, resource_type, pending: Vec::new(), most: most.max(1) };
        if let Some(range) = windows.whole(from).await? {
            windows.pending.push((range, None));
        }
        Ok(windows)
    }

    async fn whole(&self, from: Option<Timestamp>) -> Result<Option<Range>, CdrError> {
        let Some(newest) = self.edge("-_lastUpdated").await? else { return Ok(None) };
        let Some(oldest) = self.edge("_lastUpdated").await? else { return Ok(None) };
        let (oldest, newest) = (oldest.min(newest), oldest.max(newest));
        // A server that does not sort names any two; its counts tell.
        let before = format!("_lastUpdated=lt{}", instant(oldest));
        let oldest = match self.cdr.count(self.resource_type, &before).await? {
            0 => oldest,
            _ => Timestamp::UNIX_EPOCH,
        };
        let mut until = newest + TICK;
        if self.cdr.count(self.resource_type, &format!("_lastUpdated=ge{}", instant(until))).await? > 0 {
            // Written just now, or not sorted: up to now, and the clocks may differ.
            until = until.max(floor(Timestamp::now()) + SignedDuration::from_mins(10));
        }
        let from = from.map_or(oldest, |from| floor(from).max(oldest));
        Ok((from < until).then_some(Range { from, until }))
    }

    /// `lastUpdated` of the first resource in that order
    async fn edge(&self, sort: &str) -> Result<Option<Timestamp>, CdrError> {
        let page = self.cdr.search(&format!("{}?_sort={sort}&_count=1", self.resource_type)).await?;
        let Some(first) = page.resources.first() else { return Ok(None) };
        let at = first.version.last_updated.as_deref().and_then(|at| at.parse::<Timestamp>().ok());
        at.map(|at| Some(floor(at))).ok_or(CdrError::Nonsense("resources without meta.lastUpdated"))
    }

    /// The next window that is not empty. After an error it may be called again.
    pub async fn next(&mut self) -> Result<Option<Window>, CdrError> {
        while let Some((range, known)) = self.pending.last().copied() {
            let count = match known {
                Some(count) => count,
                None => self.cdr.count(self.resource_type, &range.query()).await?,
            };
            let halves = range.halves().filter(|_| count > self.most);
            let split = match halves {
                Some((lower, upper)) => {
                    let first = self.cdr.count(self.resource_type, &lower.query()).await?;
                    // What left the lower half since is counted here and found missing when it is read.
                    Some([(upper, Some(count.saturating_sub(first))), (lower, Some(first))])
                }
                None => None,
            };
            self.pending.pop();
            match split {
                Some(halves) => self.pending.extend(halves),
                None if count > 0 => return Ok(Some(Window { range, count })),
                None => {}
            }
        }
        Ok(None)
    }

    /// The first page of a window.
    pub async fn first_page(&self, range: Range, page: u32) -> Result<Page, CdrError> {
        let Self { cdr, resource_type, .. } = self;
        let query = range.query();
        cdr.search(&format!("{resource_type}?{query}&_sort=_lastUpdated&_count={page}&_total=accurate")).await
    }
}

fn floor(at: Timestamp) -> Timestamp {
    let milliseconds = at.as_nanosecond().div_euclid(1_000_000);
    let whole = i64::try_from(milliseconds).ok().and_then(|at| Timestamp::from_millisecond(at).ok());
    whole.unwrap_or(at)
}

/// As FHIR's search takes it: three digits, in UTC, so that no `+` has to be escaped.
pub fn instant(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// The search parameter for what was stored from then on
pub fn since(at: Timestamp) -> String {
    format!("_lastUpdated=ge{}", instant(at))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn range(from: i64, width: i64) -> Range {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        Range { from: at(from), until: at(from + width) }
    }

    #[test]
    fn instants_are_written_as_search_takes_them() {
        let at: Timestamp = "2026-03-01T10:20:30.4567+02:00".parse().unwrap();
        assert_eq!(instant(at), "2026-03-01T08:20:30.456Z");
        assert_eq!(instant("2026-03-01T10:20:30Z".parse().unwrap()), "2026-03-01T10:20:30.000Z");
    }

    proptest! {
        #[test]
        fn halves_meet_and_end(from in 0i64..2_000_000_000_000, width in 1i64..400_000_000_000) {
            let whole = range(from, width);
            let (mut left, mut rounds) = (whole, 0);
            while let Some((lower, upper)) = left.halves() {
                prop_assert_eq!((lower.from, lower.until, upper.until), (left.from, upper.from, left.until));
                prop_assert!(lower.from < lower.until && upper.from < upper.until);
                left = if rounds % 2 == 0 { lower } else { upper };
                rounds += 1;
                prop_assert!(rounds < 50);
            }
            prop_assert_eq!(left.until.duration_since(left.from), TICK);
        }
    }
}
