//! Deliveries of commands, over the admin address: `PUT`, `DELETE` or `POST` (read it at the CDR) of
//! `/deliveries/{Type}/{id}`, answered by what became of it. They take turns among themselves, so that live
//! deliveries always find room.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode};
use http_body_util::{BodyExt, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::admin::Admin;
use super::delivery_log;
use crate::delivery::{Addressed, Delivery, Key};
use crate::explain::{Explained, explain as explain_resource};
use crate::mirror::{SOURCE_HEADER, Source, Told};
use crate::receive::{App, Caller, Callers};
use crate::verdict::Verdict;

/// Who may command this instance, and how much at once.
#[derive(Clone)]
pub struct Control {
    pub callers: Arc<Callers>,
    turns: Arc<Semaphore>,
    /// The console sends dead letters again for one at a time.
    pub(super) redriving: Arc<Semaphore>,
}

impl Control {
    /// Of `most` deliveries in flight a quarter may be a command's.
    pub fn new(callers: Arc<Callers>, most: usize) -> Self {
        Self {
            callers,
            turns: Arc::new(Semaphore::new((most / 4).max(1))),
            redriving: Arc::new(Semaphore::new(1)),
        }
    }
}

/// Everything behind it needs the admin token.
pub async fn authenticate(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let known = admin
        .control
        .as_ref()
        .is_some_and(|control| control.callers.head(request.headers(), false) == Caller::Known);
    if known { next.run(request).await } else { StatusCode::UNAUTHORIZED.into_response() }
}

pub async fn instance(State(admin): State<Admin>) -> Response {
    let body = serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "orderStore": admin.app.forward.store.name(),
    });
    Json(body).into_response()
}

pub async fn deliver(
    State(admin): State<Admin>,
    Path((resource_type, id)): Path<(String, String)>,
    method: Method,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(source) = headers.get(SOURCE_HEADER).and_then(|name| name.to_str().ok()).and_then(Source::parse)
    else {
        return (StatusCode::BAD_REQUEST, "x-lakehook-source names none").into_response();
    };
    let Ok(key) = Key::new(&resource_type, &id) else {
        return (StatusCode::BAD_REQUEST, "not /deliveries/{Type}/{id}").into_response();
    };
    let Some(control) = &admin.control else { return StatusCode::NOT_FOUND.into_response() };
    let app = admin.app.clone();
    let Ok(turn) = control.turns.clone().acquire_owned().await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let body = match Limited::new(body, app.limits.max_body).collect().await {
        Ok(body) => body.to_bytes(),
        Err(_) => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };
    let delivery = match method {
        Method::PUT => Delivery::Upsert { addressed: Addressed::to(&key), json: body, verbatim: true },
        Method::DELETE => Delivery::Delete { key },
        Method::POST => Delivery::Changed { key },
        _ => return StatusCode::METHOD_NOT_ALLOWED.into_response(),
    };
    match forward(app, delivery, source, turn).await {
        Ok(told) => Json(told).into_response(),
        Err(Verdict::Internal) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        Err(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// A delivery that a person asks for at the console.
pub(super) async fn send(admin: &Admin, delivery: Delivery, source: Source) -> Result<Told, Verdict> {
    let control = admin.control.as_ref().ok_or(Verdict::Internal)?;
    let turn = control.turns.clone().acquire_owned().await.map_err(|_| Verdict::ShuttingDown)?;
    forward(admin.app.clone(), delivery, source, turn).await
}

/// Takes a place among the deliveries in flight, and is counted and logged as those of the CDR are. An error: nothing
/// was done.
async fn forward(
    app: Arc<App>,
    delivery: Delivery,
    source: Source,
    turn: OwnedSemaphorePermit,
) -> Result<Told, Verdict> {
    let bytes = match &delivery {
        Delivery::Upsert { json, .. } => json.len(),
        Delivery::Delete { .. } | Delivery::Changed { .. } => 0,
    };
    let admitted = app.admission.admit(bytes)?;
    if app.lifecycle.is_stopping() {
        return Err(Verdict::ShuttingDown);
    }
    // From here on it runs to its end, whether or not anybody waits for it.
    let ended = tokio::spawn(async move {
        let report = app.forward.forward(delivery, source, Instant::now() + app.limits.deadline).await;
        app.metrics.delivered(&report);
        let id = delivery_log::commanded(&report);
        let told = Told::of(&report);
        app.recent.add(&id, report);
        drop((turn, admitted));
        told
    });
    ended.await.map_err(|_| Verdict::Internal)
}

/// What is known of one resource, here and on both sides.
pub async fn explain(
    State(admin): State<Admin>,
    Path((resource_type, id)): Path<(String, String)>,
) -> Response {
    let Ok(key) = Key::new(&resource_type, &id) else {
        return (StatusCode::BAD_REQUEST, "not /explain/{Type}/{id}").into_response();
    };
    Json(explained(&admin.app, &key).await).into_response()
}

pub(super) async fn explained(app: &App, key: &Key) -> Explained {
    let deliveries = app.recent.last(EXPLAINED, Some(&key.to_string()));
    explain_resource(&app.forward, key, deliveries, Instant::now() + app.limits.deadline).await
}

/// The last deliveries of all resources.
pub async fn recent(State(admin): State<Admin>) -> Response {
    Json(admin.app.recent.last(RECENT, None)).into_response()
}

const EXPLAINED: usize = 20;
const RECENT: usize = 200;
