//! Health checks on the delivery port: a status and no more, since anyone may ask.

use std::sync::Arc;

use axum::extract::State;
use http::StatusCode;

use crate::receive::App;

/// For the balancer: 200 while deliveries are welcome. Not a word of HealthLake: if that fails, taking every
/// instance out of service helps nobody.
pub async fn healthz(State(app): State<Arc<App>>) -> StatusCode {
    if app.lifecycle.is_running() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

/// For the orchestrator: 200 while the process is alive, draining included.
pub async fn livez() -> StatusCode {
    StatusCode::OK
}

/// 200 once a delivery can be forwarded: credentials are there and the end is not near.
pub async fn readyz(State(app): State<Arc<App>>) -> StatusCode {
    let ready = app.lifecycle.is_running() && app.forward.healthlake.has_credentials();
    if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}
