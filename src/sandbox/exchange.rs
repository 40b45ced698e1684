//! The way of a request: read, judge the signature, ask the faults, act, note, answer.

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::{Bytes, BytesMut};
use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt as _;
use uuid::Uuid;

use super::answer::Answer;
use super::call::{Call, Target};
use super::faults::{About, Cut, Effect, Plan, Service};
use super::inspect::RequestLine;
use super::sigv4::{self, Authorization, Key, Received, Refusal, Scope};
use super::{Sandbox, bundle, capacity, healthlake, inspect, lock, serve, sts};

pub(super) fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/_sandbox/resources", get(inspect::resources))
        .route("/_sandbox/history", get(inspect::history))
        .route("/_sandbox/requests", get(inspect::requests))
        .route(
            "/_sandbox/faults",
            get(inspect::faults).post(inspect::add_faults).delete(inspect::clear_faults),
        )
        .route("/_sandbox/reset", post(inspect::reset))
        // They need no signature: so nobody from outside.
        .route_layer(middleware::from_fn(inspect::loopback_only))
        // STS is `/`, HealthLake is `/datastore/…`; both answer errors in their own shapes, 404 and 405 too.
        .fallback(aws)
        .with_state(sandbox)
}

async fn aws(State(sandbox): State<Sandbox>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = match read(body, sandbox.config().max_body).await {
        Ok(body) => body,
        // The caller broke off; nobody is there to answer.
        Err(_) => return serve::cut(),
    };
    // On its own, since a caller that hangs up does not stop HealthLake.
    tokio::spawn(exchange(sandbox, parts, body)).await.unwrap_or_else(|_| serve::cut())
}

/// None: more than `limit`. The rest is read all the same (up to a bound), or the caller would still be sending
/// when the connection ends and never see the answer.
async fn read(mut body: Body, limit: usize) -> Result<Option<Bytes>, axum::Error> {
    let (mut read, mut total) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else { continue };
        total += data.len();
        if total <= limit {
            read.extend_from_slice(&data);
        } else if total > limit.saturating_mul(16) {
            break;
        }
    }
    Ok((total <= limit).then(|| read.freeze()))
}

async fn exchange(sandbox: Sandbox, parts: Parts, body: Option<Bytes>) -> Response {
    let request_id = Uuid::new_v4().to_string();
    let service = if parts.uri.path() == "/" { Service::Sts } else { Service::HealthLake };
    let mut line = RequestLine::new(&parts, service, &request_id, sandbox.now());
    let answer = match body {
        None => Some(Answer::too_large()),
        Some(body) => {
            let verdict = judge(&sandbox, service, &parts, &body);
            line.key_id = Authorization::of(&parts.headers, parts.uri.query().unwrap_or(""))
                .ok()
                .map(|authorization| authorization.key_id.to_owned());
            line.signature = verdict.as_ref().map_or_else(|refusal| refusal.verdict(), |_| "valid");
            match verdict {
                Ok(key_id) => {
                    let work =
                        Work { sandbox: sandbox.clone(), service, key_id, request_id: request_id.clone() };
                    work.run(parts, body).await
                }
                Err(refusal) if service == Service::Sts => Some(sts::refused(&refusal, &request_id)),
                Err(refusal) => Some(Answer::refused(&refusal)),
            }
        }
    };
    line.status = answer.as_ref().map(|answer| answer.status.as_u16());
    lock(&sandbox.0.requests).add(line);
    answer.map_or_else(serve::cut, |answer| answer.into_response(&request_id))
}

fn judge(sandbox: &Sandbox, service: Service, parts: &Parts, body: &[u8]) -> Result<String, Refusal> {
    let config = sandbox.config();
    let received = Received {
        method: parts.method.as_str(),
        path: parts.uri.path(),
        query: parts.uri.query().unwrap_or(""),
        headers: &parts.headers,
        body,
    };
    // One listener stands for the regional STS and for the global one, which is signed for us-east-1.
    let scope = match service {
        Service::Sts => Scope { regions: &[&config.region, "us-east-1"], service: "sts" },
        Service::HealthLake => Scope { regions: &[&config.region], service: "healthlake" },
    };
    let key = |key_id: &str| {
        if key_id == config.access_key_id {
            Some(Key { secret: config.secret_access_key.clone(), session: None })
        } else {
            sandbox.0.sessions.key(key_id)
        }
    };
    sigv4::verify(&received, &scope, sandbox.now(), key)
}

/// A request whose signature is right.
struct Work {
    sandbox: Sandbox,
    service: Service,
    key_id: String,
    request_id: String,
}

impl Work {
    /// None: the connection is to be cut.
    async fn run(self, parts: Parts, body: Bytes) -> Option<Answer> {
        let call = Call::new(parts, body);
        let plan = self.plan(&call);
        // What a fault holds back is void after a reset: it would turn up in somebody else's scenario.
        let epoch = lock(&self.sandbox.0.store).epoch;
        let held_back = (!plan.delay.is_zero()).then_some(epoch);
        if held_back.is_some() {
            tokio::time::sleep(plan.delay).await;
        }
        match plan.effect {
            None => Some(self.act(&call, held_back)),
            Some(Effect::Rewrite(by)) => Some(self.act(&call, held_back).replaced(by)),
            Some(Effect::Instead(by)) => Some(self.failure(by.status).replaced(by)),
            Some(Effect::Throttle(by)) => Some(self.throttled().replaced(by)),
            Some(Effect::Cut(Cut::Before)) => None,
            Some(Effect::Cut(Cut::After)) => {
                let _ = self.act(&call, held_back);
                None
            }
            Some(Effect::Late { by, answer }) => {
                let answer = answer.map(|replacement| self.failure(replacement.status).replaced(replacement));
                tokio::spawn(async move {
                    tokio::time::sleep(by).await;
                    let _ = self.act(&call, Some(epoch));
                });
                answer
            }
        }
    }

    fn plan(&self, call: &Call) -> Plan {
        let target = match self.service {
            Service::HealthLake => Target::of(&call.path).ok(),
            Service::Sts => None,
        };
        let (kind, key) = target.as_ref().map_or((None, None), |target| (target.kind(), target.key()));
        let about = About { service: self.service, method: call.method.as_str(), kind, key: key.as_deref() };
        lock(&self.sandbox.0.faults).plan(&about)
    }

    /// Carries the call out, unless the store was reset since `epoch`.
    fn act(&self, call: &Call, epoch: Option<u64>) -> Answer {
        let sandbox = &self.sandbox;
        let now = sandbox.now();
        if self.service == Service::Sts {
            let state = (sandbox.config(), &sandbox.0.sessions);
            return sts::call(state, &self.key_id, (call.method.as_str(), &call.body), &self.request_id, now);
        }
        let units = capacity::units(call.body.len(), call.is_strong() || bundle::is_transaction(call));
        if call.is_write() && !lock(&sandbox.0.capacity).take(units, now) {
            return self.throttled();
        }
        let mut store = lock(&sandbox.0.store);
        if epoch.is_some_and(|epoch| epoch != store.epoch) {
            return self.failure(None);
        }
        healthlake::answer(sandbox.config(), &mut store, call, now)
    }

    fn throttled(&self) -> Answer {
        match self.service {
            Service::Sts => sts::throttled(&self.request_id),
            Service::HealthLake => Answer::throttled(self.sandbox.config().throttle_status),
        }
    }

    /// The exception that goes with the status that a fault wears.
    fn failure(&self, status: Option<u16>) -> Answer {
        let exception = match status {
            Some(400) => "ValidationException",
            Some(401 | 403) => "AccessDeniedException",
            Some(404) => "ResourceNotFoundException",
            Some(409 | 412) => "ConflictException",
            Some(429) => "ThrottlingException",
            Some(503) => "ServiceUnavailableException",
            _ => "InternalServerException",
        };
        match self.service {
            Service::Sts => sts::failed(&self.request_id),
            Service::HealthLake => {
                Answer::aws(StatusCode::INTERNAL_SERVER_ERROR, exception, "Failed on demand")
            }
        }
    }
}
