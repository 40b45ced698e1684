//! What is between the replicas and everybody else: answers get lost, writes are carried out late or never, in another
//! order than they were sent.

use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::IF_MATCH;
use http::{Method, Request, Response};
use tokio::sync::oneshot;
use tokio::time::sleep;

use super::replica::Replica;
use super::world::{Without, World};
use crate::cdr::{self, CdrError};
use crate::healthlake::{self, CouldNot};
use crate::order::dynamodb::simulated::{Service, Table, Update};
use crate::order::dynamodb::{SimulatedItem as Item, Updated};
use crate::order::record::Millis;
use crate::order::store::StoreError;

pub(super) const REPLICA: usize = 0;
const DYNAMODB: usize = 1;
const HEALTHLAKE: usize = 2;
const CDR: usize = 3;

/// The SDK's bound of one attempt, and how many it makes.
const ATTEMPT: Duration = Duration::from_millis(1000);
const ATTEMPTS: usize = 2;

impl World {
    pub(super) fn way(&self, to: usize) -> Duration {
        self.up_to(self.knobs.ways[to])
    }

    pub(super) fn fault(&self, at: usize) -> bool {
        self.chance(self.knobs.faults[at])
    }
}

/// Far away, and whether or not anybody still waits for the answer.
fn remotely<T: Send + 'static>(
    after: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> oneshot::Receiver<T> {
    let (answer, answered) = oneshot::channel();
    tokio::spawn(async move {
        sleep(after).await;
        let _ = answer.send(work());
    });
    answered
}

pub(super) fn healthlake(world: &Arc<World>, replica: &Weak<Replica>) -> healthlake::Simulated {
    let (world, replica) = (world.clone(), replica.clone());
    Arc::new(move |request| {
        let (world, replica) = (world.clone(), replica.clone());
        Box::pin(async move { exchange(&world, &replica, request).await })
    })
}

/// What HealthLake made of a request, and what was heard of it.
enum Fate {
    NotConnected,
    /// Never carried out
    CutBefore,
    Busy,
    /// Carried out, and the answer lost, or about to be carried out
    CutAfter,
    /// Carried out, though it says that it failed
    Failed,
    /// Given up on, carried out later
    Late,
    /// Carried out; nothing is heard, not even a cut
    Silent,
}

async fn exchange(
    world: &Arc<World>,
    replica: &Weak<Replica>,
    request: Request<Bytes>,
) -> Result<Response<Bytes>, CouldNot> {
    let mut stalled = Duration::ZERO;
    if world.chance(world.knobs.stalls)
        && let Some(replica) = replica.upgrade()
    {
        // Decided, and not sent yet: the process stands still in between.
        stalled = replica.freeze();
        tokio::task::yield_now().await;
    }
    let who = replica.upgrade().map_or(0, |replica| replica.number);
    let reads = request.method() == Method::GET;
    let what =
        format!("{} {}", request.method(), request.uri().path().rsplit('/').next().unwrap_or_default());
    let if_match = request.headers().get(IF_MATCH).map(|value| value.to_str().unwrap().to_owned());
    let (there, back) = (world.way(HEALTHLAKE), world.way(HEALTHLAKE));
    let fate = world.fault(HEALTHLAKE).then(|| match world.pick(if reads { 3 } else { 7 }) {
        0 => Fate::NotConnected,
        1 => Fate::CutBefore,
        2 => Fate::Busy,
        3 => Fate::CutAfter,
        4 => Fate::Failed,
        5 => Fate::Late,
        _ => Fate::Silent,
    });
    let after = match fate {
        // The protocol's one assumption about HealthLake: an unconditional write lands within `settle`, by anybody's
        // clock, or not at all.
        Some(Fate::Late) => {
            let slack = Duration::from_millis(500 + world.knobs.clocks_differ);
            let bound = Duration::from_millis(world.knobs.settle).saturating_sub(stalled + slack);
            let bound = if if_match.is_some() { 3 * bound } else { bound };
            world.up_to(bound.as_millis() as Millis)
        }
        _ => there,
    };
    let carry_out = {
        let (world, request, what) = (world.clone(), request, what.clone());
        move || {
            let response = world.sandbox.carry_out(request);
            world.note("healthlake", || {
                format!(
                    "{what} of {who} if {if_match:?}: {} {:?}",
                    response.status(),
                    response.headers().get("etag")
                )
            });
            response
        }
    };
    let told = |what: &str| world.note(who, || format!("HealthLake: {what}"));
    let response = match fate {
        None => remotely(after, carry_out).await.map_err(|_| CouldNot::Cut)?,
        Some(Fate::Failed) => {
            let _ = remotely(after, carry_out).await;
            answer(500)
        }
        Some(Fate::NotConnected) => {
            sleep(there).await;
            told("no connection");
            return Err(CouldNot::Connect);
        }
        Some(Fate::CutBefore) => {
            sleep(there).await;
            told("cut");
            return Err(CouldNot::Cut);
        }
        Some(Fate::Busy) => {
            sleep(there).await;
            answer([429, 500, 503][world.pick(3)])
        }
        Some(Fate::CutAfter | Fate::Late) => {
            drop(remotely(after, carry_out));
            sleep(world.up_to((there + back).as_millis() as Millis)).await;
            told("cut");
            return Err(CouldNot::Cut);
        }
        Some(Fate::Silent) => {
            drop(remotely(after, carry_out));
            return std::future::pending().await;
        }
    };
    sleep(back).await;
    told(response.status().as_str());
    Ok(response)
}

fn answer(status: u16) -> Response<Bytes> {
    Response::builder().status(status).body(Bytes::new()).unwrap()
}

pub(super) fn cdr(world: &Arc<World>, who: usize) -> cdr::Simulated {
    let world = world.clone();
    Arc::new(move |path| {
        let world = world.clone();
        Box::pin(async move {
            let resource: usize = path.rsplit('/').next().and_then(|id| id.parse().ok()).unwrap();
            let (there, back) = (world.way(CDR), world.way(CDR));
            sleep(there).await;
            let fault = world.fault(CDR);
            let current = world.current(resource);
            let answer = match current {
                _ if fault => Err(CdrError::Unreachable),
                Some(version) => Ok((200, world.body(resource, version))),
                None => Ok((410, Bytes::new())),
            };
            world.note(who, || format!("the CDR has of {resource}: {current:?}, fault {fault}"));
            sleep(back).await;
            answer
        })
    })
}

/// The way to a table that replicas share.
pub(super) struct DynamoDb {
    pub world: Arc<World>,
    pub table: Arc<Table>,
}

impl DynamoDb {
    fn call<T: Send + 'static>(
        &self,
        work: impl Fn() -> T + Clone + Send + 'static,
    ) -> BoxFuture<'static, Result<T, StoreError>> {
        let world = self.world.clone();
        Box::pin(async move {
            for _ in 0..ATTEMPTS {
                let (there, back) = (world.way(DYNAMODB), world.way(DYNAMODB));
                let fault = world.fault(DYNAMODB).then(|| world.pick(3));
                match fault {
                    None => {
                        let done = remotely(there, work.clone()).await;
                        sleep(back).await;
                        return done.map_err(|_| StoreError("cut".to_owned()));
                    }
                    Some(0) => {}
                    Some(1) => drop(remotely(there, work.clone())),
                    // Held up on its way: its sender has long given up.
                    Some(_) => drop(remotely(world.up_to(15_000), work.clone())),
                }
                sleep(ATTEMPT).await;
            }
            Err(StoreError("no answer".to_owned()))
        })
    }
}

impl Service for DynamoDb {
    fn update(&self, update: Update) -> BoxFuture<'static, Result<Updated, StoreError>> {
        let (world, table) = (self.world.clone(), self.table.clone());
        // dynalite does not send the item along with a refusal, the service does.
        let tells = world.chance(0.5);
        self.call(move || {
            let updated = apply(&world, &table, update.clone());
            world.note("dynamodb", || told(&update, &updated));
            match updated {
                Updated::No(_) if !tells => Updated::No(None),
                updated => updated,
            }
        })
    }

    fn get(&self, pk: String) -> BoxFuture<'static, Result<Item, StoreError>> {
        let table = self.table.clone();
        self.call(move || table.item(&pk))
    }
}

/// Owners are random and mean nothing to a reader.
fn told(update: &Update, updated: &Updated) -> String {
    let what = match update.update.as_str() {
        update if update.contains("remembered") => "settle",
        update if update.contains("list_append") => "take",
        update if update.contains("claim = :claim") => "prolong",
        update if update.contains("REMOVE") => "release",
        _ => "tidy",
    };
    let (done, before) = match updated {
        Updated::Yes(before) => ("done", Some(before)),
        Updated::No(found) => ("refused", found.as_ref()),
    };
    let names = |Item(item): &Item| item.keys().cloned().collect::<std::collections::BTreeSet<_>>();
    let record = update.values.get(":record").and_then(|record| record.as_s().ok());
    format!("{what} {}: {done}, it had {:?} {}", update.pk, before.map(names), record.map_or("", |s| s))
}

fn apply(world: &World, table: &Table, mut update: Update) -> Updated {
    match world.knobs.without {
        Some(Without::Claims) => {
            update.condition = "NOT attribute_not_exists(pk) OR attribute_not_exists(pk)".to_owned()
        }
        Some(Without::LeftBehind) => {}
        _ => return table.apply(&update),
    }
    let mut updated = table.apply(&update);
    table.meddle(&update.pk, |item| _ = item.remove("left_behind"));
    if let Updated::Yes(Item(before)) = &mut updated {
        before.insert("claim".to_owned(), AttributeValue::L(Vec::new()));
        before.remove("left_behind");
    }
    updated
}
