//! Through the CDR: its `$trigger-subscription` delivers resources once more, by the Subscription's own channel, as
//! if they had changed. HAPI and Smile CDR have it. It answers with a job's number and tells nothing of it later;
//! how far it is shows in what arrives.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::cdr::{Cdr, CdrError};
use crate::delivery::Key;

/// What to deliver once more, and by which Subscription.
#[derive(Clone, Debug)]
pub struct Trigger {
    /// `Subscription/id`
    pub subscription: Key,
    /// As in `Patient?_lastUpdated=ge2026-01-01`
    pub searches: Vec<String>,
    pub resources: Vec<Key>,
}

/// A job that the CDR accepted.
#[derive(Debug)]
pub struct Triggered {
    /// In the CDR's words
    pub says: Option<String>,
    /// How many resources matched a moment before; None where the CDR does not count
    pub expected: Option<u64>,
}

#[derive(Debug, thiserror::Error)]
pub enum TriggerError {
    #[error("{0}")]
    Cdr(#[from] CdrError),
    #[error("the CDR has no {0}")]
    NoSubscription(Key),
    #[error("{0} is not active but `{1}`: the CDR would deliver nothing for it")]
    NotActive(Key, String),
    #[error(
        "the CDR has no $trigger-subscription ({0}): it is HAPI's and Smile CDR's; the direct way needs nothing of that kind"
    )]
    NotOffered(u16),
}

impl Trigger {
    /// Starts the job.
    pub async fn start(&self, cdr: &Cdr) -> Result<Triggered, TriggerError> {
        self.check(cdr).await?;
        let expected = self.expected(cdr).await;
        let path = format!("{}/$trigger-subscription", self.subscription);
        let answer = cdr.operation(&path, self.parameters()).await?;
        if matches!(answer.status, 404 | 405 | 501) {
            return Err(TriggerError::NotOffered(answer.status));
        }
        let answer = answer.success()?;
        Ok(Triggered { says: says(&answer.body), expected })
    }

    async fn check(&self, cdr: &Cdr) -> Result<(), TriggerError> {
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        let (status, body) = cdr.get(&self.subscription.to_string(), deadline).await?;
        match status {
            200 => {}
            404 | 410 => return Err(TriggerError::NoSubscription(self.subscription.clone())),
            status => {
                return Err(CdrError::Status { status, outcome: crate::cdr::Outcome::default() }.into());
            }
        }
        let subscription: Value = serde_json::from_slice(&body).unwrap_or_default();
        match subscription["status"].as_str() {
            Some("active") => Ok(()),
            other => {
                let known = ["requested", "error", "off"].into_iter().find(|known| Some(*known) == other);
                let status = known.unwrap_or("unknown").to_owned();
                Err(TriggerError::NotActive(self.subscription.clone(), status))
            }
        }
    }

    async fn expected(&self, cdr: &Cdr) -> Option<u64> {
        let mut sum = self.resources.len() as u64;
        for search in &self.searches {
            let (resource_type, query) = search.split_once('?')?;
            sum += cdr.count(resource_type, query).await.ok()?;
        }
        Some(sum)
    }

    fn parameters(&self) -> Bytes {
        let searches =
            self.searches.iter().map(|search| json!({ "name": "searchUrl", "valueString": search }));
        let resources =
            self.resources.iter().map(|key| json!({ "name": "resourceId", "valueUri": key.to_string() }));
        let parameter: Vec<Value> = searches.chain(resources).collect();
        json!({ "resourceType": "Parameters", "parameter": parameter }).to_string().into()
    }
}

/// The job's number, or the text around it: all the CDR says of it.
fn says(body: &[u8]) -> Option<String> {
    let answer: Value = serde_json::from_slice(body).ok()?;
    let texts =
        answer["parameter"].as_array()?.iter().find_map(|parameter| parameter["valueString"].as_str());
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    Some(texts?.chars().take(200).map(plain).collect())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_hapi_s() {
        let trigger = Trigger {
            subscription: Key::new("Subscription", "s").unwrap(),
            searches: vec!["Patient?".into()],
            resources: vec![Key::new("Patient", "1").unwrap()],
        };
        let parameters: Value = serde_json::from_slice(&trigger.parameters()).unwrap();
        let expected = json!([
            { "name": "searchUrl", "valueString": "Patient?" },
            { "name": "resourceId", "valueUri": "Patient/1" },
        ]);
        assert_eq!(parameters["parameter"], expected);
    }

    #[test]
    fn the_job_s_number_is_told() {
        let answer = br#"{"resourceType":"Parameters","parameter":[{"name":"information","valueString":"Subscription triggering job submitted as JOB ID: 1\u0000"}]}"#;
        assert_eq!(says(answer).unwrap(), "Subscription triggering job submitted as JOB ID: 1 ");
        assert_eq!(says(b"ok"), None);
    }
}
