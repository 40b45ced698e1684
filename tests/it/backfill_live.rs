//! Backfill beside live deliveries where HealthLake's quota is narrow: they come first, and it still ends.

use std::time::Duration;

use crate::backfill::{Bench, fill};
use crate::support::cdr::SmallCdr;

/// Writes of up to 1 KB that the sandbox takes in a second
const QUOTA: u32 = 100;

#[tokio::test]
async fn live_deliveries_pass_while_backfill_seeks_the_quota() {
    let cdr = SmallCdr::start().await;
    fill(&cdr, "Observation", 800);
    let bench = Bench::start_with(cdr, |config| config.write_units_per_second = Some(QUOTA)).await;
    let mut backfill = bench.app.start_command(&["backfill"]);
    let (mut live, mut throttled, mut version) = (0, 0, 0);
    // A fifth of the quota; a sender of HAPI's kind repeats what was not taken.
    while backfill.try_wait().unwrap().is_none() {
        version += 1;
        let json = format!(
            r#"{{"resourceType":"Patient","id":"live-{}","active":true,"meta":{{"versionId":"{version}"}}}}"#,
            version % 10
        );
        bench.cdr.put(&format!("Patient/live-{}", version % 10), serde_json::json!({ "active": true }));
        loop {
            let answer = bench.app.put(&format!("/Patient/live-{}", version % 10), json.clone()).await;
            live += 1;
            if answer.status < 300 {
                break;
            }
            assert_eq!(answer.status, 429, "{answer:?}");
            throttled += 1;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        tokio::time::sleep(Duration::from_millis(1_000 / u64::from(QUOTA / 5))).await;
    }
    let ended = backfill.wait_with_output().await.unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(0), "{err}");
    bench.assert_equal();
    let refused = bench.app.sandbox.requests().iter().filter(|line| line.status == Some(429)).count();
    assert!(refused > throttled, "the quota was met by backfill too: {refused}, {throttled} of them live");
    assert!(throttled * 5 < live, "{throttled} of {live} live deliveries met the quota: {err}");
}
