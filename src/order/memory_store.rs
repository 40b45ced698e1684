//! What was forwarded, in memory: bounded by bytes, lost with the process. Losing it loses no delivery and
//! blocks none; it costs only the check.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::claims::Claims;
use super::compact::{self, Standing};
use super::recent::Recent;
use super::record::{Millis, Record};
use super::store::{Answer, ClaimRequest, Claimed, Owner, Settled, Store};
use crate::delivery::Key;

/// Locks are held for a look-up only; many of them, so that deliveries of different resources rarely meet.
const SHARDS: usize = 16;

pub struct MemoryStore {
    shards: [Mutex<Shard>; SHARDS],
    hasher: RandomState,
}

struct Shard {
    claims: Claims,
    recent: Recent,
    /// The latest time that a claimant told
    now: Millis,
    /// Reused, so that a settle allocates once
    bytes: Vec<u8>,
}

impl MemoryStore {
    /// Remembers as many resources as fit in `max_bytes`: those used longest ago are forgotten first, but none
    /// that is claimed, or that something may still land on.
    pub fn new(max_bytes: usize) -> Self {
        let shard = || {
            let recent = Recent::new(max_bytes / SHARDS);
            Mutex::new(Shard { claims: Claims::default(), recent, now: 0, bytes: Vec::new() })
        };
        Self { shards: std::array::from_fn(|_| shard()), hasher: RandomState::new() }
    }

    /// What the remembered resources take, about.
    pub fn bytes(&self) -> usize {
        self.shards.iter().map(|shard| lock(shard).recent.bytes()).sum()
    }

    fn shard(&self, key: &str) -> MutexGuard<'_, Shard> {
        lock(&self.shards[self.hasher.hash_one(key) as usize % SHARDS])
    }
}

/// Nothing in here panics half way: what a panic elsewhere left is whole.
fn lock(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shard {
    fn claim(&mut self, key: &str, request: ClaimRequest) -> Claimed {
        self.now = self.now.max(request.now);
        if let Err(until) = self.claims.claim(key, request) {
            return Claimed::No { until };
        }
        let mut record = self.recent.get(key).and_then(compact::decode).unwrap_or_default();
        self.claims.add_left_behind(key, &mut record);
        Claimed::Yes(record)
    }

    fn settle(&mut self, key: &str, owner: Owner, record: &Record) -> Settled {
        if !self.claims.holds(key, owner) {
            return Settled::Lost;
        }
        self.claims.settled(key);
        self.bytes.clear();
        compact::encode(record, &mut self.bytes);
        self.recent.put(key, &self.bytes);
        let (claims, now) = (&self.claims, self.now);
        self.recent.shrink(|key, bytes| {
            if claims.concerns(key) { Standing::Needed } else { compact::standing(bytes, now) }
        });
        Settled::Yes
    }
}

impl Store for MemoryStore {
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed> {
        let key = key.to_string();
        Box::pin(async move { Ok(self.shard(&key).claim(&key, request)) })
    }

    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled> {
        let key = key.to_string();
        Box::pin(async move { Ok(self.shard(&key).settle(&key, owner, &record)) })
    }

    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()> {
        let key = key.to_string();
        Box::pin(async move {
            self.shard(&key).claims.release(&key, owner);
            Ok(())
        })
    }

    fn len(&self) -> Option<usize> {
        Some(self.shards.iter().map(|shard| lock(shard).recent.len()).sum())
    }

    fn name(&self) -> &'static str {
        "memory"
    }
}

#[cfg(test)]
mod tests;
