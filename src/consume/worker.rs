//! Forwards what waits at the desk: what the CDR has now of the resource.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::sleep;

use super::desk::{Desk, Outcome, Work};
use crate::delivery::Delivery;
use crate::mirror::{Mirror, NoAnswer, patiently};

pub struct Worker {
    pub desk: Arc<Desk>,
    pub mirror: Arc<dyn Mirror>,
    /// For what may be sent again
    pub patience: Duration,
    /// Go on without end when the patience is over
    pub endless: bool,
    /// An attempt that runs when the end comes has this long.
    pub grace: Duration,
    pub stopping: watch::Receiver<bool>,
}

impl Worker {
    /// Until the desk is closed.
    pub async fn run(self) {
        while let Some(work) = self.desk.next().await {
            let outcome = self.deliver(&work).await;
            self.desk.finish(work, &outcome);
        }
    }

    async fn deliver(&self, work: &Work) -> Outcome {
        let mut stopping = self.stopping.clone();
        let too_late = async {
            let _ = stopping.wait_for(|stopping| *stopping).await;
            sleep(self.grace).await;
        };
        tokio::select! {
            outcome = self.settle(work) => outcome,
            () = too_late => Outcome::Open("not-asked".to_owned()),
        }
    }

    async fn settle(&self, work: &Work) -> Outcome {
        loop {
            let delivery = Delivery::Changed { key: work.key.clone() };
            let open = match patiently(&*self.mirror, delivery, self.patience).await {
                Ok(told) if told.settled => return Outcome::Settled(told.verdict),
                Ok(told) if !told.retryable => {
                    // Why is for people and may quote the resource: `resend` shows it.
                    tracing::warn!(
                        target: "lakehook::consume",
                        key = %work.key,
                        version_id = told.version.version_id.as_deref(),
                        verdict = told.verdict,
                        healthlake_request_id = told.healthlake_request_id.as_deref(),
                        "refused: the messages about it are done with"
                    );
                    return Outcome::Refused(told.verdict);
                }
                Ok(told) => told.verdict,
                Err(error) => {
                    if matches!(error, NoAnswer::Refused { status: 400..500, .. } | NoAnswer::Foreign(_)) {
                        self.desk.fail(error.to_string());
                        return Outcome::Open("no-answer".to_owned());
                    }
                    "no-answer".to_owned()
                }
            };
            tracing::warn!(
                target: "lakehook::consume",
                key = %work.key,
                verdict = open,
                patience_s = self.patience.as_secs(),
                messages = work.places.len(),
                "not settled yet: its messages are not committed"
            );
            if !self.endless || *self.stopping.borrow() || !self.desk.wants(work) {
                return Outcome::Open(open);
            }
        }
    }
}
