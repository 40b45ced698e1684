//! What was forwarded, in memory: bounded, lost with the process. Losing it loses no delivery and blocks
//! none; it costs only the check.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, PoisonError};

use lru::LruCache;
use tokio::sync::OwnedMutexGuard;

use super::State;
use crate::delivery::Key;

/// Locks are held for a look-up only; many of them, so that deliveries of different resources rarely meet.
const SHARDS: usize = 16;

type Entry = Arc<tokio::sync::Mutex<State>>;

pub struct Memory {
    shards: [Mutex<LruCache<Key, Entry>>; SHARDS],
    hasher: RandomState,
}

/// The right to forward one resource's deliveries. Others of that resource wait, in order of arrival.
pub type Claim = OwnedMutexGuard<State>;

impl Memory {
    /// Remembers about `resources` of them; what was used longest ago is forgotten first.
    pub fn new(resources: NonZeroUsize) -> Self {
        let each = resources.div_ceil(const { NonZeroUsize::new(SHARDS).expect("not zero") });
        Self {
            shards: std::array::from_fn(|_| Mutex::new(LruCache::sparse(each))),
            hasher: RandomState::new(),
        }
    }

    pub async fn claim(&self, key: &Key) -> Claim {
        self.entry(key).lock_owned().await
    }

    /// Resources remembered now.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, key: &Key) -> Entry {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(entry) = shard.get(key) {
            return entry.clone();
        }
        keep_claimed(&mut shard);
        let entry = Entry::default();
        shard.put(key.clone(), entry.clone());
        entry
    }
}

/// The one to be forgotten next must not be one that a delivery holds: a second one would then race it.
fn keep_claimed(shard: &mut LruCache<Key, Entry>) {
    for _ in 0..shard.len() {
        match shard.peek_lru() {
            Some((key, entry)) if Arc::strong_count(entry) > 1 => {
                let key = key.clone();
                shard.promote(&key);
            }
            _ => return,
        }
    }
    // All are held: there are never more of these than deliveries in flight.
    if shard.len() == shard.cap().get() {
        shard.resize(shard.cap().saturating_add(1));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn key(n: usize) -> Key {
        Key::new("Patient", &n.to_string()).unwrap()
    }

    #[tokio::test]
    async fn one_resource_is_claimed_by_one_at_a_time() {
        let memory = Memory::new(NonZeroUsize::new(10).unwrap());
        let claim = memory.claim(&key(1)).await;
        let same = key(1);
        let second = memory.claim(&same);
        tokio::pin!(second);
        assert!(futures_util::future::FutureExt::now_or_never(&mut second).is_none());
        memory.claim(&key(2)).await;
        drop(claim);
        second.await;
    }

    #[tokio::test]
    async fn the_memory_is_bounded_and_never_forgets_a_claimed_one() {
        let memory = Memory::new(NonZeroUsize::new(160).unwrap());
        let mut held = memory.claim(&key(0)).await;
        held.deleted();
        for n in 1..10_000 {
            memory.claim(&key(n)).await;
        }
        assert!(memory.len() <= 176, "{}", memory.len());
        drop(held);
        assert!(memory.claim(&key(0)).await.deleted);
    }
}
