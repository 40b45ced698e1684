//! Write capacity, counted as HealthLake counts it: a unit for each KB of payload begun.

use jiff::Timestamp;

pub(super) struct Capacity {
    per_second: Option<u32>,
    /// Below zero while a payload of more than a second's worth is paid off.
    left: f64,
    since: Option<Timestamp>,
}

impl Capacity {
    pub(super) fn new(per_second: Option<u32>) -> Self {
        Self { per_second, left: per_second.map_or(0.0, f64::from), since: None }
    }

    /// Whether a write of `units` may pass now. One of more than a second's worth waits for a full second.
    pub(super) fn take(&mut self, units: u32, now: Timestamp) -> bool {
        let Some(per_second) = self.per_second.map(f64::from) else { return true };
        let passed = self.since.map_or(0.0, |since| now.duration_since(since).as_secs_f64().max(0.0));
        self.since = Some(now);
        self.left = (self.left + passed * per_second).min(per_second);
        if self.left < f64::from(units).min(per_second) {
            return false;
        }
        self.left -= f64::from(units);
        true
    }
}

/// Units of a payload; reading back strongly or writing as one unit costs twice.
pub(super) fn units(bytes: usize, doubled: bool) -> u32 {
    let units = u32::try_from(bytes.div_ceil(1024).max(1)).unwrap_or(u32::MAX);
    if doubled { units.saturating_mul(2) } else { units }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn units_are_kilobytes_begun() {
        assert_eq!([0, 1, 1024, 1025, 4096].map(|bytes| units(bytes, false)), [1, 1, 1, 2, 4]);
        assert_eq!(units(4096, true), 8);
    }

    #[test]
    fn a_second_fills_a_seconds_worth() {
        let (mut capacity, start) = (Capacity::new(Some(10)), Timestamp::UNIX_EPOCH);
        assert!((0..10).all(|_| capacity.take(1, start)));
        assert!(!capacity.take(1, start));
        assert!(capacity.take(5, start + Duration::from_millis(500)));
        assert!(!capacity.take(1, start + Duration::from_millis(500)));
        // A large payload passes when the bucket is full, and is paid off afterwards.
        assert!(capacity.take(30, start + Duration::from_secs(60)));
        assert!(!capacity.take(1, start + Duration::from_secs(62)));
        assert!(capacity.take(1, start + Duration::from_millis(62_500)));
    }

    #[test]
    fn no_limit_is_no_limit() {
        assert!(Capacity::new(None).take(u32::MAX, Timestamp::UNIX_EPOCH));
    }
}
