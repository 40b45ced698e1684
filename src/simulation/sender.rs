//! A CDR that changes resources in bursts, and a sender as HAPI was seen to be: two deliveries at a time, no order, of
//! one resource neither, and whatever was not answered well again and again with the bytes of the first attempt. But it
//! does not give up after 58 s: what has to be equal in the end must have arrived.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::network::REPLICA;
use super::replica::Replica;
use super::world::{World, key};
use crate::delivery::{Addressed, Delivery};

const FIRST_PAUSE: Duration = Duration::from_millis(1000);
const LONGEST_PAUSE: Duration = Duration::from_millis(6100);
/// HAPI hangs up after this; what it asked for goes on.
const PATIENCE: Duration = Duration::from_secs(10);
/// A delivery that is not taken for so long never will be. (Of 25 requests in a hundred that fail, one of a thousand
/// deliveries meets six failures.)
const ATTEMPTS: usize = 500;

struct Notification {
    resource: usize,
    version: u64,
    delivery: Delivery,
    handed_on: Instant,
}

#[derive(Default)]
pub(super) struct Sender {
    waiting: Mutex<Vec<Notification>>,
    finished: Mutex<bool>,
}

impl Sender {
    /// Makes all changes, and notifies of each.
    pub async fn make_changes(&self, world: &World) {
        let knobs = &world.knobs;
        let started = Instant::now();
        let mut made = 0;
        while made < knobs.changes {
            let resource = world.pick(knobs.resources);
            for _ in 0..=world.pick(6) {
                let (version, deleted) = world.change(resource);
                made += 1;
                let delivery = if deleted {
                    Delivery::Delete { key: key(resource) }
                } else if world.chance(knobs.id_only) {
                    Delivery::Changed { key: key(resource) }
                } else {
                    upsert(resource, world.body(resource, version))
                };
                let batch = started.elapsed().as_millis() as u64 / knobs.hand_on.max(1) + 1;
                let handed_on = started + Duration::from_millis(batch * knobs.hand_on);
                let notification = Notification { resource, version, delivery, handed_on };
                self.waiting.lock().unwrap().push(notification);
                sleep(world.up_to(knobs.pauses.0)).await;
            }
            sleep(world.up_to(knobs.pauses.1)).await;
        }
        *self.finished.lock().unwrap() = true;
    }

    /// One of the sender's threads, until everything is delivered.
    pub async fn deliver(&self, world: &World, replicas: &[Arc<Replica>]) -> Result<(), String> {
        loop {
            match self.next(world) {
                Some(next) => repeat(world, replicas, next).await?,
                None if *self.finished.lock().unwrap() && self.waiting.lock().unwrap().is_empty() => {
                    return Ok(());
                }
                None => sleep(Duration::from_millis(25)).await,
            }
        }
    }

    fn next(&self, world: &World) -> Option<Notification> {
        let mut waiting = self.waiting.lock().unwrap();
        loop {
            let now = Instant::now();
            let ready = waiting.iter().take_while(|next| next.handed_on <= now).count();
            let window = ready.min(world.knobs.window);
            if window == 0 {
                return None;
            }
            let next = waiting.remove(world.pick(window));
            let deleted = world.current(next.resource).is_none();
            let upsert = !matches!(next.delivery, Delivery::Delete { .. });
            if !(upsert && deleted && world.knobs.drops_deleted) {
                return Some(next);
            }
        }
    }
}

fn upsert(resource: usize, json: Bytes) -> Delivery {
    Delivery::Upsert { addressed: Addressed::to(&key(resource)), json, verbatim: true }
}

async fn repeat(world: &World, replicas: &[Arc<Replica>], next: Notification) -> Result<(), String> {
    let Notification { resource, version, delivery, .. } = next;
    let what = match delivery {
        Delivery::Upsert { .. } => format!("PUT {resource} version {version}"),
        Delivery::Delete { .. } => format!("DELETE {resource} ({version})"),
        Delivery::Changed { .. } => format!("changed {resource} ({version})"),
    };
    let mut pause = FIRST_PAUSE;
    for _ in 0..ATTEMPTS {
        if attempt(world, replicas, &what, delivery.clone()).await? {
            return Ok(());
        }
        sleep(pause).await;
        pause = pause.mul_f64(1.1).min(LONGEST_PAUSE);
    }
    Err(format!("{what} is never taken"))
}

/// Whether the sender heard that it was taken.
async fn attempt(
    world: &World,
    replicas: &[Arc<Replica>],
    what: &str,
    delivery: Delivery,
) -> Result<bool, String> {
    // A load balancer's choice.
    let replica = &replicas[world.pick(replicas.len())];
    sleep(world.way(REPLICA)).await;
    let lost = world.fault(REPLICA).then(|| world.pick(2));
    if lost == Some(0) {
        return Ok(false);
    }
    let Some(task) = replica.take(delivery) else { return Ok(false) };
    world.note(replica.number, || format!("begins {what}"));
    match timeout(PATIENCE, task).await {
        Ok(Ok(report)) => {
            let verdict = &report.verdict;
            world.note(replica.number, || format!("{what}: {}", verdict.name()));
            if !verdict.is_settled() && !verdict.is_retryable() {
                return Err(format!("{what}: {verdict:?}"));
            }
            Ok(verdict.is_settled() && lost.is_none())
        }
        Ok(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // Killed, or too slow
        _ => Ok(false),
    }
}
