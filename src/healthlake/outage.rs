//! Whether HealthLake takes writes: that it does again is worth one line in the log, since nobody repeats by hand what
//! failed meanwhile.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::{CouldNot, Meaning, Said};

#[derive(Default)]
pub(super) struct Outage {
    /// For the many writes that succeed
    failing: AtomicBool,
    /// Failures in a row, and when the first was
    failures: Mutex<Option<(u64, Instant)>>,
}

impl Outage {
    /// A write's outcome. Where it ends a row of failures: how many, and how long after the first. What HealthLake
    /// refuses or throttles says nothing of it.
    pub fn heard(&self, result: &Result<Said, CouldNot>) -> Option<(u64, Duration)> {
        let meaning = match result {
            Ok(said) => &said.meaning,
            Err(CouldNot::Sign) => return None,
            Err(_) => &Meaning::Failed,
        };
        match meaning {
            Meaning::Done(_) | Meaning::Gone if !self.failing.load(Ordering::Acquire) => None,
            Meaning::Done(_) | Meaning::Gone => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                self.failing.store(false, Ordering::Release);
                failures.take().map(|(number, since)| (number, since.elapsed()))
            }
            Meaning::Failed | Meaning::NotAuthorized | Meaning::Unexpected => {
                let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
                failures.get_or_insert((0, Instant::now())).0 += 1;
                self.failing.store(true, Ordering::Release);
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::verdict::Success;

    fn said(meaning: Meaning) -> Result<Said, CouldNot> {
        let (request_id, exception, etag) = (None, None, None);
        Ok(Said { status: StatusCode::OK, request_id, exception, issue_codes: Vec::new(), etag, meaning })
    }

    #[tokio::test(start_paused = true)]
    async fn a_row_of_failures_ends_once() {
        let outage = Outage::default();
        let done = || said(Meaning::Done(Success::Ok));
        assert_eq!(outage.heard(&done()), None);
        assert_eq!(outage.heard(&said(Meaning::Failed)), None);
        tokio::time::advance(Duration::from_secs(7)).await;
        assert_eq!(outage.heard(&Err(CouldNot::Connect)), None);
        assert_eq!(outage.heard(&said(Meaning::NotAuthorized)), None);
        assert_eq!(outage.heard(&done()), Some((3, Duration::from_secs(7))));
        assert_eq!(outage.heard(&done()), None);
        assert_eq!(outage.heard(&Err(CouldNot::Deadline)), None);
        assert_eq!(outage.heard(&said(Meaning::Gone)), Some((1, Duration::ZERO)));
    }

    #[tokio::test]
    async fn refusals_and_throttling_neither_begin_nor_end_one() {
        let outage = Outage::default();
        let others = [
            Meaning::NotSupported,
            Meaning::Refused(Vec::new()),
            Meaning::Conflict,
            Meaning::Throttled { retry_after: None },
        ];
        for meaning in &others {
            assert_eq!(outage.heard(&said(meaning.clone())), None);
        }
        assert_eq!(outage.heard(&said(Meaning::Done(Success::Ok))), None);
        outage.heard(&said(Meaning::Failed));
        for meaning in others {
            assert_eq!(outage.heard(&said(meaning)), None);
        }
        assert_eq!(outage.heard(&said(Meaning::Done(Success::Ok))).unwrap().0, 1);
    }
}
