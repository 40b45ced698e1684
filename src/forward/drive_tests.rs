#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use http::Response;

use super::*;
use crate::delivery::Delivery;
use crate::healthlake::{Clock, Credentials, Endpoint, HealthLake, Manager, Simulated};
use crate::mirror::Source;
use crate::order::memory_store::MemoryStore;
use crate::order::queue::Queue;
use crate::order::record::Record;
use crate::order::store::{Answer, Store, StoreError};
use crate::order::walk::{OnStoreFailure, Protocol};
use crate::validate::{Mode, Validator};

/// A store that fails at the claims told, and counts what is given back.
struct Failing {
    store: MemoryStore,
    fails_at: usize,
    claims: AtomicUsize,
    releases: AtomicUsize,
    /// Those that have ended, after a while
    released: AtomicUsize,
}

impl Store for Failing {
    fn claim<'a>(&'a self, key: &'a Key, request: ClaimRequest) -> Answer<'a, Claimed> {
        if self.claims.fetch_add(1, Ordering::SeqCst) + 1 == self.fails_at {
            return Box::pin(std::future::ready(Err(StoreError("no answer".to_owned()))));
        }
        self.store.claim(key, request)
    }

    fn settle<'a>(&'a self, key: &'a Key, owner: Owner, record: Record) -> Answer<'a, Settled> {
        self.store.settle(key, owner, record)
    }

    fn release<'a>(&'a self, key: &'a Key, owner: Owner) -> Answer<'a, ()> {
        self.releases.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            let answer = self.store.release(key, owner).await;
            self.released.fetch_add(1, Ordering::SeqCst);
            answer
        })
    }

    fn len(&self) -> Option<usize> {
        None
    }

    fn name(&self) -> &'static str {
        "failing"
    }
}

/// HealthLake has version 1; of the second write the first attempt is cut, and the repetition meets another version.
fn cut_then_refused() -> Simulated {
    let requests = AtomicUsize::new(0);
    Arc::new(move |_| {
        let answer = Response::builder();
        let answer = match requests.fetch_add(1, Ordering::SeqCst) {
            0 => answer.status(201).header("etag", "W/\"1\"").body(Bytes::new()).unwrap(),
            1 => return Box::pin(std::future::ready(Err(CouldNot::Cut))),
            _ => answer.status(412).body(Bytes::new()).unwrap(),
        };
        Box::pin(std::future::ready(Ok(answer)))
    })
}

fn patient(version: u32) -> Delivery {
    let key = Key::new("Patient", "a").unwrap();
    let json = format!(r#"{{"resourceType":"Patient","id":"a","meta":{{"versionId":"{version}"}}}}"#);
    Delivery::Upsert { addressed: Addressed::to(&key), json: json.into(), verbatim: true }
}

fn failing(fails_at: usize) -> (Forward, Arc<Failing>) {
    let clock: Clock = Arc::new(SystemTime::now);
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    let provider = aws_credential_types::provider::SharedCredentialsProvider::new(credentials);
    let endpoint = Endpoint::parse("https://healthlake.test/datastore/a/r4", false).unwrap();
    let manager = Manager::new(provider, clock.clone());
    let healthlake = HealthLake::simulated(endpoint, manager, clock.clone(), cut_then_refused());
    let store = Arc::new(Failing {
        store: MemoryStore::new(1 << 20),
        fails_at,
        claims: AtomicUsize::new(0),
        releases: AtomicUsize::new(0),
        released: AtomicUsize::new(0),
    });
    let forward = Forward {
        dead_letters: None,
        filter: Arc::default(),
        validator: Arc::new(Validator::new(Mode::Strict, 64)),
        queue: Queue::new(64),
        store: store.clone(),
        protocol: Protocol {
            belated: false,
            looks_again: false,
            has_cdr: false,
            settle: 20_000,
            horizon: 120_000,
            clock_skew: 50,
            on_store_failure: OnStoreFailure::Refuse,
        },
        healthlake,
        cdr: None,
        clock,
        afterwork: crate::afterwork::Afterwork::default(),
    };
    (forward, store)
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(8)
}

/// Found by a seeded storm: the claim was given back as if nothing had been sent under it, what had landed was
/// forgotten, and an older version followed it.
#[tokio::test]
async fn a_claim_under_which_something_was_sent_is_not_given_back_where_the_next_one_fails() {
    let (forward, store) = failing(3);
    let first = forward.forward(patient(1), Source::Live, deadline()).await;
    assert!(first.verdict.is_settled(), "{first:?}");
    let second = forward.forward(patient(2), Source::Live, deadline()).await;
    assert!(matches!(second.verdict, Verdict::OrderUnavailable), "{second:?}");
    tokio::task::yield_now().await;
    assert_eq!(store.releases.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn what_goes_on_after_an_answer_can_be_waited_for() {
    let (forward, store) = failing(1);
    for n in 1..=2 {
        let report = forward.forward(patient(1), Source::Live, deadline()).await;
        forward.settled().await;
        // The claim that failed may have been made all the same; the second delivery's is given back by settling.
        assert_eq!(store.released.load(Ordering::SeqCst), 1, "{n}: {report:?}");
    }
}
