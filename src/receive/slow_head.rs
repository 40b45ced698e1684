//! Cuts a connection whose next request head does not arrive: soon after its first byte, and after the idle
//! time before it. hyper has one time limit for both, and none before it knows the HTTP version. It reads in small pieces,
//! too, since what hyper reads into it keeps.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf, Take};
use tokio::sync::Notify;
use tokio::time::{Instant, Sleep, sleep_until};

/// Shared by a connection's reader, its service, and who counts connections.
pub struct Activity {
    active: AtomicUsize,
    started: AtomicU64,
    /// When the last request had its answer, or the connection began
    idle_since: Mutex<Instant>,
    ending: AtomicBool,
    end: Notify,
}

impl Default for Activity {
    fn default() -> Self {
        Self {
            active: AtomicUsize::new(0),
            started: AtomicU64::new(0),
            idle_since: Mutex::new(Instant::now()),
            ending: AtomicBool::new(false),
            end: Notify::new(),
        }
    }
}

/// While it lives a request is being served.
pub struct Serving(Arc<Activity>);

impl Activity {
    pub fn serve(self: &Arc<Self>) -> Serving {
        self.active.fetch_add(1, Ordering::AcqRel);
        self.started.fetch_add(1, Ordering::AcqRel);
        Serving(self.clone())
    }

    /// None while a request is served, and once it was told to end.
    pub fn idle_since(&self) -> Option<Instant> {
        let busy = self.active.load(Ordering::Acquire) > 0 || self.ending.load(Ordering::Acquire);
        (!busy).then(|| *self.idle_since.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Tells an idle connection to make room.
    pub fn end(&self) {
        self.ending.store(true, Ordering::Release);
        self.end.notify_one();
    }

    /// Returns when it was told to end. One that got a request meanwhile goes on.
    pub async fn ended(&self) {
        loop {
            self.end.notified().await;
            if self.active.load(Ordering::Acquire) == 0 {
                return;
            }
            self.ending.store(false, Ordering::Release);
        }
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        *self.0.idle_since.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.0.active.fetch_sub(1, Ordering::AcqRel);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    Head,
    Serving,
}

/// What is read at once (bytes): too little by one for hyper to double its buffer of 8 KiB, and to double it again. A
/// connection keeps its buffer while its delivery is in flight, and what it had before is of no use to others.
const READ: u64 = (8 << 10) - 1;

pub struct SlowHead<T> {
    inner: Take<T>,
    activity: Arc<Activity>,
    head_timeout: Duration,
    idle_timeout: Duration,
    phase: Phase,
    seen: u64,
    http2: bool,
    /// When it is cut, in this phase
    due: Instant,
    /// Fires when it is due, or earlier: it is set when it has to be, which most requests never need
    timer: Pin<Box<Sleep>>,
}

impl<T: AsyncRead> SlowHead<T> {
    pub fn new(inner: T, activity: Arc<Activity>, head_timeout: Duration, idle_timeout: Duration) -> Self {
        let due = Instant::now() + idle_timeout;
        let timer = Box::pin(sleep_until(due));
        let (phase, seen, http2) = (Phase::Idle, 0, false);
        let inner = inner.take(READ);
        Self { inner, activity, head_timeout, idle_timeout, phase, seen, http2, due, timer }
    }

    fn enter(&mut self, phase: Phase) {
        self.phase = phase;
        match phase {
            Phase::Idle => self.due = Instant::now() + self.idle_timeout,
            Phase::Head => self.due = Instant::now() + self.head_timeout,
            Phase::Serving => {}
        }
    }

    /// Ready when it is due.
    fn poll_due(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.timer.deadline() > self.due {
            self.timer.as_mut().reset(self.due);
        }
        while self.timer.as_mut().poll(cx).is_ready() {
            if self.timer.deadline() >= self.due {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(self.due);
        }
        Poll::Pending
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
        this.inner.set_limit(READ);
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
            Poll::Pending if this.phase != Phase::Serving => match this.poll_due(cx) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            },
            other => other,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for SlowHead<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(self.inner.get_mut()).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(self.inner.get_mut()).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.get_ref().is_write_vectored()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
    use tokio::time::sleep;

    use super::*;

    const HEAD: Duration = Duration::from_secs(2);
    const IDLE: Duration = Duration::from_secs(60);

    fn pair() -> (DuplexStream, SlowHead<DuplexStream>, Arc<Activity>) {
        let (client, server) = tokio::io::duplex(64);
        let activity = Arc::new(Activity::default());
        (client, SlowHead::new(server, activity.clone(), HEAD, IDLE), activity)
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_from_the_last_answer() {
        let (mut client, mut io, activity) = pair();
        let started = Instant::now();
        let served = tokio::spawn(async move {
            let mut bytes = [0; 8];
            while io.read(&mut bytes).await.is_ok() {
                let serving = activity.serve();
                sleep(Duration::from_secs(5)).await;
                drop(serving);
            }
            started.elapsed()
        });
        for _ in 0..3 {
            sleep(Duration::from_secs(50)).await;
            client.write_all(b"GET /").await.unwrap();
        }
        let ended = served.await.unwrap();
        assert_eq!(ended.as_secs(), 150 + 5 + IDLE.as_secs());
    }

    #[tokio::test]
    async fn less_than_hyper_s_first_buffer_is_read_at_once() {
        let (mut client, server) = tokio::io::duplex(64 << 10);
        let mut io = SlowHead::new(server, Arc::default(), HEAD, IDLE);
        let sent: Vec<u8> = (0..20_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        client.write_all(&sent).await.unwrap();
        drop(client);
        let mut came = Vec::new();
        loop {
            let mut bytes = [0; 32 << 10];
            match io.read(&mut bytes).await.unwrap() {
                0 => break,
                n => {
                    assert!(n < 8 << 10);
                    came.extend_from_slice(&bytes[..n]);
                }
            }
        }
        assert_eq!(came, sent);
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_has_its_time_from_its_first_byte() {
        let (mut client, mut io, _activity) = pair();
        let started = Instant::now();
        let reading = tokio::spawn(async move {
            let mut bytes = [0; 8];
            while io.read(&mut bytes).await.is_ok() {}
            started.elapsed()
        });
        sleep(Duration::from_secs(30)).await;
        // A byte each half second never ends a head.
        while client.write_all(b"G").await.is_ok() {
            sleep(Duration::from_millis(500)).await;
        }
        assert_eq!(reading.await.unwrap().as_secs(), 30 + HEAD.as_secs());
    }
}
