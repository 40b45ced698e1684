//! The routes and the layers, each list at a glance.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::{HeaderMap, HeaderValue};
use tokio::time::Instant;
use tower::ServiceBuilder;
use tower_http::catch_panic::CatchPanicLayer;

use super::bundle::Item;
use super::intake::{Arrived, Intake, Notification};
use super::listen::Peer;
use super::{Admission, Callers};
use crate::answer::{self, Answered};
use crate::forward::{Forward, Report};
use crate::mirror::Source;
use crate::operate::delivery_log::{self, Received};
use crate::operate::{Lifecycle, Metrics, Recent, health};
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
    let layers = ServiceBuilder::new()
        // Outermost: a panic anywhere below is an answer, not a cut connection.
        .layer(CatchPanicLayer::custom(|_| Verdict::Internal.into_response()))
        // Sees every delivery, refused ones too: the deadline counts from here.
        .layer(from_fn(observe))
        // Before authentication: a balancer must see 503 from an instance that goes away.
        .layer(from_fn_with_state(app.clone(), refuse_when_stopping));
    Router::new()
        // Everything but the health checks is a delivery; `receive::path` says what is one.
        .fallback(deliver)
        .layer(layers)
        .route("/healthz", get(health::healthz))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .with_state(app)
}

/// From here on the delivery runs to its end, whether or not the caller waits for it.
async fn deliver(
    State(app): State<Arc<App>>,
    received: axum::Extension<Arc<Received>>,
    intake: Result<Intake, Verdict>,
) -> Response {
    let intake = match intake {
        Ok(intake) => intake,
        Err(verdict) => {
            app.metrics.rejected(&verdict);
            delivery_log::rejected(&received, &verdict);
            return verdict.into_response();
        }
    };
    let detached = tokio::spawn(async move {
        let response = run(&app, &received, intake.notification, intake.deadline).await;
        drop(intake.admitted);
        response
    });
    detached.await.unwrap_or_else(|_| Verdict::Internal.into_response())
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
                        let report =
                            app.forward.deliver(delivery, Source::Live, deadline, Some(&received.id)).await;
                        record(app, received, report)
                    }
                });
            }
            answer::bundle(kind, &verdicts)
        }
    }
}

fn record(app: &App, received: &Received, report: Report) -> Verdict {
    app.metrics.delivered(&report);
    app.recent.add(&received.id, &report);
    delivery_log::delivered(received, &report);
    report.verdict
}

async fn refuse_when_stopping(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.lifecycle.is_stopping() {
        return Verdict::ShuttingDown.into_response();
    }
    next.run(request).await
}

async fn observe(mut request: Request, next: Next) -> Response {
    let arrived = Instant::now();
    let peer = request.extensions().get::<Peer>().map(|peer| peer.address);
    let received = Arc::new(Received::new(peer, request.headers()));
    let method = request.method().clone();
    let shape = delivery_log::Shape::of(request.headers());
    request.extensions_mut().insert(Arrived(arrived));
    request.extensions_mut().insert(received.clone());
    let mut response = next.run(request).await;
    let verdict = response.extensions().get::<Answered>().map_or("none", |answered| answered.0);
    delivery_log::notification(&received, &method, &shape, response.status(), verdict, arrived.elapsed());
    name_it(response.headers_mut(), &received);
    response
}

/// The delivery's id in our log, for whoever reads the CDR's.
fn name_it(headers: &mut HeaderMap, received: &Received) {
    if let Ok(id) = HeaderValue::from_str(&received.id) {
        headers.insert("x-request-id", id);
    }
}
