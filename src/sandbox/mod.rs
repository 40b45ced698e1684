//! A HealthLake and an STS that run in this process: they verify every signature, keep versions, and fail when
//! told to. For lakehook's own tests, for `serve --sandbox`, and for users' integration tests (`docs/sandbox.md`).
//!
//! Knows nothing of the rest of `src`: a judge that shared code with what it judges would share its mistakes.

mod answer;
mod bundle;
mod call;
mod capacity;
mod exchange;
mod faults;
mod healthlake;
mod inspect;
mod parameters;
mod resource;
mod search;
mod serve;
mod sigv4;
mod store;
mod sts;
#[cfg(test)]
mod tests;
mod types;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;

pub use self::faults::{Cut, Fault, Service};
pub use self::inspect::RequestLine;
pub use self::store::{Interaction, Resource, Write};

use self::capacity::Capacity;
use self::faults::Faults;
use self::inspect::Requests;
use self::store::Store;
use self::sts::Sessions;

/// Tells the time; a test can turn it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

#[derive(Clone, Debug)]
pub struct Config {
    pub region: String,
    /// 32 hex digits.
    pub datastore_id: String,
    /// Of the long-lived credentials; a role's ARN names its own.
    pub account: String,
    /// The long-lived credentials, accepted by STS and by HealthLake. They open the sandbox and nothing else.
    pub access_key_id: String,
    pub secret_access_key: String,
    /// Lifetime of issued credentials whatever `DurationSeconds` says, so that expiry can be met in a test.
    pub session_lifetime: Option<Duration>,
    /// AssumeRole without this `ExternalId` is denied.
    pub external_id: Option<String>,
    /// For so long an updated resource is left out of search, a deleted one counted, a version left out of
    /// `_history`.
    pub search_lag: Duration,
    /// Units of 1 KB a second, a second's worth at once; above: throttled.
    pub write_units_per_second: Option<u32>,
    /// Status of a throttled request: 429, or 400 as AWS's control planes answer.
    pub throttle_status: u16,
    pub unsupported_types: Vec<String>,
    /// Refuse a `meta.profile` that HealthLake does not know, unless the call asks for less than `strict`.
    pub strict_profiles: bool,
    /// Status of a plain DELETE of what is deleted already: 404, 410 or 204. AWS documents none.
    pub deleted_again_status: u16,
    /// AWS says "5 MB"; taken as 5 MiB, 5,242,880 bytes.
    pub max_body: usize,
    pub faults: Vec<Fault>,
    /// Makes the `rate` of faults repeatable.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            region: "us-east-1".into(),
            datastore_id: "0123456789abcdef0123456789abcdef".into(),
            account: "111122223333".into(),
            access_key_id: "AKIASANDBOXSANDBOX00".into(),
            secret_access_key: "not/a/real/secret/opens/the/sandbox/only".into(),
            session_lifetime: None,
            external_id: None,
            search_lag: Duration::ZERO,
            write_units_per_second: None,
            throttle_status: 429,
            unsupported_types: types::unsupported_by_default(),
            strict_profiles: true,
            deleted_again_status: 404,
            max_body: 5 * 1024 * 1024,
            faults: Vec::new(),
            seed: None,
        }
    }
}

/// The stand-in. A clone is the same sandbox.
#[derive(Clone)]
pub struct Sandbox(Arc<State>);

struct State {
    config: Config,
    clock: Clock,
    store: Mutex<Store>,
    sessions: Sessions,
    faults: Mutex<Faults>,
    capacity: Mutex<Capacity>,
    requests: Mutex<Requests>,
}

impl Sandbox {
    pub fn new(config: Config) -> Self {
        Self::with_clock(config, Arc::new(Timestamp::now))
    }

    /// `clock` decides about signatures, expiry, `lastUpdated`, search lag and capacity; delays and lateness of
    /// faults run on the runtime's time.
    pub fn with_clock(config: Config, clock: Clock) -> Self {
        Self(Arc::new(State {
            faults: Mutex::new(Faults::new(config.faults.clone(), config.seed)),
            capacity: Mutex::new(Capacity::new(config.write_units_per_second)),
            store: Mutex::default(),
            sessions: Sessions::default(),
            requests: Mutex::default(),
            clock,
            config,
        }))
    }

    /// For embedding. `/_sandbox/` needs `ConnectInfo<SocketAddr>`; a `cut` is a body that breaks here, only
    /// `serve` ends the connection without a byte.
    pub fn router(&self) -> axum::Router {
        exchange::router(self.clone())
    }

    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The data store's URL when served at `addr`.
    pub fn endpoint(&self, addr: SocketAddr) -> String {
        format!("http://{addr}/datastore/{}/r4", self.0.config.datastore_id)
    }

    /// Takes HealthLake's and STS's requests until `shutdown`, then ends what is in flight within seconds.
    pub async fn serve(
        self,
        listener: tokio::net::TcpListener,
        shutdown: impl Future<Output = ()> + Send + 'static,
    ) -> std::io::Result<()> {
        serve::serve(self.router(), listener, shutdown).await
    }

    pub fn add_fault(&self, fault: Fault) {
        lock(&self.0.faults).add(fault);
    }

    pub fn faults(&self) -> Vec<Fault> {
        lock(&self.0.faults).active().to_vec()
    }

    pub fn clear_faults(&self) {
        lock(&self.0.faults).clear();
    }

    /// Forgets resources, history and faults, and the writes that were still to take effect. Issued credentials
    /// and the list of requests stay.
    pub fn reset(&self) {
        // Faults first: a request that comes in between must not fail in the emptied store.
        self.clear_faults();
        lock(&self.0.store).reset();
    }

    /// What is alive, in order of type and id.
    pub fn resources(&self) -> Vec<Resource> {
        lock(&self.0.store).alive().collect()
    }

    /// The writes that took effect, in that order.
    pub fn history(&self) -> Vec<Write> {
        lock(&self.0.store).history().to_vec()
    }

    /// The latest 100,000 requests.
    pub fn requests(&self) -> Vec<RequestLine> {
        lock(&self.0.requests).lines().cloned().collect()
    }

    /// One of HealthLake's requests, carried out at once: no signature is asked for, no fault strikes.
    #[cfg(test)]
    pub(crate) fn carry_out(&self, request: http::Request<bytes::Bytes>) -> http::Response<bytes::Bytes> {
        let (parts, body) = request.into_parts();
        let call = call::Call::new(parts, body);
        let answer = healthlake::answer(self.config(), &mut lock(&self.0.store), &call, self.now());
        let mut response = http::Response::new(answer.body);
        *response.status_mut() = answer.status;
        for (name, value) in answer.headers {
            response.headers_mut().extend(value.parse().map(|value| (name, value)));
        }
        response
    }

    fn now(&self) -> Timestamp {
        (self.0.clock)()
    }
}

/// A panic in one request must not take the others with it: the state is whole after every statement.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
