//! Sending again what may be sent again, for commands that have more time than a CDR's delivery.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Mirror, NoAnswer, Told};
use crate::delivery::Delivery;

/// Between attempts, where HealthLake names no time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Forwards until the verdict is final, or `patience` is over: then the last answer counts. An instance that is gone
/// may come back within it.
pub async fn patiently(
    mirror: &dyn Mirror,
    delivery: Delivery,
    patience: Duration,
) -> Result<Told, NoAnswer> {
    let until = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let told = mirror.forward(delivery.clone()).await;
        let wait = match &told {
            Ok(told) if !told.retryable => return Ok(told.clone()),
            Ok(told) => told.retry_after().unwrap_or(pause).max(pause),
            // It will say the same again.
            Err(NoAnswer::Refused { status: 400..500, .. } | NoAnswer::Foreign(_)) => return told,
            Err(_) => pause,
        };
        if Instant::now() + wait >= until {
            return told;
        }
        sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Mutex;

    use super::super::Telling;
    use super::*;
    use crate::delivery::{Key, Version};

    struct Says(Mutex<Vec<Result<Told, NoAnswer>>>);

    impl Mirror for Says {
        fn forward(&self, _: Delivery) -> Telling<'_> {
            let mut left = self.0.lock().unwrap();
            let told = if left.len() > 1 { left.remove(0) } else { left[0].clone() };
            Box::pin(async { told })
        }

        fn way(&self) -> String {
            "a test".into()
        }
    }

    fn told(verdict: &str, retryable: bool, retry_after_ms: Option<u64>) -> Result<Told, NoAnswer> {
        Ok(Told {
            key: None,
            version: Version::default(),
            verdict: verdict.into(),
            settled: !retryable,
            in_doubt: false,
            retryable,
            retry_after_ms,
            refused: None,
            filter_rule: None,
            issues: Vec::new(),
            healthlake_status: None,
            healthlake_request_id: None,
            attempts: 1,
        })
    }

    fn gone() -> Delivery {
        Delivery::Delete { key: Key::new("Patient", "1").unwrap() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_passing_fault_is_outwaited() {
        let unreachable = || Err(NoAnswer::Unreachable("http://x".into()));
        let says = Says(Mutex::new(vec![
            told("throttled", true, Some(7_000)),
            unreachable(),
            told("mirrored", false, None),
        ]));
        let started = Instant::now();
        let last = patiently(&says, gone(), Duration::from_secs(60)).await.unwrap();
        assert_eq!(last.verdict, "mirrored");
        assert_eq!(started.elapsed().as_secs(), 8, "7 s as asked for, then 1 s");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_ends_with_the_last_answer() {
        let says = Says(Mutex::new(vec![told("unreachable", true, None)]));
        let last = patiently(&says, gone(), Duration::from_secs(20)).await.unwrap();
        assert_eq!(last.verdict, "unreachable");
        let wrong = NoAnswer::Refused { at: "x".into(), status: 401, advice: "" };
        let says = Says(Mutex::new(vec![Err(wrong.clone())]));
        let started = Instant::now();
        assert_eq!(patiently(&says, gone(), Duration::from_secs(20)).await, Err(wrong));
        assert!(started.elapsed().is_zero(), "not asked again");
    }
}
