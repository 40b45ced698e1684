//! Connections: taken within a bound, cut when slow, ended gracefully.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tower::{Service, ServiceExt};

use super::Tls;
use super::connections::{Connections, Place};
use super::slow_head::{Activity, SlowHead};

/// How connections are treated.
#[derive(Clone)]
pub struct Listening {
    pub tls: Option<Arc<Tls>>,
    /// From a request's first byte to the end of its head; a TLS handshake too
    pub head_timeout: Duration,
    /// Longer than the balancer's own, or it sends into a connection that we are closing
    pub keep_alive: Duration,
    /// Where more come, the one idle for longest is ended.
    pub max_connections: usize,
    /// How long connections may take to end once `stop` is ready
    pub drain: Duration,
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// It showed a certificate that the client CA signed.
    pub certificate: bool,
}

/// Of an HTTP/2 connection; more are refused.
const STREAMS: u32 = 128;
/// Of a request's head, by either version.
const HEADER_BYTES: u32 = 32 << 10;

/// Serves until `stop` is ready, then ends the connections: idle ones at once, others after their answer.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    listening: Listening,
    stop: impl Future<Output = ()>,
) {
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(listening.max_connections);
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => break,
        };
        match accepted {
            Ok((stream, address)) => {
                let place = tokio::select! {
                    place = connections.place() => place,
                    () = &mut stop => break,
                };
                let (router, listening, watcher) = (router.clone(), listening.clone(), graceful.watcher());
                tokio::spawn(async move {
                    tokio::select! {
                        () = connection(stream, address, router, listening, watcher, &place) => {}
                        () = place.activity.ended() => {}
                    }
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: a pause lets some connections end.
                tracing::warn!(%error, "could not accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    let _ = timeout(listening.drain, graceful.shutdown()).await;
}

async fn connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    listening: Listening,
    watcher: Watcher,
    place: &Place,
) {
    let _ = stream.set_nodelay(true);
    let activity = &place.activity;
    let Some(tls) = &listening.tls else {
        let peer = Peer { address, certificate: false };
        return http(stream, peer, router, &listening, watcher, activity).await;
    };
    let handshake = TlsAcceptor::from(tls.config()).accept(stream);
    match timeout(listening.head_timeout, handshake).await {
        Ok(Ok(stream)) => {
            let certificate = stream.get_ref().1.peer_certificates().is_some_and(|chain| !chain.is_empty());
            http(stream, Peer { address, certificate }, router, &listening, watcher, activity).await;
        }
        Ok(Err(error)) => tracing::debug!(%address, %error, "TLS handshake failed"),
        Err(_) => tracing::debug!(%address, "TLS handshake took too long"),
    }
}

async fn http<S>(
    stream: S,
    peer: Peer,
    router: Router,
    listening: &Listening,
    watcher: Watcher,
    activity: &Arc<Activity>,
) where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let activity = activity.clone();
    let io = SlowHead::new(stream, activity.clone(), listening.head_timeout, listening.keep_alive);
    let service = tower::service_fn(move |mut request: Request<Incoming>| {
        let serving = activity.serve();
        request.extensions_mut().insert(peer);
        let mut router = router.clone();
        async move {
            let response = router.as_service().ready().await?.call(request).await;
            drop(serving);
            response
        }
    });
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // `SlowHead` is the time limit.
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES as usize);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEADER_BYTES)
        .keep_alive_interval(Some(Duration::from_secs(30)))
        .keep_alive_timeout(Duration::from_secs(10));
    let connection = builder.serve_connection(TokioIo::new(io), TowerToHyperService::new(service));
    if let Err(error) = watcher.watch(connection.into_owned()).await {
        tracing::debug!(address = %peer.address, %error, "connection ended");
    }
}
