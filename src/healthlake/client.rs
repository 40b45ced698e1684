//! PUT and DELETE at HealthLake, signed, within a deadline, with one inner retry where it can't do harm.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, IF_MATCH, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use tokio::time::{Instant, timeout_at};
use tracing::Instrument;

use super::credentials::{Clock, Held};
use super::outage::Outage;
use super::sign::SERVICE;
use super::signer::Signer;
use super::wire::{Call, Exchange, Wire, export_log};
use super::{CouldNot, Endpoint, Manager, Meaning, Said, Trust};
use crate::delivery::Key;
use crate::order::record::Etag;
use crate::trace;

/// An answer is read to this size (bytes); what lies behind decides nothing.
const ANSWER_LIMIT: usize = 6 << 20;
/// With less left of the deadline a second attempt would only be cut in its turn.
const WORTH_A_RETRY: Duration = Duration::from_millis(100);

/// A resource's URL below the data store, for traces
const RESOURCE: &str = "{Type}/{id}";

const VALIDATION_LEVEL: HeaderName = HeaderName::from_static("x-amzn-healthlake-fhir-validation-level");

/// HealthLake's own validation: header `x-amzn-healthlake-fhir-validation-level`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ValidationLevel {
    Strict,
    StructureOnly,
    Minimal,
}

impl ValidationLevel {
    fn as_str(self) -> &'static str {
        match self {
            Self::Strict => "strict",
            Self::StructureOnly => "structure-only",
            Self::Minimal => "minimal",
        }
    }
}

#[derive(Clone)]
pub struct Options {
    pub region: String,
    /// Idle connections kept; as many as deliveries may be in flight.
    pub pool: usize,
    /// Below the upstream's own idle time.
    pub pool_idle_timeout: Duration,
    pub connect_timeout: Duration,
    pub validation_level: Option<ValidationLevel>,
    pub trust: Trust,
}

pub struct HealthLake {
    endpoint: Endpoint,
    wire: Wire,
    credentials: Arc<Manager>,
    signer: Signer,
    /// Of every request; `host` too
    headers: HeaderMap,
    clock: Clock,
    last: ArcSwapOption<LastAnswer>,
    outage: Outage,
}

/// What HealthLake said last, for health checks.
#[derive(Clone, Copy, Debug)]
pub struct LastAnswer {
    pub status: u16,
    pub at: SystemTime,
}

/// The last answer, and what it took.
#[derive(Debug)]
pub struct Attempted {
    pub result: Result<Said, CouldNot>,
    pub attempts: u32,
    /// A first attempt was cut, a second was made: the first may have landed, or may land yet.
    pub earlier_unknown: bool,
}

impl HealthLake {
    pub fn new(
        endpoint: Endpoint,
        credentials: Arc<Manager>,
        clock: Clock,
        options: Options,
    ) -> Result<Self, reqwest::Error> {
        let mut builder = reqwest::Client::builder()
            // One request a connection: what the pool holds is then what may be in flight.
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            // Whether to send again is decided here, where the order is known.
            .retry(reqwest::retry::never())
            .pool_max_idle_per_host(options.pool)
            .pool_idle_timeout(options.pool_idle_timeout)
            .connect_timeout(options.connect_timeout)
            .tcp_nodelay(true);
        if super::endpoint::is_loopback(endpoint.host()) {
            builder = builder.no_proxy();
        }
        let mut headers = HeaderMap::new();
        headers.insert(HOST, endpoint.authority());
        headers.insert(ACCEPT, HeaderValue::from_static("application/fhir+json"));
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("lakehook/", env!("CARGO_PKG_VERSION"))));
        if let Some(level) = options.validation_level {
            headers.insert(VALIDATION_LEVEL, HeaderValue::from_static(level.as_str()));
        }
        let client = options.trust.apply(builder)?.build()?;
        Ok(Self {
            endpoint,
            wire: Wire::Http(client),
            credentials,
            signer: Signer::new(SERVICE, options.region),
            headers,
            clock,
            last: ArcSwapOption::empty(),
            outage: Outage::default(),
        })
    }

    #[cfg(test)]
    pub(crate) fn simulated(
        endpoint: Endpoint,
        credentials: Arc<Manager>,
        clock: Clock,
        wire: super::wire::Simulated,
    ) -> Self {
        Self {
            endpoint,
            wire: Wire::Simulated(wire),
            credentials,
            signer: Signer::new(SERVICE, String::new()),
            headers: HeaderMap::new(),
            clock,
            last: ArcSwapOption::empty(),
            outage: Outage::default(),
        }
    }

    pub fn endpoint(&self) -> &str {
        self.endpoint.as_str()
    }

    pub fn has_credentials(&self) -> bool {
        self.credentials.holds_valid()
    }

    /// Obtains credentials where none are held; renews those that are due. What fails is said in the log, and tried
    /// again by the delivery that needs them.
    pub async fn renew_credentials(&self) {
        if self.has_credentials() {
            return self.credentials.renew_if_due().await;
        }
        if let Err(error) = self.credentials.current().await {
            tracing::warn!(%error, "could not obtain AWS credentials");
        }
    }

    pub fn credentials_expire(&self) -> Option<SystemTime> {
        self.credentials.expires_at()
    }

    pub fn last_answer(&self) -> Option<LastAnswer> {
        self.last.load().as_deref().copied()
    }

    /// Upserts the resource by its id; the bytes go out as they are. With `if_match` only if HealthLake has
    /// that version.
    pub async fn put(&self, key: &Key, json: &Bytes, if_match: Option<Etag>, deadline: Instant) -> Attempted {
        self.write(self.call(Method::PUT, key, if_match), json, deadline).await
    }

    pub async fn delete(&self, key: &Key, if_match: Option<Etag>, deadline: Instant) -> Attempted {
        self.write(self.call(Method::DELETE, key, if_match), &Bytes::new(), deadline).await
    }

    fn call(&self, method: Method, key: &Key, if_match: Option<Etag>) -> Call {
        let (url, template) = (self.endpoint.resource(key), RESOURCE);
        Call { method, url, template, if_match, limit: ANSWER_LIMIT, resend: 0 }
    }

    /// HealthLake's version of the resource; inner None: it has none, or not any more. Right after a write this
    /// is current, which search is not.
    pub async fn read(&self, key: &Key, deadline: Instant) -> (Attempted, Option<Option<Etag>>) {
        let result = self.get(self.call(Method::GET, key, None), deadline).await;
        let result = result.map(|exchange| exchange.said);
        let at_healthlake = result.as_ref().ok().and_then(|said| match said.status.as_u16() {
            200 => said.etag.as_deref().and_then(Etag::parse).map(Some),
            404 | 410 if !said.issue_codes.is_empty() => Some(None),
            _ => None,
        });
        (Attempted { result, attempts: 1, earlier_unknown: false }, at_healthlake)
    }

    /// The CapabilityStatement: tells that the endpoint, the signature and the permissions are right.
    pub async fn metadata(&self, deadline: Instant) -> Result<Exchange, CouldNot> {
        self.get(Call::get(self.endpoint.metadata(), "metadata", ANSWER_LIMIT), deadline).await
    }

    /// GET of what lies below the data store, as `Patient?_count=100`; of the answer at most `limit` bytes are
    /// read. The query is signed as it stands: its values must be percent-encoded.
    pub async fn ask(&self, below: &str, limit: usize, deadline: Instant) -> Result<Exchange, CouldNot> {
        let url = format!("{}/{below}", self.endpoint.as_str()).parse().map_err(|_| CouldNot::Sign)?;
        self.get(Call::get(url, "", limit), deadline).await
    }

    async fn get(&self, call: Call, deadline: Instant) -> Result<Exchange, CouldNot> {
        let exchange = async {
            let held = self.credentials.current().await.map_err(|_| CouldNot::Credentials)?;
            self.exchange(&call, &Bytes::new(), &held).await
        };
        timeout_at(deadline, exchange).await.unwrap_or(Err(CouldNot::Deadline))
    }

    /// Why no connection comes about, in the words of whoever failed: DNS, TCP or TLS. Nothing is signed.
    pub async fn why_unreachable(&self, deadline: Instant) -> Option<String> {
        let request = self.wire.http()?.get(self.endpoint.metadata()).send();
        let error = timeout_at(deadline, request).await.ok()?.err()?;
        Some(super::sts::describe(&error.without_url()))
    }

    /// A second attempt follows a cut (PUT and DELETE by id are idempotent: a stale pooled connection costs
    /// nothing) and a refusal of the credentials (after one refresh). Never a third.
    async fn write(&self, mut call: Call, body: &Bytes, deadline: Instant) -> Attempted {
        let (mut attempts, mut earlier_unknown) = (0, false);
        let attempt_all = async {
            let held = self.credentials.current().await.map_err(|_| CouldNot::Credentials)?;
            attempts = 1;
            let first = self.exchange(&call, body, &held).await.map(|exchange| exchange.said);
            let held = match &first {
                Err(CouldNot::Cut | CouldNot::Connect) if deadline - Instant::now() > WORTH_A_RETRY => held,
                Ok(said) if said.meaning == Meaning::NotAuthorized => {
                    match self.credentials.renewed(held.generation).await {
                        Ok(renewed) => renewed,
                        Err(_) => return first,
                    }
                }
                _ => return first,
            };
            (attempts, earlier_unknown) = (2, matches!(first, Err(CouldNot::Cut)));
            call.resend = 1;
            self.exchange(&call, body, &held).await.map(|exchange| exchange.said)
        };
        let result = timeout_at(deadline, attempt_all).await.unwrap_or(Err(CouldNot::Deadline));
        if let Some((failures, lasted)) = self.outage.heard(&result) {
            let seconds = lasted.as_secs_f64();
            tracing::info!(
                failures,
                seconds,
                "HealthLake accepts again after {failures} failures in {seconds:.1} s"
            );
        }
        Attempted { result, attempts, earlier_unknown }
    }

    async fn exchange(&self, call: &Call, body: &Bytes, held: &Held) -> Result<Exchange, CouldNot> {
        let at = || (self.endpoint.host(), self.endpoint.port());
        let span = trace::client(&call.method, call.template, at, call.resend);
        let unended = trace::unended(&span);
        let result = self.exchanged(call, body, held).instrument(span).await;
        unended.ended();
        result
    }

    async fn exchanged(&self, call: &Call, body: &Bytes, held: &Held) -> Result<Exchange, CouldNot> {
        let started = Instant::now();
        let result = match &self.wire {
            Wire::Http(client) => Wire::send(client, call, self.signed(call, body, held)?).await,
            #[cfg(test)]
            Wire::Simulated(wire) => Wire::simulate(wire, call, body).await,
        };
        match &result {
            Ok(Exchange { said, .. }) => trace::said(said),
            Err(could_not) => trace::failed(could_not.name()),
        }
        if let Ok(Exchange { said, .. }) = &result {
            self.last.store(Some(Arc::new(LastAnswer { status: said.status.as_u16(), at: (self.clock)() })));
        }
        export_log(&call.method, call.url.as_str(), &result, body.len(), started);
        result
    }

    fn signed(&self, call: &Call, body: &Bytes, held: &Held) -> Result<reqwest::Request, CouldNot> {
        let mut headers = self.headers.clone();
        if call.method == Method::PUT {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/fhir+json"));
        }
        if let Some(etag) = call.if_match {
            headers.insert(IF_MATCH, HeaderValue::from_str(&etag.header()).map_err(|_| CouldNot::Sign)?);
        }
        self.signer
            .sign(&call.method, &call.url, &mut headers, body, held, (self.clock)())
            .map_err(|_| CouldNot::Sign)?;
        // Not signed: a proxy or a service mesh on the way may put its own in its place.
        trace::carry_on(&mut headers);
        let mut request = reqwest::Request::new(call.method.clone(), call.url.clone());
        *request.headers_mut() = headers;
        if call.method == Method::PUT {
            *request.body_mut() = Some(body.clone().into());
        }
        Ok(request)
    }
}
