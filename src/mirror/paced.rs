//! A delivery of a command that has many: within the budget, and sent again for as long as that may help.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::pace::{Pace, units};
use super::{Mirror, NoAnswer, Told};
use crate::delivery::Delivery;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// Forwards until the verdict is final, or until `patience` is over; then the last answer counts. What it learns of
/// HealthLake's quota goes into the budget.
pub async fn paced(
    mirror: &dyn Mirror,
    pace: &Pace,
    delivery: Delivery,
    patience: Duration,
) -> Result<Told, NoAnswer> {
    let units = match &delivery {
        Delivery::Upsert { json, .. } => units(json.len()),
        Delivery::Delete { .. } | Delivery::Changed { .. } => 1,
    };
    let until = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    loop {
        let sent = pace.take(units).await;
        let told = mirror.forward(delivery.clone()).await;
        let wait = match &told {
            Ok(told) if told.verdict == "throttled" && told.attempts > 0 => {
                pace.throttled(sent, told.retry_after());
                told.retry_after().unwrap_or_default()
            }
            Ok(told) if told.retryable => {
                // Two writers of one resource say nothing of HealthLake's state.
                if !matches!(told.verdict.as_str(), "conflict" | "unsettled" | "throttled") {
                    pace.failed(sent);
                }
                pause
            }
            Ok(told) => {
                if told.attempts == 0 {
                    pace.unused(sent)
                } else {
                    pace.took(sent)
                }
                return Ok(told.clone());
            }
            // It will say the same again.
            Err(NoAnswer::Refused { status: 400..500, .. } | NoAnswer::Foreign(_)) => return told,
            Err(_) => {
                pace.failed(sent);
                pause
            }
        };
        if Instant::now() + wait >= until {
            return told;
        }
        sleep(wait).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
