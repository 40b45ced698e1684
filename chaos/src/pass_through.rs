//! What a signing proxy does: each delivery is signed and passed on as it comes. Kinder than such proxies are, so that
//! the comparison is about order and nothing else: what HealthLake can never take, and a DELETE of what is gone, is
//! answered 200 and 204, which keeps HAPI's threads free.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
use aws_sigv4::sign::v4;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use crate::Result;

struct Upstream {
    client: reqwest::Client,
    endpoint: String,
    credentials: Credentials,
}

pub async fn serve(listen: &str, endpoint: &str) -> Result<()> {
    let variable = |name: &str| std::env::var(name).map_err(|_| format!("{name} is not set"));
    let (id, secret) = (variable("AWS_ACCESS_KEY_ID")?, variable("AWS_SECRET_ACCESS_KEY")?);
    let upstream = Arc::new(Upstream {
        // Below HAPI's 10 s
        client: reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(9)).build()?,
        endpoint: endpoint.trim_end_matches('/').to_owned(),
        credentials: Credentials::new(id, secret, None, None, "storm"),
    });
    let router = Router::new()
        .route("/healthz", axum::routing::get(|| async {}))
        .fallback(forward)
        .with_state(upstream);
    let listener = tokio::net::TcpListener::bind(listen).await?;
    crate::print(&format!("ready http://{}/fhir", listener.local_addr()?));
    let mut end = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    axum::serve(listener, router).with_graceful_shutdown(async move { _ = end.recv().await }).await?;
    Ok(())
}

async fn forward(State(upstream): State<Arc<Upstream>>, request: Request) -> Response {
    let (status, body) = match passed_on(&upstream, request).await {
        Ok(answer) => answer,
        Err(_) => (StatusCode::BAD_GATEWAY, bytes::Bytes::new()),
    };
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    if !body.is_empty() {
        *response.body_mut() = Body::from(body);
        response.headers_mut().insert("content-type", HeaderValue::from_static("application/fhir+json"));
    }
    response
}

async fn passed_on(upstream: &Upstream, request: Request) -> Result<(StatusCode, bytes::Bytes)> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path().strip_prefix("/fhir").unwrap_or_default();
    let body = axum::body::to_bytes(body, 16 << 20).await?;
    let raw = parts.headers.get("content-type").is_some_and(|media| media == "application/pdf");
    if raw {
        return Ok((StatusCode::OK, bytes::Bytes::new()));
    }
    let url = format!("{}{path}", upstream.endpoint);
    let mut headers = HeaderMap::new();
    let host = url.split('/').nth(2).unwrap_or_default();
    headers.insert("host", HeaderValue::from_str(host)?);
    if parts.method == Method::PUT {
        headers.insert("content-type", HeaderValue::from_static("application/fhir+json"));
    }
    add_signature(&parts.method, &url, &mut headers, &body, &upstream.credentials)?;
    let answer =
        upstream.client.request(parts.method.clone(), url).headers(headers).body(body).send().await?;
    let status = answer.status();
    let text = answer.bytes().await?;
    let gone = parts.method == Method::DELETE && matches!(status, StatusCode::NOT_FOUND | StatusCode::GONE);
    if gone {
        return Ok((StatusCode::NO_CONTENT, bytes::Bytes::new()));
    }
    if status == StatusCode::BAD_REQUEST && String::from_utf8_lossy(&text).contains("not-supported") {
        return Ok((StatusCode::OK, bytes::Bytes::new()));
    }
    Ok((status, text))
}

fn add_signature(
    method: &Method,
    url: &str,
    headers: &mut HeaderMap,
    body: &[u8],
    credentials: &Credentials,
) -> Result<()> {
    let identity = credentials.clone().into();
    let params = v4::SigningParams::builder()
        .identity(&identity)
        .region("us-east-1")
        .name("healthlake")
        .time(SystemTime::now())
        .settings(SigningSettings::default())
        .build()?
        .into();
    let mut pairs = Vec::new();
    for (name, value) in &*headers {
        pairs.push((name.as_str(), value.to_str()?));
    }
    let request = SignableRequest::new(method.as_str(), url, pairs.into_iter(), SignableBody::Bytes(body))?;
    let (instructions, _) = sign(request, &params)?.into_parts();
    for (name, value) in instructions.headers() {
        headers.insert(HeaderName::from_bytes(name.as_bytes())?, HeaderValue::from_str(value)?);
    }
    Ok(())
}
