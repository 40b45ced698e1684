//! Deliveries of one resource in one process wait here for their turn, in order of arrival; but a newer version
//! passes older ones that wait, which are superseded then.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::version::compare;
use crate::delivery::{Key, Version};

/// Locks are held for a look-up only; many of them, so that deliveries of different resources rarely meet.
const SHARDS: usize = 16;

/// Resources that have a delivery, and those that wait behind it.
pub struct Queue {
    shards: [Mutex<HashMap<Key, Vec<Waiter>>>; SHARDS],
    hasher: RandomState,
    longest: usize,
}

struct Waiter {
    /// None: a delete, or an upsert that says nothing of its version. It is not passed.
    version: Option<Version>,
    wake: oneshot::Sender<Turn>,
}

/// The right to be the one delivery of this resource, until it is dropped.
pub struct Turn {
    queue: Arc<Queue>,
    key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many deliveries of one resource are waiting")]
pub struct TooMany;

impl Queue {
    /// `longest`: so many may wait for one resource.
    pub fn new(longest: usize) -> Arc<Self> {
        Arc::new(Self {
            shards: std::array::from_fn(|_| Mutex::default()),
            hasher: RandomState::new(),
            longest,
        })
    }

    pub async fn turn(self: &Arc<Self>, key: &Key, version: Option<Version>) -> Result<Turn, TooMany> {
        let turned = {
            let mut shard = self.shard(key);
            match shard.get_mut(key) {
                None => {
                    shard.insert(key.clone(), Vec::new());
                    return Ok(Turn { queue: self.clone(), key: key.clone() });
                }
                Some(waiting) if waiting.len() >= self.longest => return Err(TooMany),
                Some(waiting) => {
                    let (wake, turned) = oneshot::channel();
                    waiting.push(Waiter { version, wake });
                    turned
                }
            }
        };
        // A turn is only dropped with the queue.
        turned.await.map_err(|_| TooMany)
    }

    fn shard(&self, key: &Key) -> std::sync::MutexGuard<'_, HashMap<Key, Vec<Waiter>>> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut shard = self.queue.shard(&self.key);
            match shard.get_mut(&self.key) {
                Some(waiting) if !waiting.is_empty() => waiting.remove(next(waiting)),
                _ => {
                    shard.remove(&self.key);
                    return;
                }
            }
        };
        // One that does not wait any more gives it back at once, and that drop wakes the one behind.
        let _ = next.wake.send(Turn { queue: self.queue.clone(), key: self.key.clone() });
    }
}

/// The first, or the newest of those that may pass it.
fn next(waiting: &[Waiter]) -> usize {
    let mut next = 0;
    for (n, waiter) in waiting.iter().enumerate() {
        let (Some(version), Some(best)) = (&waiter.version, &waiting[next].version) else {
            if waiter.version.is_none() {
                break;
            }
            continue;
        };
        if compare(version, best) == Some(Ordering::Greater) {
            next = n;
        }
    }
    next
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn key() -> Key {
        Key::new("Patient", "a").unwrap()
    }

    fn v(number: u32) -> Option<Version> {
        Some(Version { version_id: Some(number.to_string().into()), last_updated: None })
    }

    /// In which order those that wait get their turn.
    async fn order(versions: Vec<Option<Version>>) -> Vec<usize> {
        let queue = Queue::new(100);
        let first = queue.turn(&key(), None).await.unwrap();
        let done = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = Vec::new();
        for (n, version) in versions.into_iter().enumerate() {
            let (queue, done) = (queue.clone(), done.clone());
            tasks.push(tokio::spawn(async move {
                let _turn = queue.turn(&key(), version).await.unwrap();
                done.lock().unwrap().push(n);
            }));
            tokio::task::yield_now().await;
        }
        drop(first);
        futures_util::future::join_all(tasks).await;
        assert!(queue.shard(&key()).is_empty(), "nothing is left behind");
        done.lock().unwrap().clone()
    }

    #[tokio::test]
    async fn turns_come_in_order_of_arrival_but_the_newest_passes_older_ones() {
        assert_eq!(order(vec![None, None, None]).await, [0, 1, 2]);
        assert_eq!(order(vec![v(1), v(3), v(2)]).await, [1, 2, 0]);
        assert_eq!(order(vec![v(2), v(2), v(1)]).await, [0, 1, 2]);
    }

    #[tokio::test]
    async fn a_delete_is_not_passed() {
        assert_eq!(order(vec![v(1), None, v(3)]).await, [0, 1, 2]);
        assert_eq!(order(vec![v(1), v(2), None, v(3)]).await, [1, 0, 2, 3]);
    }

    #[tokio::test]
    async fn the_wait_is_bounded_and_other_resources_do_not_wait() {
        let queue = Queue::new(1);
        let turn = queue.turn(&key(), None).await.unwrap();
        let same = key();
        let mut waiting = Box::pin(queue.turn(&same, None));
        assert!(waiting.as_mut().now_or_never().is_none());
        assert_eq!(queue.turn(&key(), None).await.err(), Some(TooMany));
        queue.turn(&Key::new("Patient", "b").unwrap(), None).await.unwrap();
        drop(turn);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn one_that_gave_up_does_not_hold_the_others() {
        let queue = Queue::new(10);
        let turn = queue.turn(&key(), None).await.unwrap();
        let (gone, same) = (key(), key());
        let mut gave_up = Box::pin(queue.turn(&gone, None));
        assert!(gave_up.as_mut().now_or_never().is_none());
        let mut waiting = Box::pin(queue.turn(&same, None));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(turn);
        // It has its turn, unseen, and gives it back.
        drop(gave_up);
        waiting.await.unwrap();
    }
}
