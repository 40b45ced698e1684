//! The open connections, within their bound. Where it is reached, the one that has had no request for longest makes
//! room: who only opens connections and keeps them does not keep others out.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

use super::slow_head::Activity;

/// Where every connection serves a request, that often is looked whether one has ended.
const LOOK: Duration = Duration::from_millis(20);
const TELL: Duration = Duration::from_secs(60);

pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Mutex<HashMap<u64, Arc<Activity>>>,
    next: AtomicU64,
    told: Mutex<Told>,
}

#[derive(Default)]
struct Told {
    at: Option<Instant>,
    ended: u64,
}

/// A connection's place, until it is dropped.
pub(super) struct Place {
    pub activity: Arc<Activity>,
    number: u64,
    connections: Arc<Connections>,
    _permit: OwnedSemaphorePermit,
}

impl Connections {
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            places: Arc::new(Semaphore::new(most)),
            open: Mutex::default(),
            next: AtomicU64::new(0),
            told: Mutex::default(),
        })
    }

    /// For a connection that was accepted; waits where all others are being served.
    pub async fn place(self: &Arc<Self>) -> Place {
        let permit = loop {
            if let Ok(permit) = self.places.clone().try_acquire_owned() {
                break permit;
            }
            self.end_longest_idle();
            let freed = timeout(LOOK, self.places.clone().acquire_owned()).await;
            if let Ok(Ok(permit)) = freed {
                break permit;
            }
        };
        let (number, activity) = (self.next.fetch_add(1, Ordering::Relaxed), Arc::<Activity>::default());
        self.open().insert(number, activity.clone());
        Place { activity, number, connections: self.clone(), _permit: permit }
    }

    fn end_longest_idle(&self) {
        let open = self.open();
        let idle = open.values().filter_map(|activity| Some((activity.idle_since()?, activity)));
        let Some((_, activity)) = idle.min_by_key(|(since, _)| *since) else { return };
        activity.end();
        drop(open);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.ended += 1;
        if told.at.is_none_or(|at| at.elapsed() > TELL) {
            tracing::warn!(
                ended = told.ended,
                "as many connections as --max-connections allows: those idle for longest are ended for new ones"
            );
            *told = Told { at: Some(Instant::now()), ended: 0 };
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<Activity>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.open().remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longest_idle_makes_room_and_no_one_who_is_served() {
        let connections = Connections::new(3);
        let mut places = Vec::new();
        for _ in 0..3 {
            places.push(connections.place().await);
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        // The first one is served, the second was lately: the third has been idle for longest.
        let serving = places[0].activity.serve();
        drop(places[1].activity.serve());
        let third = places.pop().expect("three");
        let ended = tokio::spawn(async move {
            third.activity.ended().await;
            drop(third);
        });
        let fourth = connections.place().await;
        assert!(ended.is_finished());
        assert_eq!(connections.open().len(), 3);

        // Where all are served one has to end by itself.
        let (_second, _fourth) = (places[1].activity.serve(), fourth.activity.serve());
        assert!(timeout(Duration::from_secs(60), connections.place()).await.is_err());
        drop(serving);
        let first = places.swap_remove(0);
        let ended = tokio::spawn(async move {
            first.activity.ended().await;
            drop(first);
        });
        assert!(timeout(Duration::from_secs(1), connections.place()).await.is_ok());
        assert!(ended.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_got_a_request_meanwhile_goes_on() {
        let activity = Arc::new(Activity::default());
        activity.end();
        let serving = activity.serve();
        assert!(timeout(Duration::from_secs(1), activity.ended()).await.is_err());
        drop(serving);
        assert!(activity.idle_since().is_some(), "it can be chosen again");
    }
}
