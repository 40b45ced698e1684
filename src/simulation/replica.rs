//! A replica: the code that runs in production, from the validated delivery to HealthLake's answer. It can stand still,
//! as a process does that gets no processor, and it can be killed.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::task::{AbortHandle, JoinHandle};
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::network;
use super::stores::Shared;
use super::world::World;
use crate::cdr::Cdr;
use crate::delivery::Delivery;
use crate::filter::{Filter, Label};
use crate::forward::{Forward, Report};
use crate::healthlake::{Clock, Credentials, Endpoint, HealthLake, Manager};
use crate::mirror::Source;
use crate::order::queue::Queue;
use crate::order::store::Store;
use crate::validate::{Mode, Validator};

/// Settings that cost time to make, and are the same in every run.
#[derive(Clone)]
pub(super) struct Common {
    pub validator: Arc<Validator>,
    pub http: reqwest::Client,
    pub dynamodb: aws_sdk_dynamodb::Client,
}

impl Common {
    pub fn new() -> Self {
        Self {
            validator: Arc::new(Validator::new(Mode::Strict, 64)),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            dynamodb: crate::order::dynamodb::simulated::offline_client(),
        }
    }
}

pub(super) struct Replica {
    pub number: usize,
    world: Arc<World>,
    common: Common,
    shared: Shared,
    clock: Clock,
    state: Mutex<State>,
}

struct State {
    /// None while it is down
    forward: Option<Arc<Forward>>,
    deliveries: Vec<AbortHandle>,
    frozen_until: Instant,
    rests_until: Instant,
}

impl Replica {
    pub async fn start(number: usize, world: &Arc<World>, common: &Common, shared: &Shared) -> Arc<Self> {
        let now = Instant::now();
        let state = State { forward: None, deliveries: Vec::new(), frozen_until: now, rests_until: now };
        let replica = Arc::new(Self {
            number,
            world: world.clone(),
            common: common.clone(),
            shared: shared.clone(),
            clock: world.some_clock(),
            state: Mutex::new(state),
        });
        replica.come_up().await;
        replica
    }

    async fn come_up(self: &Arc<Self>) {
        let store = self.shared.open(&self.world, &self.clock, &self.common).await;
        let forward = self.forward(store);
        self.state.lock().unwrap().forward = Some(Arc::new(forward));
    }

    fn forward(self: &Arc<Self>, store: Arc<dyn Store>) -> Forward {
        let protocol = self.world.knobs.protocol();
        let endpoint =
            Endpoint::parse("https://healthlake.test/datastore/0123456789abcdef0123456789abcdef/r4", false);
        let provider = Credentials::new("AKIDTEST", "secret", None, None, "test");
        let credentials = Manager::new(
            aws_credential_types::provider::SharedCredentialsProvider::new(provider),
            self.clock.clone(),
        );
        let wire = network::healthlake(&self.world, &Arc::downgrade(self));
        let cdr = || Cdr::simulated(network::cdr(&self.world, self.number), self.common.http.clone());
        Forward {
            dead_letters: None,
            filter: Arc::new(Filter { deny_labels: vec![Label::parse("R").unwrap()], ..Filter::default() }),
            validator: self.common.validator.clone(),
            queue: Queue::new(64),
            store,
            protocol,
            healthlake: HealthLake::simulated(endpoint.unwrap(), credentials, self.clock.clone(), wire),
            cdr: self.world.knobs.has_cdr.then(|| Arc::new(cdr())),
            clock: self.clock.clone(),
            afterwork: crate::afterwork::Afterwork::default(),
        }
    }

    /// None: nobody listens. What began runs to its end, whether or not its caller waits.
    pub fn take(self: &Arc<Self>, delivery: Delivery) -> Option<JoinHandle<Report>> {
        let mut state = self.state.lock().unwrap();
        let forward = state.forward.clone()?;
        let deadline = Instant::now() + Duration::from_millis(self.world.knobs.deadline);
        let work = Box::pin(async move { forward.forward(delivery, Source::Live, deadline).await });
        let task =
            tokio::spawn(Frozen { replica: self.clone(), work, thaw: Box::pin(sleep_until(deadline)) });
        state.deliveries.retain(|delivery| !delivery.is_finished());
        state.deliveries.push(task.abort_handle());
        Some(task)
    }

    /// Stands still from now on; for how long. Zero: it just did, or does.
    pub fn freeze(&self) -> Duration {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        if now < state.rests_until {
            return Duration::ZERO;
        }
        // Longer than a claim may last, not longer than the next claimant waits for what was left behind.
        let stop = self.world.up_to(self.world.knobs.settle / 2);
        state.frozen_until = now + stop;
        state.rests_until = now + stop + Duration::from_millis(2 * self.world.knobs.settle);
        self.world.note(self.number, || format!("stands still for {stop:?}"));
        stop
    }

    /// As `kill -9` does: what was on its way stays on its way. It comes up again after a while.
    pub async fn kill(self: &Arc<Self>) {
        let deliveries = {
            let mut state = self.state.lock().unwrap();
            state.forward = None;
            std::mem::take(&mut state.deliveries)
        };
        self.world.killed();
        self.world.note(self.number, || "is killed".to_owned());
        deliveries.iter().for_each(AbortHandle::abort);
        while !deliveries.iter().all(AbortHandle::is_finished) {
            tokio::task::yield_now().await;
        }
        sleep(self.world.up_to(3000)).await;
        self.come_up().await;
        self.world.note(self.number, || "is up again".to_owned());
    }
}

/// A delivery in a replica that stands still now and then: it is not polled, while its timers run out.
struct Frozen<F> {
    replica: Arc<Replica>,
    work: Pin<Box<F>>,
    thaw: Pin<Box<Sleep>>,
}

impl<F: Future> Future for Frozen<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        loop {
            let until = self.replica.state.lock().unwrap().frozen_until;
            if until <= Instant::now() {
                return self.work.as_mut().poll(context);
            }
            self.thaw.as_mut().reset(until);
            ready!(self.thaw.as_mut().poll(context));
        }
    }
}
