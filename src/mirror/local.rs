//! In this process, with an order store that others may use at the same time, or that nobody else uses.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Mirror, Source, Telling, Told};
use crate::delivery::Delivery;
use crate::forward::Forward;
use crate::operate::Metrics;

pub struct Local {
    forward: Arc<Forward>,
    source: Source,
    deadline: Duration,
    metrics: Option<Arc<Metrics>>,
}

impl Local {
    /// `deadline` is for one delivery, all in.
    pub fn new(forward: Arc<Forward>, source: Source, deadline: Duration) -> Self {
        Self { forward, source, deadline, metrics: None }
    }

    /// Counted among the deliveries of the instance that it is part of.
    pub fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }
}

impl Mirror for Local {
    fn forward(&self, delivery: Delivery) -> Telling<'_> {
        let (forward, source, deadline) = (self.forward.clone(), self.source, self.deadline);
        let metrics = self.metrics.clone();
        Box::pin(async move {
            // On a task of its own: a command that is interrupted must not leave a claim behind.
            let ended = tokio::spawn(async move {
                let report = forward.forward(delivery, source, Instant::now() + deadline).await;
                crate::operate::delivery_log::commanded(&report);
                if let Some(metrics) = metrics {
                    metrics.delivered(&report);
                }
                Told::of(&report)
            });
            match ended.await {
                Ok(told) => Ok(told),
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        })
    }

    fn way(&self) -> String {
        "this process".to_owned()
    }
}
