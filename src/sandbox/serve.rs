//! The accept loop. Its own, since axum's cannot end a connection without an answer, and that is what a `cut`
//! must do.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use axum::{Extension, Router};
use hyper::body::Incoming;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

const DRAIN: Duration = Duration::from_secs(5);

/// Marks a response that must not be sent: the connection ends instead.
#[derive(Clone, Copy, Debug)]
pub(super) struct CutHere;

impl fmt::Display for CutHere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("connection cut on demand")
    }
}

impl std::error::Error for CutHere {}

/// For a foreign server that does not know the mark, a body that breaks.
pub(super) fn cut() -> Response {
    let body = futures_util::stream::once(async { Err::<bytes::Bytes, _>(CutHere) });
    let mut response = Response::new(Body::from_stream(body));
    response.extensions_mut().insert(CutHere);
    response
}

pub(super) async fn serve(
    router: Router,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    let connections = GracefulShutdown::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            // Out of file handles, or gone before it was accepted: the next one may do better.
            Err(error) => {
                tracing::warn!(%error, "sandbox: cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let _ = stream.set_nodelay(true);
        let router = router.clone().layer(Extension(ConnectInfo::<SocketAddr>(peer)));
        let service = hyper::service::service_fn(move |request| answer(router.clone(), request));
        // HTTP/1.1 only: a cut has to be the end of the connection, not of one stream of it.
        let connection = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .serve_connection(TokioIo::new(stream), service);
        let connection = connections.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "sandbox: connection ended");
            }
        });
    }
    drop(listener);
    if tokio::time::timeout(DRAIN, connections.shutdown()).await.is_err() {
        tracing::warn!("sandbox: requests still in flight were left behind");
    }
    Ok(())
}

async fn answer(router: Router, request: hyper::Request<Incoming>) -> Result<Response, CutHere> {
    let response: Result<Response, Infallible> = router.oneshot(request.map(Body::new)).await;
    let Ok(response) = response;
    match response.extensions().get() {
        Some(&CutHere) => Err(CutHere),
        None => Ok(response),
    }
}
