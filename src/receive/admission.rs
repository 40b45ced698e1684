//! How much may be in flight: deliveries and bytes. What does not fit is refused at once, before its body
//! is read: a queue would only make the sender's own time run out.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::verdict::Verdict;

/// Bytes are counted in units of this size: a semaphore counts to 2^29 or more on every platform.
const UNIT: usize = 1024;

#[derive(Clone)]
pub struct Admission {
    deliveries: Arc<Semaphore>,
    most_deliveries: usize,
    bytes: Arc<Semaphore>,
    most_units: usize,
}

/// Held by a delivery until it has ended, whether or not its caller still waits.
#[derive(Debug)]
pub struct Admitted {
    _delivery: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Admission {
    pub fn new(deliveries: usize, bytes: usize) -> Self {
        let most_units = bytes.div_ceil(UNIT).max(1);
        Self {
            deliveries: Arc::new(Semaphore::new(deliveries)),
            most_deliveries: deliveries,
            bytes: Arc::new(Semaphore::new(most_units)),
            most_units,
        }
    }

    pub fn admit(&self, bytes: usize) -> Result<Admitted, Verdict> {
        let units = u32::try_from(bytes.div_ceil(UNIT)).map_err(|_| Verdict::Overloaded)?;
        let take = |semaphore: &Arc<Semaphore>, n| {
            semaphore.clone().try_acquire_many_owned(n).map_err(|_| Verdict::Overloaded)
        };
        Ok(Admitted { _delivery: take(&self.deliveries, 1)?, _bytes: take(&self.bytes, units)? })
    }

    /// All that may be in flight: one delivery that holds more could never be admitted.
    pub fn most_bytes(&self) -> usize {
        self.most_units * UNIT
    }

    pub fn in_flight(&self) -> usize {
        self.most_deliveries - self.deliveries.available_permits()
    }

    pub fn bytes_in_flight(&self) -> usize {
        (self.most_units - self.bytes.available_permits()) * UNIT
    }

    /// Returns once nothing is in flight.
    pub async fn drained(&self) {
        let all = u32::try_from(self.most_deliveries).unwrap_or(u32::MAX);
        let _ = self.deliveries.acquire_many(all).await;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn more_deliveries_or_bytes_than_allowed_are_refused() {
        let admission = Admission::new(2, 10 * UNIT);
        let one = admission.admit(UNIT).unwrap();
        let _two = admission.admit(0).unwrap();
        assert_eq!(admission.admit(0).unwrap_err(), Verdict::Overloaded);
        drop(one);
        assert_eq!(admission.admit(11 * UNIT).unwrap_err(), Verdict::Overloaded);
        assert_eq!((admission.in_flight(), admission.bytes_in_flight()), (1, 0));
        let _three = admission.admit(10 * UNIT).unwrap();
        assert_eq!((admission.in_flight(), admission.bytes_in_flight()), (2, 10 * UNIT));
    }

    #[tokio::test]
    async fn drained_waits_for_the_last_one() {
        let admission = Admission::new(2, UNIT);
        let one = admission.admit(UNIT).unwrap();
        let drained = admission.drained();
        tokio::pin!(drained);
        assert!(futures_util::FutureExt::now_or_never(&mut drained).is_none());
        drop(one);
        drained.await;
    }
}
