//! A delivery runs to its end whether or not its caller waits. While the caller does, it is polled in the caller's
//! place, which costs no task and no switch of threads; when the caller goes away, it goes on as a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::runtime::Handle;

pub struct Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    /// None: it has ended, or panicked.
    running: Option<Pin<Box<F>>>,
}

impl<F> Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    pub fn new(future: F) -> Self {
        Self { running: Some(Box::pin(future)) }
    }
}

impl<F> Future for Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        // Taken out: what panics is not polled again.
        let Some(mut running) = self.running.take() else { return Poll::Pending };
        let polled = running.as_mut().poll(context);
        if polled.is_pending() {
            self.running = Some(running);
        }
        polled
    }
}

impl<F> Drop for Detached<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn drop(&mut self) {
        let Some(running) = self.running.take() else { return };
        // Without a runtime the process is ending.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(running);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::time::Duration;

    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn what_is_waited_for_answers() {
        assert_eq!(Detached::new(async { 7 }).await, 7);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_dropped_goes_on() {
        let (done, mut told) = oneshot::channel();
        let mut detached = Detached::new(async move {
            tokio::time::sleep(Duration::from_secs(5)).await;
            done.send(()).unwrap();
        });
        assert!((&mut detached).now_or_never().is_none());
        drop(detached);
        tokio::time::sleep(Duration::from_secs(4)).await;
        assert!(told.try_recv().is_err(), "not yet");
        told.await.unwrap();
    }

    #[tokio::test]
    async fn what_was_never_polled_runs_too() {
        let (done, told) = oneshot::channel();
        drop(Detached::new(async move { done.send(()).unwrap() }));
        told.await.unwrap();
    }

    #[tokio::test]
    async fn what_panics_is_not_run_again() {
        let (done, told) = oneshot::channel::<()>();
        let detached = Detached::new(async move {
            let _done = done;
            panic!("once")
        });
        assert!(std::panic::AssertUnwindSafe(detached).catch_unwind().await.is_err());
        assert!(told.await.is_err(), "it was dropped, not spawned");
    }
}
