//! The least that could stand in lakehook's place: axum in, reqwest out, nothing looked at. What it costs is what
//! forwarding with these libraries costs.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use tokio::net::TcpSocket;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Upstream {
    client: reqwest::Client,
    base: String,
}

/// Arguments: the address to listen on, the upstream's URL, and a CA file where that is https.
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(base)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare-proxy ADDR URL [CA-FILE]".into());
    };
    let mut client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(1024);
    if let Some(path) = arguments.next() {
        let certificates = reqwest::Certificate::from_pem_bundle(&std::fs::read(path)?)?;
        client = client.tls_certs_merge(certificates);
    }
    let upstream = Arc::new(Upstream { client: client.build()?, base });
    let router = Router::new().fallback(forward).with_state(upstream);
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(listen.parse()?)?;
    // As many may wait as lakehook lets wait: `memory` has all of its senders come at once.
    axum::serve(socket.listen(4_096)?, router).await?;
    Ok(())
}

async fn forward(State(upstream): State<Arc<Upstream>>, request: Request) -> Result<Response, String> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    let body = axum::body::to_bytes(body, 16 << 20).await.map_err(|error| error.to_string())?;
    let mut request = upstream.client.request(parts.method, format!("{}{path}", upstream.base));
    if let Some(content_type) = parts.headers.get("content-type") {
        request = request.header("content-type", content_type);
    }
    let answer = request.body(body).send().await.map_err(|error| error.to_string())?;
    let mut response = Response::new(Body::empty());
    *response.status_mut() = answer.status();
    *response.body_mut() = Body::from(answer.bytes().await.map_err(|error| error.to_string())?);
    Ok(response)
}
