//! The routes at a glance, and what surrounds every delivery.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use tracing::Instrument;

use super::bundle::Item;
use super::detached::Detached;
use super::intake::{Arrived, Intake, Notification};
use super::lambda::Invocation;
use super::listen::Peer;
use super::path::route;
use super::{Admission, Callers};
use crate::answer::{self, Answered};
use crate::forward::{Forward, Report};
use crate::mirror::Source;
use crate::operate::delivery_log::{self, Received, Shape};
use crate::operate::{Lifecycle, Metrics, Recent, health};
use crate::trace;
use crate::verdict::Verdict;

/// What a delivery may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes, after gunzip too
    pub max_body: usize,
    /// One delivery, all in
    pub deadline: Duration,
    pub body_timeout: Duration,
}

/// All that a delivery meets.
pub struct App {
    /// Without a slash at its end
    pub base_path: Box<str>,
    pub callers: Arc<Callers>,
    pub forward: Arc<Forward>,
    pub admission: Admission,
    pub limits: Limits,
    pub lifecycle: Lifecycle,
    pub metrics: Arc<Metrics>,
    pub recent: Arc<Recent>,
}

pub fn router(app: Arc<App>) -> Router {
    Router::new()
        // Everything but the health checks is a delivery; `receive::path` says what is one.
        .fallback(notification)
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .with_state(app)
}

/// What would be layers elsewhere stands here as it is run, from the outside in: each layer of axum's is a box and a
/// clone for every delivery.
async fn notification(State(app): State<Arc<App>>, request: Request) -> Response {
    // Refused ones too: the deadline counts from here.
    let arrived = Arrived(Instant::now());
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    let mut received = Received::new(peer, request.headers());
    received.aws_request_id =
        request.extensions().get::<Invocation>().map(|invocation| invocation.request_id.clone());
    let method = request.method().clone();
    let shape = Shape::of(request.headers());
    let span = trace::request(&method, request.headers(), &received.id, || {
        route(&app.base_path, request.uri().path())
    });
    received.trace_id = trace::id(&span);
    let received = Arc::new(received);
    let mut response = if app.lifecycle.is_stopping() {
        // Before authentication: a balancer must see 503 from an instance that goes away.
        span.in_scope(|| trace::rejected(&Verdict::ShuttingDown));
        Verdict::ShuttingDown.into_response()
    } else {
        // A panic anywhere below is an answer, not a cut connection.
        let delivered = deliver(app, received.clone(), request, arrived).instrument(span.clone());
        AssertUnwindSafe(delivered).catch_unwind().await.unwrap_or_else(|_| {
            span.in_scope(|| trace::rejected(&Verdict::Internal));
            Verdict::Internal.into_response()
        })
    };
    trace::answered(&span, response.status().as_u16());
    let verdict = response.extensions().get::<Answered>().map_or("none", |answered| answered.0);
    delivery_log::notification(&received, &method, &shape, response.status(), verdict, arrived.0.elapsed());
    name_it(response.headers_mut(), &received);
    response
}

/// From the moment it is understood the delivery runs to its end, whether or not the caller waits for it.
async fn deliver(app: Arc<App>, received: Arc<Received>, request: Request, arrived: Arrived) -> Response {
    let intake = match Intake::take(request, &app, arrived).await {
        Ok(intake) => intake,
        Err(verdict) => {
            app.metrics.rejected(&verdict);
            delivery_log::rejected(&received, &verdict);
            trace::rejected(&verdict);
            return verdict.into_response();
        }
    };
    let Intake { notification, deadline, admitted } = intake;
    let work = async move {
        let response = run(&app, &received, notification, deadline).await;
        drop(admitted);
        response
    };
    // Its span is its own: a caller that goes away does not end it.
    Detached::new(work.in_current_span()).await
}

async fn run(app: &App, received: &Received, notification: Notification, deadline: Instant) -> Response {
    match notification {
        Notification::One(delivery) => {
            let report = app.forward.deliver(delivery, Source::Live, deadline, Some(&received.id)).await;
            answer::one(&record(app, received, report))
        }
        Notification::Unreadable(unreadable) => {
            let report = app.forward.refuse(unreadable, deadline, &received.id).await;
            answer::one(&record(app, received, report))
        }
        Notification::Bundle(kind, items) => {
            let mut verdicts = Vec::with_capacity(items.len());
            for item in items {
                verdicts.push(match item {
                    Item::Acknowledge => Verdict::Acknowledged,
                    Item::Deliver(delivery) => {
                        let deliver =
                            app.forward.deliver(delivery, Source::Live, deadline, Some(&received.id));
                        record(app, received, deliver.instrument(trace::entry()).await)
                    }
                });
            }
            trace::entries(&verdicts);
            answer::bundle(kind, &verdicts)
        }
    }
}

fn record(app: &App, received: &Received, report: Report) -> Verdict {
    app.metrics.delivered(&report);
    delivery_log::delivered(received, &report);
    app.recent.add(&received.id, report)
}

/// The delivery's id in our log, for whoever reads the CDR's.
fn name_it(headers: &mut HeaderMap, received: &Received) {
    if let Ok(id) = HeaderValue::from_str(&received.id) {
        headers.insert("x-request-id", id);
    }
}
