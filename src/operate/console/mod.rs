//! The console: a few pages at the admin address, made on the server, without a script. Behind a login with an admin
//! token; forms carry a token of the session, so that no other site can send one.

mod page;
mod plot;
mod redrive;
mod session;

use std::time::Duration;

use axum::extract::{Form, Query, Request, State};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Extension, Router};
use http::header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, SET_COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use maud::Markup;
use serde::Deserialize;

use super::admin::{Admin, details};
use super::control::{explained, send};
use crate::delivery::{Delivery, Key};
use crate::explain::last_letters;
use crate::mirror::Source;
use crate::receive::Caller;
use crate::verdict::Verdict;
pub use session::{Session, Sessions};

const SHOWN: usize = 50;
const LETTERS: usize = 200;
/// Before a wrong token is answered.
const GUESSING: Duration = Duration::from_secs(1);

/// Nothing is loaded but our own style; nothing runs; nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

pub fn routes(admin: Admin) -> Router<Admin> {
    let inside = Router::new()
        .route("/", get(overview))
        .route("/console/resource", get(resource))
        .route("/console/code", get(code))
        .route("/console/dead-letters", get(dead_letters))
        .route("/console/redrive", post(redrive::redrive))
        .route("/console/resend", post(resend))
        .route("/console/logout", post(logout))
        .layer(from_fn_with_state(admin, authenticate));
    Router::new()
        .merge(inside)
        .route("/console/login", get(async || page::login(false)).post(login))
        .route("/console.css", get(async || ([(CONTENT_TYPE, "text/css")], page::STYLE)))
        .layer(from_fn(headers))
}

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    for (name, value) in [("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer")] {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

async fn authenticate(State(admin): State<Admin>, mut request: Request, next: Next) -> Response {
    match admin.sessions.of(request.headers()) {
        Some(session) => {
            request.extensions_mut().insert(session);
            next.run(request).await
        }
        None => Redirect::to("/console/login").into_response(),
    }
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

async fn login(State(admin): State<Admin>, Form(login): Form<Login>) -> Response {
    let mut headers = HeaderMap::new();
    if let Ok(value) = HeaderValue::from_str(&format!("Bearer {}", login.token.trim())) {
        headers.insert(AUTHORIZATION, value);
    }
    let known =
        admin.control.as_ref().is_some_and(|control| control.callers.head(&headers, false) == Caller::Known);
    if !known {
        tokio::time::sleep(GUESSING).await;
        return (StatusCode::UNAUTHORIZED, page::login(true)).into_response();
    }
    let cookie = format!("{}={}; HttpOnly; SameSite=Strict; Path=/", session::NAME, admin.sessions.start());
    ([(SET_COOKIE, cookie)], Redirect::to("/")).into_response()
}

#[derive(Deserialize)]
struct Posted {
    form_token: String,
    #[serde(default)]
    key: String,
    /// Of a dead letter; none: those that the page shows
    #[serde(default)]
    letter: String,
}

async fn logout(
    State(admin): State<Admin>,
    Extension(session): Extension<Session>,
    headers: HeaderMap,
    Form(posted): Form<Posted>,
) -> Response {
    if !session.made(&posted.form_token) {
        return forged();
    }
    admin.sessions.end(&headers);
    Redirect::to("/console/login").into_response()
}

fn forged() -> Response {
    let text = "This form was not made by this session of the console. Nothing was done.";
    (StatusCode::FORBIDDEN, page::message("Refused", text, None)).into_response()
}

async fn overview(State(admin): State<Admin>, Extension(session): Extension<Session>) -> Markup {
    let recent = admin.app.recent.last(SHOWN, None);
    let hour = admin.app.recent.hour();
    let (_, detail) = details(&admin);
    page::overview(&page::Overview {
        detail: &detail,
        hour: &hour,
        recent: &recent,
        form_token: &session.form_token,
    })
}

#[derive(Deserialize)]
struct Asked {
    #[serde(default)]
    key: String,
    #[serde(default)]
    name: String,
}

async fn resource(
    State(admin): State<Admin>,
    Extension(session): Extension<Session>,
    Query(asked): Query<Asked>,
) -> Response {
    match Key::parse(asked.key.trim()) {
        Ok(key) => {
            page::resource(&explained(&admin.app, &key).await, &session.form_token, None).into_response()
        }
        Err(error) => not_a_key(&error.to_string(), &session),
    }
}

fn not_a_key(error: &str, session: &Session) -> Response {
    let text = format!("Write the resource as Type/id: {error}.");
    (StatusCode::BAD_REQUEST, page::message("Which resource?", &text, Some(&session.form_token)))
        .into_response()
}

async fn dead_letters(State(admin): State<Admin>, Extension(session): Extension<Session>) -> Response {
    let token = &session.form_token;
    letters_page(&admin, token, None).await
}

/// `sent`: what became of those that were sent again just now.
async fn letters_page(admin: &Admin, token: &str, sent: Option<&page::Redriven>) -> Response {
    let Some(keeper) = &admin.app.forward.dead_letters else {
        let text = "None are kept here: the CDR is told the refusal itself.";
        return page::message("Dead letters", text, Some(token)).into_response();
    };
    match last_letters(keeper, LETTERS).await {
        Ok(lines) => page::dead_letters(lines.as_deref(), token, sent).into_response(),
        Err(error) => {
            let page = page::message("Dead letters", &error.to_string(), Some(token));
            (StatusCode::BAD_GATEWAY, page).into_response()
        }
    }
}

async fn code(Extension(session): Extension<Session>, Query(asked): Query<Asked>) -> Response {
    match page::code_page(&asked.name, &session.form_token) {
        Some(page) => page.into_response(),
        None => {
            let text = "lakehook has no such code.";
            let page = page::message("Which code?", text, Some(&session.form_token));
            (StatusCode::NOT_FOUND, page).into_response()
        }
    }
}

async fn resend(
    State(admin): State<Admin>,
    Extension(session): Extension<Session>,
    Form(posted): Form<Posted>,
) -> Response {
    if !session.made(&posted.form_token) {
        return forged();
    }
    let key = match Key::parse(posted.key.trim()) {
        Ok(key) => key,
        Err(error) => return not_a_key(&error.to_string(), &session),
    };
    match send(&admin, Delivery::Changed { key: key.clone() }, Source::Resend).await {
        Ok(told) => {
            let explained = explained(&admin.app, &key).await;
            page::resource(&explained, &session.form_token, Some(&told.verdict)).into_response()
        }
        Err(verdict) => not_sent(&verdict, &session),
    }
}

fn not_sent(verdict: &Verdict, session: &Session) -> Response {
    let text = match verdict {
        Verdict::Overloaded => {
            "Nothing was sent: as much is in flight as --max-in-flight and --max-bytes-in-flight allow. Try again."
        }
        Verdict::ShuttingDown => "Nothing was sent: this instance is shutting down.",
        _ => "It failed inside lakehook; its log says more. Sending it again is safe.",
    };
    let page = page::message("Not sent", text, Some(&session.form_token));
    (StatusCode::SERVICE_UNAVAILABLE, page).into_response()
}
