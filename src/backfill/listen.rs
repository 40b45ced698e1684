//! What arrives at the running instance while the CDR delivers: its `/metrics` count live deliveries.

use std::time::Duration;

/// The admin address of the running instance.
pub struct Live {
    client: reqwest::Client,
    url: String,
}

#[derive(Debug, thiserror::Error)]
#[error("the running instance's metrics at {0} can't be read")]
pub struct LiveError(String);

const LIVE: &str = "lakehook_deliveries_total{";

impl Live {
    /// `admin` is `http://ADDR`.
    pub fn at(admin: &str) -> Result<Self, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        Ok(Self { client, url: format!("{}/metrics", admin.trim_end_matches('/')) })
    }

    /// Live deliveries since the instance's start: all, and those not settled.
    pub async fn deliveries(&self) -> Result<(u64, u64), LiveError> {
        let failed = |_| LiveError(self.url.clone());
        let answer = self.client.get(&self.url).send().await.map_err(failed)?;
        let text = answer.error_for_status().map_err(failed)?.text().await.map_err(failed)?;
        Ok(sum(&text))
    }
}

fn sum(metrics: &str) -> (u64, u64) {
    let (mut all, mut failed) = (0, 0);
    for line in metrics.lines().filter_map(|line| line.strip_prefix(LIVE)) {
        let Some((labels, value)) = line.split_once("} ") else { continue };
        let value: u64 = value.trim().parse().unwrap_or(0);
        if labels.contains("source=\"live\"") {
            all += value;
            let settled =
                ["mirrored", "already-gone", "not-mirrored", "superseded", "filtered", "dead-lettered"];
            if !settled.iter().any(|verdict| labels.contains(&format!("verdict=\"{verdict}\""))) {
                failed += value;
            }
        }
    }
    (all, failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn live_deliveries_are_summed_up() {
        let metrics = "# TYPE lakehook_deliveries counter\n\
            lakehook_deliveries_total{verdict=\"mirrored\",resource_type=\"Patient\",interaction=\"upsert\",source=\"live\"} 5\n\
            lakehook_deliveries_total{verdict=\"invalid\",resource_type=\"Patient\",interaction=\"upsert\",source=\"live\"} 2\n\
            lakehook_deliveries_total{verdict=\"mirrored\",resource_type=\"Patient\",interaction=\"upsert\",source=\"resend\"} 7\n\
            lakehook_rejected_total{verdict=\"invalid\"} 9\n";
        assert_eq!(sum(metrics), (7, 2));
    }
}
