//! Authenticates, bounds and parses a request; what follows never sees a raw one.

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use http::header::IF_MATCH;
use http::request::Parts;
use http::{HeaderMap, Method};
use http_body::Body as _;
use tokio::time::Instant;

use super::admission::Admitted;
use super::body::{self, Encoding};
use super::bundle::Item;
use super::callers::Caller;
use super::lambda::Invocation;
use super::listen::Peer;
use super::media::{Media, media};
use super::path::{Target, target};
use super::router::App;
use super::shape::{self, Content};
use crate::answer::BundleAnswer;
use crate::delivery::{Delivery, Key, Unreadable, is_id};
use crate::verdict::{BadRequest, Verdict};

/// A request that was understood, and its place among those in flight.
pub struct Intake {
    pub notification: Notification,
    pub deadline: Instant,
    pub admitted: Admitted,
}

pub enum Notification {
    One(Delivery),
    /// What can't be made FHIR JSON, of a resource that the URL names.
    Unreadable(Unreadable),
    Bundle(BundleAnswer, Vec<Item>),
}

/// When the head of the request had arrived: its deadline counts from here.
#[derive(Clone, Copy)]
pub struct Arrived(pub Instant);

const DELETED_RESOURCE: &str = "x-medplum-deleted-resource";

impl Intake {
    pub async fn take(request: Request, app: &App, arrived: Arrived) -> Result<Self, Verdict> {
        let Arrived(arrived) = arrived;
        let (parts, mut body) = request.into_parts();
        let certificate = parts.extensions.get::<Peer>().is_some_and(|peer| peer.certificate);
        let caller = app.callers.head(&parts.headers, certificate);
        if caller == Caller::Unknown {
            return Err(Verdict::Unauthenticated);
        }
        let result = take(app, &parts, caller, &mut body, arrived).await;
        if result.is_err() {
            let until = arrived + app.limits.body_timeout;
            body::discard(body, app.limits.max_body.saturating_mul(UNREAD), until);
        }
        result
    }
}

/// Of a body too large this many times the limit is read on, so that its sender sees the answer.
const UNREAD: usize = 4;

/// The order is the point: what the head tells comes before anything of the body is read.
async fn take(
    app: &App,
    parts: &Parts,
    caller: Caller,
    body: &mut Body,
    arrived: Instant,
) -> Result<Intake, Verdict> {
    let rest = parts
        .uri
        .path()
        .strip_prefix(&*app.base_path)
        .filter(|rest| rest.is_empty() || rest.starts_with('/'))
        .ok_or(Verdict::NotFound)?;
    let target = read_target(&parts.method, rest, parts.uri.query())?;
    let encoding = body::encoding(&parts.headers)?;
    let limit = app.limits.max_body;
    let chunked = !body.is_end_stream() && body.size_hint().exact().is_none();
    let expected = body::expected_bytes(&parts.headers, encoding, chunked, limit)?;
    let admitted = app.admission.admit(expected.min(app.admission.most_bytes()))?;

    let deadline = match parts.extensions.get::<Invocation>() {
        Some(invocation) => invocation.until.min(arrived + app.limits.deadline),
        None => arrived + app.limits.deadline,
    };
    if deadline <= arrived {
        return Err(Verdict::DeadlinePassed);
    }
    let until = body::body_deadline(arrived, app.limits.body_timeout, deadline);
    let raw = body::read(body, limit, until).await?;
    if caller == Caller::Signs && !app.callers.signed(&parts.headers, &raw) {
        return Err(Verdict::Unauthenticated);
    }
    let bytes = match encoding {
        Encoding::Identity => raw,
        Encoding::Gzip => body::gunzip(raw, limit).await?,
    };
    let notification = read(app, &parts.method, target, &parts.headers, bytes)?;
    Ok(Intake { notification, deadline, admitted })
}

/// The URL has to be right before anything of the body is read.
fn read_target(method: &Method, rest: &str, query: Option<&str>) -> Result<Target, Verdict> {
    // With a query in channel.endpoint a sender's path lands in it: that is what to say of such a request.
    if query.is_some() && (*method != Method::POST || query.is_some_and(|query| query.contains('/'))) {
        return Err(Verdict::BadRequest(BadRequest::QueryInEndpoint));
    }
    let target = target(rest)?;
    match (&target, method.as_str()) {
        (Target::Base | Target::Type(_), "POST") | (Target::Resource(_), "PUT" | "DELETE") => Ok(target),
        _ => Err(Verdict::MethodNotAllowed { allow: target.allow() }),
    }
}

fn read(
    app: &App,
    method: &Method,
    target: Target,
    headers: &HeaderMap,
    bytes: Bytes,
) -> Result<Notification, Verdict> {
    let key = match target {
        Target::Resource(key) => key,
        target => return read_post(app, &target, headers, bytes),
    };
    if *method == Method::DELETE {
        return Ok(Notification::One(Delivery::Delete { key }));
    }
    let (media, content_type) = media(headers)?;
    let xml = matches!(media, Media::FhirXml | Media::MaybeXml);
    let version_id = version_id(headers);
    let content = Content { media, content_type, version_id, bytes: bytes.clone() };
    match shape::put(key.clone(), content, &app.forward.validator) {
        Err(refused) if refused.is_refused_content() => {
            Ok(Notification::Unreadable(Unreadable { key, refused, xml, bytes }))
        }
        delivery => delivery.map(Notification::One),
    }
}

/// Of `If-Match: W/"7"`, which HAPI sends with every upsert. It is the CDR's own and goes no further than the order.
fn version_id(headers: &HeaderMap) -> Option<String> {
    let etag = headers.get(IF_MATCH)?.to_str().ok()?.trim();
    let id = etag.strip_prefix("W/").unwrap_or(etag).trim_matches('"');
    is_id(id).then(|| id.to_owned())
}

fn read_post(app: &App, target: &Target, headers: &HeaderMap, bytes: Bytes) -> Result<Notification, Verdict> {
    if let Some(deleted) = headers.get(DELETED_RESOURCE) {
        let bad = Verdict::BadRequest(BadRequest::BadDeletedResource);
        let key = deleted.to_str().ok().and_then(|text| Key::parse(text.trim()).ok()).ok_or(bad.clone())?;
        // Medplum's body is `{}` then: anything more is not its delete.
        let empty = bytes.iter().all(|b| b.is_ascii_whitespace() || matches!(b, b'{' | b'}'));
        return if empty { Ok(Notification::One(Delivery::Delete { key })) } else { Err(bad) };
    }
    let (media, content_type) = media(headers)?;
    shape::post(target, Content { media, content_type, version_id: None, bytes }, &app.forward.validator)
}
