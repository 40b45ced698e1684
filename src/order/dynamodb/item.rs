//! One resource as an item. What conditions look at are attributes of their own; the rest is JSON in strings.
//!
//! | attribute | |
//! |---|---|
//! | `pk` | `Type/id` |
//! | `remembered` | the [`Record`], once a delivery was settled |
//! | `claimant`, `claim_ends` | who holds the claim, and until when; absent where nobody does |
//! | `claim` | the claim as a list of one [`Held`]: an expression can append a list to a list, nothing else |
//! | `turn` | counts the claims that were made |
//! | `left_behind` | claims that ended without a word since the last settle |
//! | `done` | whose claim was closed last, and how |
//! | `expires` | seconds since the epoch: when DynamoDB's TTL may remove it |

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use serde::Serialize;

use crate::order::record::{Millis, Record, millis};
use crate::order::store::{ClaimRequest, Held, Owner, StoreError};

pub const PK: &str = "pk";

/// From this many left-behind claims on, those of no use are dropped.
const MANY: usize = 32;

/// More than two replicas' clocks can differ by: AWS refuses a signature that is five minutes off.
const CLOCKS_DIFFER: Millis = 10 * 60 * 1000;

/// How a claim was closed.
#[derive(Clone, Copy)]
pub enum Done {
    Settled,
    Released,
}

impl Done {
    pub fn by(self, owner: Owner) -> AttributeValue {
        let how = match self {
            Self::Settled => "settled",
            Self::Released => "released",
        };
        AttributeValue::S(format!("{how} {}", hex(owner)))
    }
}

/// An item as it was read; empty where there is none.
#[derive(Clone, Default)]
pub struct Item(pub HashMap<String, AttributeValue>);

impl Item {
    pub fn get(&self, name: &str) -> Option<&AttributeValue> {
        self.0.get(name)
    }

    pub fn claimant(&self) -> Result<Option<Owner>, StoreError> {
        let Some(value) = self.get("claimant") else { return Ok(None) };
        let owner = value.as_s().ok().and_then(|text| u128::from_str_radix(text, 16).ok());
        owner.map(|owner| Some(Owner(owner))).ok_or_else(|| unreadable("claimant"))
    }

    pub fn claim_ends(&self) -> Result<Millis, StoreError> {
        self.whole_number("claim_ends")?.ok_or_else(|| unreadable("claim_ends"))
    }

    /// Of the claim held, or the last one; zero before the first.
    pub fn turn(&self) -> Result<u64, StoreError> {
        Ok(self.whole_number("turn")?.unwrap_or_default())
    }

    pub fn was_closed_by(&self, owner: Owner) -> bool {
        [Done::Settled, Done::Released].iter().any(|done| self.get("done") == Some(&done.by(owner)))
    }

    /// The record under a claim that replaced this item's.
    pub fn record(&self, request: &ClaimRequest) -> Result<Record, StoreError> {
        let mut record = match self.get("remembered") {
            Some(text) if !self.has_expired(request.now)? => decode("remembered", text)?,
            _ => Record::default(),
        };
        let left_behind = self.left_behind(request)?;
        let pending: Vec<_> = left_behind.into_iter().map(|held| held.left_behind(&record)).collect();
        record.pending.extend(pending);
        Ok(record)
    }

    /// What was left behind without what can't land any more by anybody's clock, once it has grown long.
    pub fn worth_keeping(&self, request: &ClaimRequest) -> Result<Option<AttributeValue>, StoreError> {
        let mut held = self.left_behind(request)?;
        if held.len() < MANY {
            return Ok(None);
        }
        held.retain(|held| {
            held.until.saturating_add(held.settle).saturating_add(CLOCKS_DIFFER) > request.now
        });
        held.iter().map(encode).collect::<Result<_, _>>().map(|kept| Some(AttributeValue::L(kept)))
    }

    /// Claims that ended without a word, the one that `request` replaced included; a claim is not its own successor.
    fn left_behind(&self, request: &ClaimRequest) -> Result<Vec<Held>, StoreError> {
        let mut held = self.held("left_behind")?;
        held.extend(self.held("claim")?.into_iter().filter(|held| held.owner != request.owner.0));
        Ok(held)
    }

    /// By our clock: TTL removes an item days late, or never where it is not switched on.
    fn has_expired(&self, now: Millis) -> Result<bool, StoreError> {
        Ok(self.whole_number("expires")?.is_some_and(|expires| expires <= now / 1000))
    }

    fn whole_number(&self, name: &'static str) -> Result<Option<u64>, StoreError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = value.as_n().ok().and_then(|number| number.parse().ok());
        number.map(Some).ok_or_else(|| unreadable(name))
    }

    fn held(&self, name: &'static str) -> Result<Vec<Held>, StoreError> {
        let Some(value) = self.get(name) else { return Ok(Vec::new()) };
        value.as_l().map_err(|_| unreadable(name))?.iter().map(|held| decode(name, held)).collect()
    }
}

/// The values of an update that makes or prolongs a claim.
pub fn claim_values(
    request: &ClaimRequest,
    retention: Duration,
) -> Result<HashMap<String, AttributeValue>, StoreError> {
    let retention = millis(retention);
    // Never before what the claim may write has landed, however short the retention.
    let expires = request.now.saturating_add(retention).max(request.until.saturating_add(request.settle));
    Ok(super::values([
        (":claim", AttributeValue::L(vec![encode(&Held::new(request))?])),
        (":me", owner(request.owner)),
        (":until", number(request.until)),
        (":expires", number(expires.div_ceil(1000))),
    ]))
}

pub fn owner(owner: Owner) -> AttributeValue {
    AttributeValue::S(hex(owner))
}

pub fn number(number: u64) -> AttributeValue {
    AttributeValue::N(number.to_string())
}

pub fn encode(value: &impl Serialize) -> Result<AttributeValue, StoreError> {
    serde_json::to_string(value).map(AttributeValue::S).map_err(|error| StoreError(error.to_string()))
}

fn decode<T: serde::de::DeserializeOwned>(name: &str, value: &AttributeValue) -> Result<T, StoreError> {
    let text = value.as_s().map_err(|_| unreadable(name))?;
    serde_json::from_str(text).map_err(|_| unreadable(name))
}

fn hex(owner: Owner) -> String {
    format!("{:032x}", owner.0)
}

/// Never read as "nothing is known": that would let the resource go back.
fn unreadable(name: &str) -> StoreError {
    StoreError(format!(
        "an item's attribute `{name}` is not what this version of lakehook writes: another version, or other \
         software, wrote it; an item that is deleted by hand is a resource forgotten"
    ))
}
