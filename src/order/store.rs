//! Where records are kept: in memory, in a file, in DynamoDB.

use std::future::Future;
use std::pin::Pin;

use super::record::{Millis, Pending, Record, Write};
use crate::delivery::Key;

/// Names a claim: no two are alike, whichever replica made them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

/// The right to forward one resource's deliveries, until it ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimRequest {
    pub owner: Owner,
    pub until: Millis,
    pub now: Millis,
    /// What will be written under it: the next claimant reckons with it if this claim ends without a word.
    pub write: Write,
    /// What was sent before `until` can land this much later (milliseconds).
    pub settle: Millis,
}

/// A claim as a store keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Held {
    pub owner: u128,
    pub until: Millis,
    pub write: Write,
    pub settle: Millis,
}

impl Held {
    pub fn new(request: &ClaimRequest) -> Self {
        let ClaimRequest { owner, until, write, settle, .. } = request.clone();
        Self { owner: owner.0, until, write, settle }
    }

    /// What its owner may have sent, once it ended without a word: under this record, so conditional on the
    /// record's ETag where there is one.
    pub fn left_behind(self, record: &Record) -> Pending {
        Pending { write: self.write, if_match: record.etag, until: self.until + self.settle }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The record as it stands. Where an earlier claim ended without a word, what its owner may have written is
    /// among the pending ones.
    Yes(Record),
    /// Somebody else holds it, until then at the longest.
    No { until: Millis },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    Yes,
    /// The claim had ended and another has been made since, or the record was forgotten: nothing was written.
    Lost,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the order store failed: {0}")]
pub struct StoreError(pub String);

pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Every operation touches one resource, atomically. Callers in one process ask for one resource one after the
/// other; other processes may ask at any time.
#[allow(clippy::len_without_is_empty)]
pub trait Store: Send + Sync {
    /// Takes the claim if none is held (or the one held has ended by `now`, or is the same owner's), and reads the
    /// record. Unknown resources have the default record. Where the claim before ended without `settle` or
    /// `release`, what it left behind is added to the record's pending writes, and stays there until a `settle`.
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed>;

    /// Writes the record and gives the claim back, in one step, durably; only while `owner` still holds it.
    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled>;

    /// Gives the claim back; the record stays as it was. Nothing to do where the claim is not held any more.
    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()>;

    /// Resources remembered, where that is cheap to know.
    fn len(&self) -> Option<usize>;

    /// For logs: `memory`, `file`, `dynamodb`
    fn name(&self) -> &'static str;

    /// Before the process ends: everything is on disk, and it is known that nothing was in flight.
    fn close(&self) -> Answer<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}
