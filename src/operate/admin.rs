//! The admin address: metrics, health in detail, the log filter. Never on the delivery port.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::State;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Json, Router};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde_json::json;

use super::Subscriptions;
use super::console::{self, Sessions};
use super::control::{self, Control};
use super::metrics::Now;
use super::telemetry::{self, LogControl};
use crate::canary;
use crate::deadletter::Keeper;
use crate::receive::App;
use crate::reconcile::Status;

#[derive(Clone)]
pub struct Admin {
    pub app: Arc<App>,
    pub log: Option<LogControl>,
    /// None: no command is taken.
    pub control: Option<Control>,
    /// Who is logged in at the console
    pub sessions: Arc<Sessions>,
    /// None: they are not lakehook's to look after.
    pub subscriptions: Option<Arc<Subscriptions>>,
    /// Of the sweeps that compare both sides, where there are any
    pub reconcile: Option<Status>,
    /// Of the canaries, where they are flown
    pub canary: Option<canary::Status>,
}

pub fn router(admin: Admin) -> Router {
    // What changes the mirror needs a token; what only looks does not.
    let commands = Router::new()
        .route("/instance", get(control::instance))
        .route("/deliveries/{type}/{id}", any(control::deliver))
        .route("/explain/{type}/{id}", get(control::explain))
        .route("/recent", get(control::recent))
        .layer(from_fn_with_state(admin.clone(), control::authenticate));
    Router::new()
        .merge(commands)
        .merge(console::routes(admin.clone()))
        .route("/metrics", get(metrics))
        .route("/healthz", get(detail))
        .route("/readyz", get(detail))
        .route("/livez", get(async || StatusCode::OK))
        .route("/log", get(log).put(set_log))
        .with_state(admin)
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let app = &admin.app;
    let expires = app.forward.healthlake.credentials_expire();
    if let Some(status) = &admin.reconcile {
        app.metrics.reconcile.set(&status.snapshot());
    }
    if let Some(status) = &admin.canary {
        app.metrics.canary.set(&status.snapshot());
    }
    let text = app.metrics.text(Now {
        in_flight: app.admission.in_flight(),
        bytes_in_flight: app.admission.bytes_in_flight(),
        dead_letters: app.forward.dead_letters.as_ref().map(Keeper::usage).unwrap_or_default(),
        remembered: app.forward.store.len().unwrap_or_default(),
        log_lines_dropped: telemetry::dropped_lines(),
        credentials_expire: expires.map_or(0.0, seconds),
    });
    ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
}

async fn detail(State(admin): State<Admin>) -> Response {
    let (ready, body) = details(&admin);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(body)).into_response()
}

/// Whether it is ready, and all that health says in detail.
pub(super) fn details(admin: &Admin) -> (bool, serde_json::Value) {
    let app = &admin.app;
    let healthlake = &app.forward.healthlake;
    let running = app.lifecycle.is_running();
    let ready = running && healthlake.has_credentials();
    let last = healthlake.last_answer();
    let body = json!({
        "ready": ready,
        "draining": !running,
        "credentials": {
            "valid": healthlake.has_credentials(),
            "expire": healthlake.credentials_expire().map(timestamp),
        },
        "healthlake": {
            "endpoint": healthlake.endpoint(),
            "lastAnswer": last.map(|last| json!({ "status": last.status, "at": timestamp(last.at) })),
        },
        "deliveriesInFlight": app.admission.in_flight(),
        "bytesInFlight": app.admission.bytes_in_flight(),
        "orderStore": app.forward.store.name(),
        "resourcesRemembered": app.forward.store.len(),
        "filter": (!app.forward.filter.is_empty()).then(|| {
            let rules = app.forward.filter.rules();
            rules.into_iter().map(|(rule, values)| (rule.name(), values)).collect::<BTreeMap<_, _>>()
        }),
        // Told, and no more: that the CDR sends nothing is no reason to take nothing.
        "subscriptions": admin.subscriptions.as_ref().map(|subscriptions| subscriptions.describe()),
        "deadLetters": app.forward.dead_letters.as_ref().map(|keeper| json!({
            "store": keeper.store().kind(),
            "letters": keeper.usage().letters,
            "bytes": keeper.usage().bytes,
        })),
        "reconcile": admin.reconcile.as_ref().map(|status| {
            let snapshot = status.snapshot();
            json!({ "lagSeconds": snapshot.lag().as_secs(), "status": snapshot })
        }),
        // Told, and no more: whatever is wrong on the way, another instance would not do better.
        "canary": admin.canary.as_ref().map(|status| status.snapshot().describe()),
    });
    (ready, body)
}

async fn log(State(admin): State<Admin>) -> Response {
    match &admin.log {
        Some(log) => log.current().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// The body is the new filter, as in `info,lakehook::export=debug`.
async fn set_log(State(admin): State<Admin>, filter: String) -> Response {
    let Some(log) = &admin.log else { return StatusCode::NOT_FOUND.into_response() };
    match log.set(filter.trim()) {
        Ok(()) => {
            tracing::info!(filter = log.current(), "log filter changed");
            log.current().into_response()
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()).into_response(),
    }
}

fn seconds(at: SystemTime) -> f64 {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn timestamp(at: SystemTime) -> Option<String> {
    jiff::Timestamp::try_from(at).ok().map(|at| at.to_string())
}
