//! Running, draining, stopping: SIGTERM turns health to 503, then accepting stops, then what is in flight
//! ends within a bound. A second signal ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::signal::unix::{self, SignalKind};

/// Shared by everyone who must know that the end is near.
#[derive(Clone, Default)]
pub struct Lifecycle(Arc<AtomicU8>);

const RUNNING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPING: u8 = 2;

impl Lifecycle {
    /// Health says 503 from now on; deliveries are still taken.
    pub fn drain(&self) {
        self.0.fetch_max(DRAINING, Ordering::AcqRel);
    }

    /// Deliveries are refused from now on.
    pub fn stop(&self) {
        self.0.fetch_max(STOPPING, Ordering::AcqRel);
    }

    pub fn is_running(&self) -> bool {
        self.0.load(Ordering::Acquire) == RUNNING
    }

    pub fn is_stopping(&self) -> bool {
        self.0.load(Ordering::Acquire) == STOPPING
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// An operator at a terminal, who waits.
    Interrupt,
    /// An orchestrator, whose balancer needs a moment.
    Terminate,
}

/// Both kinds are caught as long as it lives.
pub struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
        })
    }

    pub async fn next(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.terminate.recv() => Signal::Terminate,
        }
    }
}
