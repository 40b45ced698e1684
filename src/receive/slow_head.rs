//! Cuts a connection whose next request head does not arrive: soon after its first byte, and after the idle
//! time before it. hyper has one time limit for both, and none before it knows the HTTP version.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// Shared by a connection's reader and its service.
#[derive(Default)]
pub struct Activity {
    active: AtomicUsize,
    started: AtomicU64,
}

/// While it lives a request is being served.
pub struct Serving(Arc<Activity>);

impl Activity {
    pub fn serve(self: &Arc<Self>) -> Serving {
        self.active.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel);
        Serving(self.clone())
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Serving,
}

pub struct SlowHead<T> {
    inner: T,
    activity: Arc<Activity>,
    head_timeout: Duration,
    idle_timeout: Duration,
    phase: Phase,
    seen: u64,
    http2: bool,
    timer: Pin<Box<Sleep>>,
}

impl<T> SlowHead<T> {
    pub fn new(inner: T, activity: Arc<Activity>, head_timeout: Duration, idle_timeout: Duration) -> Self {
        let timer = Box::pin(sleep_until(Instant::now() + idle_timeout));
        Self { inner, activity, head_timeout, idle_timeout, phase: Phase::Idle, seen: 0, http2: false, timer }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Idle => self.timer.as_mut().reset(Instant::now() + self.idle_timeout),
            Phase::Head => self.timer.as_mut().reset(Instant::now() + self.head_timeout),
            Phase::Serving => {}
        }
    }

    /// Follows what the service did since the last read.
    fn follow(&mut self) {
        let started = self.activity.started.load(Ordering::Acquire);
        if self.activity.active.load(Ordering::Acquire) > 0 {
            self.phase = Phase::Serving;
        } else if started != self.seen || self.phase == Phase::Serving {
            self.enter(Phase::Idle);
        }
        self.seen = started;
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for SlowHead<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        this.follow();
        let before = buf.filled().len();
        match Pin::new(&mut this.inner).poll_read(cx, buf) {
            Poll::Ready(Ok(())) => {
                let new = &buf.filled()[before..];
                this.http2 |= this.seen == 0 && new.starts_with(b"PRI * HTTP/2");
                if !new.is_empty() && this.phase == Phase::Idle {
                    // HTTP/2 sends frames that are no request; its streams are bounded by their number.
                    this.enter(if this.http2 { Phase::Idle } else { Phase::Head });
                }
                Poll::Ready(Ok(()))
            }
            Poll::Pending if this.phase != Phase::Serving => match this.timer.as_mut().poll(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            other => other,
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for SlowHead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
