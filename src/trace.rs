//! Spans of deliveries for OpenTelemetry: the rooms say what they do, `operate::otlp` sends it.
//!
//! They are `tracing`'s spans under a target of their own, which nobody but the exporter's layer wants. Where no
//! collector is named nobody does: a call site is then one look at a flag, and nothing is built. Of a resource a span
//! tells what the log line does: type, id, version.

use http::{HeaderMap, Method};
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TraceContextExt;
use opentelemetry_http::{HeaderExtractor, HeaderInjector};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tracing::field::{Empty, display};
use tracing::{Level, Span, info_span, span_enabled};
use tracing_opentelemetry::OpenTelemetrySpanExt;

use crate::forward::Report;
use crate::healthlake::{Meaning, Said};
use crate::mirror::Source;
use crate::verdict::Verdict;

/// Of the spans, and of nothing else.
pub const TARGET: &str = "lakehook::trace";

/// A collector is named.
fn on() -> bool {
    span_enabled!(target: TARGET, Level::INFO)
}

/// What is done here is a part of something that is traced.
fn inside() -> bool {
    on() && !Span::current().is_none()
}

/// A request of a sender, or one delivery: both may hold what became of it.
macro_rules! delivery {
    ($kind:literal) => {
        info_span!(
            target: TARGET,
            "delivery",
            otel.kind = $kind,
            otel.name = Empty,
            otel.status_code = Empty,
            "error.type" = Empty,
            "http.request.method" = Empty,
            "http.route" = Empty,
            "http.response.status_code" = Empty,
            "lakehook.delivery" = Empty,
            "lakehook.interaction" = Empty,
            "lakehook.source" = Empty,
            "lakehook.resource_type" = Empty,
            "lakehook.key" = Empty,
            "lakehook.version_id" = Empty,
            "lakehook.verdict" = Empty,
            "lakehook.refused" = Empty,
            "lakehook.attempts" = Empty,
            "lakehook.entries" = Empty,
        )
    };
}

/// The server's span of a request. The sender's `traceparent` is its parent; `route` is the URL's shape, which holds no
/// id; `delivery` the request's id in the log.
pub fn request(
    method: &Method,
    headers: &HeaderMap,
    delivery: &str,
    route: impl FnOnce() -> Option<String>,
) -> Span {
    let span = delivery!("server");
    if span.is_disabled() {
        return span;
    }
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    if parent.span().span_context().is_valid() {
        // It has not begun yet, so a parent can be set.
        let _ = span.set_parent(parent);
    }
    let method = known(method);
    match route() {
        Some(route) => {
            span.record("otel.name", format!("{method} {route}"));
            span.record("http.route", route);
        }
        None => {
            span.record("otel.name", method);
        }
    }
    span.record("http.request.method", method);
    span.record("lakehook.delivery", delivery);
    span
}

/// What a stranger writes there must not name a span.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::DELETE => "DELETE",
        Method::PATCH => "PATCH",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// One entry of a Bundle, below the request's span.
pub fn entry() -> Span {
    if !inside() {
        return Span::none();
    }
    let span = delivery!("internal");
    span.record("otel.name", "entry");
    span
}

/// A delivery that no request of the CDR began; none where it already has a span.
pub fn delivery(source: Source) -> Span {
    if !on() || inside() {
        return Span::none();
    }
    let span = delivery!("internal");
    span.record("otel.name", display(format_args!("deliver {}", source.name())));
    span
}

/// What became of the delivery whose span this is.
pub fn told(report: &Report) {
    if !inside() {
        return;
    }
    let span = Span::current();
    span.record("lakehook.interaction", report.interaction);
    span.record("lakehook.source", report.source.name());
    if let Some(key) = &report.key {
        span.record("lakehook.resource_type", key.resource_type());
        span.record("lakehook.key", display(key));
    }
    if let Some(version) = report.version.version_id.as_deref() {
        span.record("lakehook.version_id", version);
    }
    span.record("lakehook.attempts", report.attempts);
    judged(&span, &report.verdict);
}

/// A request that did not become a delivery.
pub fn rejected(verdict: &Verdict) {
    if inside() {
        judged(&Span::current(), verdict);
    }
}

/// A request that carried several deliveries: each has its own span below.
pub fn entries(verdicts: &[Verdict]) {
    if !inside() {
        return;
    }
    let span = Span::current();
    span.record("lakehook.entries", verdicts.len());
    if let Some(failed) = verdicts.iter().find(|verdict| !verdict.is_settled()) {
        judged(&span, failed);
    }
}

fn judged(span: &Span, verdict: &Verdict) {
    span.record("lakehook.verdict", verdict.name());
    let error = match verdict {
        // The CDR is told that all is well; HealthLake lacks the version all the same.
        Verdict::DeadLettered { refused, .. } => {
            span.record("lakehook.refused", refused.name());
            refused.name()
        }
        verdict if verdict.is_settled() => return,
        verdict => verdict.name(),
    };
    span.record("error.type", error);
    span.record("otel.status_code", "ERROR");
}

/// The answer that the sender gets; not told of one that hung up.
pub fn answered(span: &Span, status: u16) {
    span.record("http.response.status_code", status);
}

/// A step of a delivery within this process.
pub fn step(name: &'static str) -> Span {
    if !inside() {
        return Span::none();
    }
    info_span!(
        target: TARGET,
        "step",
        otel.kind = "internal",
        otel.name = name,
        otel.status_code = Empty,
        "error.type" = Empty,
    )
}

/// A step at the order store, by its name.
pub fn order(name: &'static str, store: &'static str) -> Span {
    if !inside() {
        return Span::none();
    }
    let kind = if store == "dynamodb" { "client" } else { "internal" };
    info_span!(
        target: TARGET,
        "order",
        otel.kind = kind,
        otel.name = name,
        otel.status_code = Empty,
        "error.type" = Empty,
        "lakehook.order_store" = store,
        "lakehook.order" = Empty,
    )
}

/// What the order store said, other than yes.
pub fn order_said(what: &'static str) {
    if inside() {
        Span::current().record("lakehook.order", what);
    }
}

/// The step whose span this is failed. `kind` is a name of ours, never an error's text.
pub fn failed(kind: &'static str) {
    if !inside() {
        return;
    }
    let span = Span::current();
    span.record("error.type", kind);
    span.record("otel.status_code", "ERROR");
}

/// One HTTP request of ours; `template` is the URL's shape, `at` host and port, `resend` counts repetitions.
pub fn client<'a>(
    method: &Method,
    template: &'static str,
    at: impl FnOnce() -> (&'a str, Option<u16>),
    resend: u32,
) -> Span {
    if !inside() {
        return Span::none();
    }
    let (host, port) = at();
    let name = format!("{} {template}", known(method));
    info_span!(
        target: TARGET,
        "client",
        otel.kind = "client",
        otel.name = name.trim_end(),
        otel.status_code = Empty,
        "error.type" = Empty,
        "http.request.method" = known(method),
        "url.template" = (!template.is_empty()).then_some(template),
        "server.address" = host,
        "server.port" = port,
        "http.request.resend_count" = (resend > 0).then_some(resend),
        "http.response.status_code" = Empty,
        "aws.request_id" = Empty,
        "lakehook.exception" = Empty,
    )
}

/// Of work that somebody with a deadline may drop: the span then says so.
pub struct Unended(Span);

pub fn unended(span: &Span) -> Unended {
    Unended(span.clone())
}

impl Unended {
    pub fn ended(mut self) {
        self.0 = Span::none();
    }
}

impl Drop for Unended {
    fn drop(&mut self) {
        self.0.record("error.type", "deadline-passed");
        self.0.record("otel.status_code", "ERROR");
    }
}

/// What the other side answered.
pub fn heard(status: u16) {
    if !inside() {
        return;
    }
    let span = Span::current();
    span.record("http.response.status_code", status);
    if status >= 400 {
        span.record("error.type", display(status));
        span.record("otel.status_code", "ERROR");
    }
}

/// What HealthLake answered. That it does not have what is to be deleted is no error.
pub fn said(said: &Said) {
    if !inside() {
        return;
    }
    let span = Span::current();
    span.record("http.response.status_code", said.status.as_u16());
    if let Some(id) = said.request_id.as_deref() {
        span.record("aws.request_id", id);
    }
    if let Some(exception) = said.exception.as_deref() {
        span.record("lakehook.exception", exception);
    }
    if !matches!(said.meaning, Meaning::Done(_) | Meaning::Gone) {
        span.record("error.type", display(said.status.as_u16()));
        span.record("otel.status_code", "ERROR");
    }
}

/// STS, or whoever else gives out credentials. It has a trace of its own where no delivery waits for it.
pub fn renewal() -> Span {
    info_span!(
        target: TARGET,
        "renew credentials",
        otel.kind = "client",
        otel.status_code = Empty,
        "error.type" = Empty,
    )
}

/// Puts `traceparent` (and `tracestate`, where the sender gave one) of what is going on into the headers of a request
/// of ours.
pub fn carry_on(headers: &mut HeaderMap) {
    if inside() {
        let context = Span::current().context();
        TraceContextPropagator::new().inject_context(&context, &mut HeaderInjector(headers));
    }
}

/// The trace's id, for the log.
pub fn id(span: &Span) -> Option<String> {
    if span.is_disabled() {
        return None;
    }
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| context.trace_id().to_string())
}
