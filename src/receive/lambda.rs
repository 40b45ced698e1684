//! AWS Lambda in a listener's place: an event of API Gateway (REST, HTTP API) or of a Function URL is the request that
//! it tells of, and goes to the same router. With the answer Lambda freezes the process, so nothing is left undone then.

use std::convert::Infallible;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderValue, Uri};
use lambda_http::request::RequestContext;
use lambda_http::{RequestExt, service_fn};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt;

use super::listen::Peer;
use super::router::{App, router};

/// The invocation of the function that a request came with.
#[derive(Clone)]
pub struct Invocation {
    pub request_id: String,
    /// Deliveries end by then, whatever `--deadline` says: Lambda ends the process soon after.
    pub until: Instant,
}

/// What API Gateway may have decoded and no URL can hold: encoded again, it is refused as what it is.
const ODD: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'\\')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');

/// Takes events from Lambda's runtime API, one after the other, for as long as that is there. `margin` is kept of each
/// invocation's time, for what comes behind a delivery's deadline.
pub async fn lambda(app: Arc<App>, margin: Duration) -> Result<(), lambda_http::Error> {
    let router = router(app.clone());
    lambda_http::run(service_fn(move |event: lambda_http::Request| {
        let (app, router) = (app.clone(), router.clone());
        async move {
            let left = event.lambda_context_ref().map_or(Duration::MAX, |context| {
                context.deadline().duration_since((app.forward.clock)()).unwrap_or_default()
            });
            let end = Instant::now() + left.min(LONGEST);
            app.forward.healthlake.renew_credentials().await;
            let request = request(event, &app.base_path, end - margin.min(left));
            let response: Response = match router.oneshot(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            };
            // Half of what is left belongs to the answer.
            let _ = timeout_at(end - margin.min(left) / 2, app.forward.settled()).await;
            Ok::<_, Infallible>(response)
        }
    }))
    .await
}

/// No function runs for longer.
const LONGEST: Duration = Duration::from_secs(900);

fn request(event: lambda_http::Request, base_path: &str, until: Instant) -> Request {
    let (stage, peer) = event.request_context_ref().map_or((None, None), origin);
    let request_id = event.lambda_context_ref().map(|context| context.request_id.clone());
    let path = without_stage(event.raw_http_path(), stage.as_deref(), base_path);
    let mut target = utf8_percent_encode(path, ODD).to_string();
    if !target.starts_with('/') {
        target.insert(0, '/');
    }
    if let Some(query) = event.uri().query() {
        target.push('?');
        target.push_str(query);
    }
    let (mut parts, body) = event.into_parts();
    // Too long for a URL: no path of ours.
    parts.uri = target.parse().unwrap_or_else(|_| Uri::from_static("/%"));
    let body = match body {
        lambda_http::Body::Text(text) => Bytes::from(text),
        lambda_http::Body::Binary(bytes) => Bytes::from(bytes),
        _ => Bytes::new(),
    };
    // As it was on the wire to AWS, it may be gone or another's.
    parts.headers.remove(TRANSFER_ENCODING);
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    parts.extensions.insert(Invocation { request_id: request_id.unwrap_or_default(), until });
    if let Some(peer) = peer {
        parts.extensions.insert(peer);
    }
    Request::from_parts(parts, Body::from(body))
}

/// The API's stage, and who called AWS.
fn origin(context: &RequestContext) -> (Option<String>, Option<Peer>) {
    let (stage, source, certificate) = match context {
        RequestContext::ApiGatewayV1(context) => {
            (&context.stage, &context.identity.source_ip, context.identity.other.contains_key("clientCert"))
        }
        RequestContext::ApiGatewayV2(context) => (
            &context.stage,
            &context.http.source_ip,
            context
                .authentication
                .as_ref()
                .is_some_and(|authentication| authentication.client_cert.is_some()),
        ),
        _ => return (None, None),
    };
    let address: Option<IpAddr> = source.as_deref().and_then(|source| source.parse().ok());
    let peer = address.map(|address| Peer { address: SocketAddr::new(address, 0), certificate });
    (stage.clone(), peer)
}

/// An HTTP API's path begins with its stage, but for `$default`; a REST API's does not.
fn without_stage<'a>(path: &'a str, stage: Option<&str>, base_path: &str) -> &'a str {
    let below = |base: &str| path.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with('/'));
    if !base_path.is_empty() && below(base_path).is_some() {
        return path;
    }
    match stage {
        Some(stage) if stage != "$default" => below(&format!("/{stage}")).unwrap_or(path),
        _ => path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stage_is_taken_off_and_nothing_else() {
        let cases = [
            ("/fhir/Patient/p1", Some("prod"), "/fhir", "/fhir/Patient/p1"),
            ("/prod/fhir/Patient/p1", Some("prod"), "/fhir", "/fhir/Patient/p1"),
            ("/prod/healthz", Some("prod"), "/fhir", "/healthz"),
            ("/fhir/fhir/Patient/p1", Some("fhir"), "/fhir", "/fhir/fhir/Patient/p1"),
            ("/product/fhir/Patient/p1", Some("prod"), "/fhir", "/product/fhir/Patient/p1"),
            ("/$default/fhir/Patient/p1", Some("$default"), "/fhir", "/$default/fhir/Patient/p1"),
            ("/prod/Patient/p1", Some("prod"), "", "/Patient/p1"),
            ("/prod", Some("prod"), "", ""),
            ("/fhir/Patient/p1", None, "/fhir", "/fhir/Patient/p1"),
        ];
        for (path, stage, base, expected) in cases {
            assert_eq!(without_stage(path, stage, base), expected, "{path} of stage {stage:?}");
        }
    }

    #[test]
    fn what_was_decoded_is_encoded_again() {
        for (path, expected) in [
            ("/fhir/Patient/a b", "/fhir/Patient/a%20b"),
            ("/fhir/Patient/a?x#y", "/fhir/Patient/a%3Fx%23y"),
            ("/fhir/Patient/ä", "/fhir/Patient/%C3%A4"),
            ("/fhir/Patient/a%2Fb", "/fhir/Patient/a%2Fb"),
        ] {
            let encoded = utf8_percent_encode(path, ODD).to_string();
            assert_eq!(encoded, expected);
            assert!(encoded.parse::<Uri>().is_ok(), "{encoded}");
        }
    }
}
