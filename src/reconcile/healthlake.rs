//! HealthLake as a side: search by type with `page` tokens, reads by id. Search lags about 20 s behind and leaves
//! out what is being indexed, so nothing is concluded from it alone.

use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use tokio::time::{Instant, sleep};

use super::canonical::{Decimals, Digest, digest};
use super::side::{Cost, Held, Listed, Pace, Side, SideError, Window, at};
use crate::delivery::Key;
use crate::healthlake::{CouldNot, Exchange, HealthLake, Meaning};
use crate::order::record::Etag;
use crate::searchset::{Head, Searchset};

const SIDE: &str = "HealthLake";
/// The most that HealthLake gives.
const PAGE: usize = 100;
/// A page of 100 resources is read to this size, else smaller ones are asked for (bytes).
const LARGE: usize = 64 << 20;
/// For one request, with all attempts.
const PATIENCE: Duration = Duration::from_secs(120);
const ONE_ATTEMPT: Duration = Duration::from_secs(30);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// What needs no encoding in a signed query.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

pub struct AtHealthLake<'a> {
    healthlake: &'a HealthLake,
    decimals: Decimals,
    pace: Pace,
}

impl<'a> AtHealthLake<'a> {
    /// `per_second`: requests at most; HealthLake's own limit is 100 a data store.
    pub fn new(healthlake: &'a HealthLake, decimals: Decimals, per_second: u32) -> Self {
        Self { healthlake, decimals, pace: Pace::new(per_second) }
    }

    /// The types that it can be searched for, as its CapabilityStatement says.
    pub async fn types(&self) -> Result<Vec<String>, SideError> {
        let exchange = self.ask("metadata", "CapabilityStatement").await?;
        let statement: serde_json::Value = serde_json::from_slice(&exchange.body)
            .map_err(|_| failed("its metadata is no CapabilityStatement in JSON".into()))?;
        let rest = statement["rest"].as_array().cloned().unwrap_or_default();
        let resources = rest.iter().flat_map(|rest| rest["resource"].as_array().cloned().unwrap_or_default());
        Ok(resources.filter_map(|resource| resource["type"].as_str().map(str::to_owned)).collect())
    }

    /// One GET, again where that may help.
    async fn ask(&self, below: &str, kind: &str) -> Result<Exchange, SideError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            self.pace.turn().await;
            let answer = self.healthlake.ask(below, LARGE, Instant::now() + ONE_ATTEMPT).await;
            let wait = match &answer {
                Ok(exchange) => {
                    self.pace.answered(exchange.body.len());
                    match &exchange.said.meaning {
                        Meaning::NotSupported => {
                            return Err(SideError::NotSupported { side: SIDE, kind: kind.to_owned() });
                        }
                        Meaning::Throttled { retry_after } => retry_after.unwrap_or(pause).max(pause),
                        Meaning::Failed | Meaning::NotAuthorized => pause,
                        _ => return answer.map_err(|error| failed(error.to_string())),
                    }
                }
                Err(CouldNot::Sign) => return Err(failed("the request can't be signed".into())),
                Err(_) => pause,
            };
            if Instant::now() + wait >= until {
                return match answer {
                    Ok(exchange) => Err(refused(&exchange)),
                    Err(error) => Err(failed(error.to_string())),
                };
            }
            sleep(wait).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn held(&self, head: &Head<'_>, json: &[u8]) -> Result<Held, SideError> {
        Ok(Held {
            version: head.meta.version_id.as_deref().unwrap_or_default().to_owned(),
            updated: at(head.meta.last_updated.as_deref()),
            digest: digest(json, self.decimals).map_err(|error| failed(format!("a resource {error}")))?,
        })
    }
}

/// What of a next page's URL is asked for, below the data store's own endpoint: nothing is ever signed for another
/// place. Its host may be another name of the same store, as with PrivateLink.
fn follow(next: &str, kind: &str) -> Result<String, SideError> {
    let (path, query) = next.split_once('?').unwrap_or((next, ""));
    let of_kind = path.rsplit_once("/r4/").is_some_and(|(_, below)| below == kind);
    let query = (of_kind && !query.is_empty()).then(|| format!("{kind}?{query}"));
    query.ok_or_else(|| failed(format!("the next page is none of {kind}")))
}

impl Side for AtHealthLake<'_> {
    async fn list(&self, kind: &str, window: Window, next: Option<&str>) -> Result<Listed, SideError> {
        let query = match next {
            Some(query) => query.to_owned(),
            None => {
                let window = window.query();
                let and = if window.is_empty() { "" } else { "&" };
                format!("{kind}?_sort=_id{and}{window}")
            }
        };
        // Where resources are so large that a page of many is not read, a smaller one is asked for.
        let mut size = PAGE;
        loop {
            let exchange = self.ask(&signable(&query, size), kind).await?;
            if exchange.said.status != 200 {
                let token_refused = next.is_some() && exchange.said.status.is_client_error();
                return Err(if token_refused { SideError::PageGone(SIDE) } else { refused(&exchange) });
            }
            let Ok(bundle) = serde_json::from_slice::<Searchset<'_>>(&exchange.body) else {
                if size == 1 {
                    return Err(failed("its answer is no Bundle, or larger than 64 MiB".into()));
                }
                size = (size / 10).max(1);
                continue;
            };
            let mut listed = Listed::default();
            for raw in bundle.entry.iter().filter_map(|entry| entry.resource) {
                let head = Head::of(raw.get().as_bytes());
                if head.resource_type == kind && crate::delivery::is_id(&head.id) {
                    let held = self.held(&head, raw.get().as_bytes())?;
                    listed.resources.push((head.id.into_owned(), held));
                }
            }
            listed.next = bundle.link("next").map(|next| follow(next, kind)).transpose()?;
            return Ok(listed);
        }
    }

    /// There is no `_summary=count`.
    async fn count(&self, kind: &str, window: Window) -> Result<u64, SideError> {
        let window = window.query();
        let and = if window.is_empty() { "" } else { "&" };
        let query = signable(&format!("{kind}?_elements=id&_total=accurate{and}{window}"), 1);
        let exchange = self.ask(&query, kind).await?;
        if exchange.said.status != 200 {
            return Err(refused(&exchange));
        }
        let bundle: Option<Searchset<'_>> = serde_json::from_slice(&exchange.body).ok();
        bundle
            .and_then(|bundle| bundle.total)
            .ok_or_else(|| failed("no Bundle.total, though _total=accurate was asked for".into()))
    }

    async fn read(&self, key: &Key) -> Result<Option<Held>, SideError> {
        let exchange = self.ask(&key.to_string(), key.resource_type()).await?;
        match exchange.said.status.as_u16() {
            200 => {
                let head = Head::of(&exchange.body);
                let mut held = self.held(&head, &exchange.body)?;
                if let Some(Etag(version)) = exchange.said.etag.as_deref().and_then(Etag::parse) {
                    held.version = version.to_string();
                }
                Ok(Some(held))
            }
            // Without an OperationOutcome it is the data store that is missing.
            404 | 410 if !exchange.said.issue_codes.is_empty() => Ok(None),
            _ => Err(refused(&exchange)),
        }
    }

    async fn read_version(&self, key: &Key, version: u64) -> Result<Option<Digest>, SideError> {
        let exchange = self.ask(&format!("{key}/_history/{version}"), key.resource_type()).await?;
        Ok((exchange.said.status == 200).then(|| digest(&exchange.body, self.decimals).ok()).flatten())
    }

    fn cost(&self) -> Cost {
        self.pace.cost()
    }
}

/// The query with every value encoded as the signature has it, and the page's size. `page` tokens come with raw `=`,
/// `/` and `+`, which would be refused.
fn signable(query: &str, size: usize) -> String {
    let (path, query) = query.split_once('?').unwrap_or((query, ""));
    let mut pairs: Vec<String> = query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .filter(|(name, _)| *name != "_count")
        .map(|(name, value)| {
            let value = percent_decode_str(value).decode_utf8_lossy().into_owned();
            format!("{name}={}", utf8_percent_encode(&value, ENCODED))
        })
        .collect();
    pairs.push(format!("_count={size}"));
    format!("{path}?{}", pairs.join("&"))
}

fn failed(problem: String) -> SideError {
    SideError::Failed { side: SIDE, problem }
}

fn refused(exchange: &Exchange) -> SideError {
    let said = &exchange.said;
    let mut problem = format!("it answered {}", said.status.as_u16());
    for word in said.exception.iter().chain(&said.issue_codes) {
        problem.push_str(&format!(" {word}"));
    }
    if let Some(id) = &said.request_id {
        problem.push_str(&format!(" (request {id})"));
    }
    failed(problem)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_next_page_is_one_of_the_same_type_below_our_own_endpoint() {
        let next = "https://healthlake.us-east-1.amazonaws.com/datastore/0/r4/Patient?_count=100&page=A=";
        assert_eq!(follow(next, "Patient").as_deref(), Ok("Patient?_count=100&page=A="));
        for other in
            ["https://x/r4/Observation?page=A", "https://x/Patient?page=A", "https://x/r4/Patient", ""]
        {
            assert!(follow(other, "Patient").is_err(), "{other}");
        }
    }

    #[test]
    fn a_token_s_raw_characters_are_encoded_once() {
        let raw = "Patient?_sort=_id&_count=100&page=AA+/==";
        let signed = "Patient?_sort=_id&page=AA%2B%2F%3D%3D&_count=10";
        assert_eq!(signable(raw, 10), signed);
        assert_eq!(signable(signed, 10), signed);
        assert_eq!(
            signable("Patient?_lastUpdated=ge2026-01-01T00:00:00.000Z", 1),
            "Patient?_lastUpdated=ge2026-01-01T00%3A00%3A00.000Z&_count=1"
        );
    }
}
