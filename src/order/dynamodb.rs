//! Records in a DynamoDB table that replicas share: one item a resource, changed by single-item conditional
//! updates only. Every change says in its condition what it relies on, so two replicas need to agree on nothing
//! else, and a request that arrives late, twice or after its sender's end does no harm.

mod check;
mod client;
mod error;
mod item;
#[cfg(test)]
pub(crate) mod simulated;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
#[cfg(test)]
use std::sync::Arc;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure as OnConditionFailure,
};

use super::record::Record;
use super::store::{Answer, ClaimRequest, Claimed, Owner, Settled, Store, StoreError};
use crate::delivery::Key;
pub use check::CheckError;
pub use client::{Bounds, client};
#[cfg(test)]
pub(crate) use item::Item as SimulatedItem;
use item::{Done, Item, PK};

/// Longer than any resource rests between a version and a retry of the one before.
pub const DEFAULT_RETENTION: Duration = Duration::from_secs(90 * 24 * 60 * 60);

/// How often a claim tries again because the item changed between the refusal and the look at it.
const ROUNDS: usize = 3;

pub struct DynamoStore {
    client: Client,
    table: String,
    retention: Duration,
    /// Which claim each owner in flight was given.
    turns: Mutex<HashMap<(Key, u128), u64>>,
    #[cfg(test)]
    simulated: Option<Arc<dyn simulated::Service>>,
}

/// What came of a conditional update.
pub(crate) enum Updated {
    /// The item as it was before.
    Yes(Item),
    /// The condition did not hold; the item, if it came with the refusal (the service sends it, dynalite does not).
    No(Option<Item>),
}

impl DynamoStore {
    /// A resource that was not claimed for `retention` is forgotten.
    pub fn new(client: Client, table: String, retention: Duration) -> Self {
        Self {
            client,
            table,
            retention,
            turns: Mutex::default(),
            #[cfg(test)]
            simulated: None,
        }
    }

    /// Over a table without a socket, for `crate::simulation`; `client` is not used.
    #[cfg(test)]
    pub(crate) fn simulated(service: Arc<dyn simulated::Service>, client: Client) -> Self {
        Self { simulated: Some(service), ..Self::new(client, String::new(), DEFAULT_RETENTION) }
    }

    async fn try_claim(&self, key: &Key, request: &ClaimRequest) -> Result<Claimed, StoreError> {
        let mut closed_before = false;
        for _ in 0..ROUNDS {
            let found = match self.take(key, request, closed_before).await? {
                Updated::Yes(before) => {
                    let turn = before.turn()? + 1;
                    return self.claimed(key, before, turn, request).await;
                }
                Updated::No(found) => self.current(key, found).await?,
            };
            match found.claimant()? {
                // The answer to an earlier attempt was lost, or the claim is prolonged.
                Some(owner) if owner == request.owner => {
                    if let Updated::Yes(before) = self.prolong(key, request).await? {
                        let turn = before.turn()?;
                        return self.claimed(key, before, turn, request).await;
                    }
                }
                Some(_) if found.claim_ends()? > request.now => {
                    return Ok(Claimed::No { until: found.claim_ends()? });
                }
                _ => {}
            }
            // Given back or ended meanwhile, or it was free and this owner had the claim before.
            closed_before = found.was_closed_by(request.owner);
        }
        // It changed hands under our eyes, thrice: the caller may ask again at once.
        Ok(Claimed::No { until: request.now })
    }

    /// Takes a free resource, or one whose claim has ended: that claim moves among what was left behind, in the same
    /// update, so that no crash can lose it. The condition on `done` is for a request that was held up on its way and
    /// arrives after its owner's claim was closed: it must not claim for nobody. `closed_before` leaves it out. One that
    /// arrives after another's claim was closed does claim for nobody, under another `turn`: it only costs time.
    async fn take(
        &self,
        key: &Key,
        request: &ClaimRequest,
        closed_before: bool,
    ) -> Result<Updated, StoreError> {
        let mut condition =
            "(attribute_not_exists(claimant) OR (claim_ends <= :now AND claimant <> :me))".to_owned();
        let mut values = item::claim_values(request, self.retention)?;
        values.insert(":now".to_owned(), item::number(request.now));
        values.insert(":none".to_owned(), AttributeValue::L(Vec::new()));
        if !closed_before {
            condition.push_str(" AND (attribute_not_exists(done) OR NOT done IN (:settled, :released))");
            values.insert(":settled".to_owned(), Done::Settled.by(request.owner));
            values.insert(":released".to_owned(), Done::Released.by(request.owner));
        }
        let update = "SET left_behind = list_append(if_not_exists(left_behind, :none), if_not_exists(claim, :none)), \
                      claim = :claim, claimant = :me, claim_ends = :until, expires = :expires, \
                      turn = if_not_exists(turn, :zero) + :one";
        values.insert(":zero".to_owned(), item::number(0));
        values.insert(":one".to_owned(), item::number(1));
        self.update(key, update, &condition, values, ReturnValue::AllOld).await
    }

    async fn prolong(&self, key: &Key, request: &ClaimRequest) -> Result<Updated, StoreError> {
        let values = item::claim_values(request, self.retention)?;
        let update = "SET claim = :claim, claim_ends = :until, expires = :expires";
        self.update(key, update, "claimant = :me", values, ReturnValue::AllOld).await
    }

    async fn claimed(
        &self,
        key: &Key,
        before: Item,
        turn: u64,
        request: &ClaimRequest,
    ) -> Result<Claimed, StoreError> {
        self.turns().insert((key.clone(), request.owner.0), turn);
        let record = match before.record(request) {
            Ok(record) => record,
            Err(error) => {
                let _ = self.try_release(key, request.owner).await;
                return Err(error);
            }
        };
        if let Some(kept) = before.worth_keeping(request)? {
            // A resource whose claimants crash one after the other. The claim stands whatever comes of this.
            let values = values([(":kept", kept), (":me", item::owner(request.owner))]);
            let _ = self
                .update(key, "SET left_behind = :kept", "claimant = :me", values, ReturnValue::None)
                .await;
        }
        Ok(Claimed::Yes(record))
    }

    async fn try_settle(&self, key: &Key, owner: Owner, record: &Record) -> Result<Settled, StoreError> {
        let done = Done::Settled.by(owner);
        let record = item::encode(record)?;
        let values =
            values([(":record", record.clone()), (":done", done.clone()), (":me", item::owner(owner))]);
        let update = "SET remembered = :record, done = :done REMOVE claim, claimant, claim_ends, left_behind";
        let turn = self.turns().remove(&(key.clone(), owner.0));
        match self.close(key, update, turn, values).await? {
            Updated::Yes(_) => Ok(Settled::Yes),
            Updated::No(found) => {
                // It may be our own first attempt, whose answer was lost, that gave the claim back.
                let found = self.current(key, found).await?;
                let ours = found.get("done") == Some(&done) && found.get("remembered") == Some(&record);
                Ok(if ours { Settled::Yes } else { Settled::Lost })
            }
        }
    }

    async fn try_release(&self, key: &Key, owner: Owner) -> Result<(), StoreError> {
        let values = values([(":done", Done::Released.by(owner)), (":me", item::owner(owner))]);
        let update = "SET done = :done REMOVE claim, claimant, claim_ends";
        let turn = self.turns().remove(&(key.clone(), owner.0));
        self.close(key, update, turn, values).await.map(|_| ())
    }

    /// Only the claim that was given: the same owner has another one where a request of its own was held up on its way
    /// until after the end, and what it says under that would undo what others have written meanwhile.
    async fn close(
        &self,
        key: &Key,
        update: &str,
        turn: Option<u64>,
        mut values: HashMap<String, AttributeValue>,
    ) -> Result<Updated, StoreError> {
        let mut condition = "claimant = :me";
        if let Some(turn) = turn {
            condition = "claimant = :me AND turn = :turn";
            values.insert(":turn".to_owned(), item::number(turn));
        }
        self.update(key, update, condition, values, ReturnValue::None).await
    }

    fn turns(&self) -> MutexGuard<'_, HashMap<(Key, u128), u64>> {
        self.turns.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn update(
        &self,
        key: &Key,
        update: &str,
        condition: &str,
        values: HashMap<String, AttributeValue>,
        before: ReturnValue,
    ) -> Result<Updated, StoreError> {
        #[cfg(test)]
        if let Some(service) = &self.simulated {
            let (pk, update, condition) = (key.to_string(), update.to_owned(), condition.to_owned());
            return service.update(simulated::Update { pk, update, condition, values }).await;
        }
        let sent = self
            .client
            .update_item()
            .table_name(&self.table)
            .key(PK, AttributeValue::S(key.to_string()))
            .update_expression(update)
            .condition_expression(condition)
            .set_expression_attribute_values(Some(values))
            .return_values(before)
            .return_values_on_condition_check_failure(OnConditionFailure::AllOld)
            .send()
            .await;
        let error = match sent {
            Ok(answer) => return Ok(Updated::Yes(Item(answer.attributes.unwrap_or_default()))),
            Err(error) => error,
        };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(Updated::No(failed.item.clone().map(Item)))
            }
            _ => Err(error::store_error("UpdateItem", &error)),
        }
    }

    /// The item as it is; an empty one where there is none.
    async fn current(&self, key: &Key, found: Option<Item>) -> Result<Item, StoreError> {
        if let Some(found) = found {
            return Ok(found);
        }
        #[cfg(test)]
        if let Some(service) = &self.simulated {
            return service.get(key.to_string()).await;
        }
        let read = self.client.get_item().table_name(&self.table).key(PK, AttributeValue::S(key.to_string()));
        let answer = read.consistent_read(true).send().await;
        let answer = answer.map_err(|error| error::store_error("GetItem", &error))?;
        Ok(Item(answer.item.unwrap_or_default()))
    }
}

impl Store for DynamoStore {
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed> {
        Box::pin(async move { self.try_claim(key, &request).await })
    }

    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled> {
        Box::pin(async move { self.try_settle(key, owner, &record).await })
    }

    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()> {
        Box::pin(self.try_release(key, owner))
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn name(&self) -> &'static str {
        "dynamodb"
    }
}

fn values<const N: usize>(values: [(&str, AttributeValue); N]) -> HashMap<String, AttributeValue> {
    values.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}
