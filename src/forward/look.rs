//! A look at what is remembered of one resource, for those who explain.

use std::time::UNIX_EPOCH;

use tokio::time::{Instant, timeout_at};

use super::Forward;
use crate::delivery::Key;
use crate::order::record::{Millis, Record, Write, millis};
use crate::order::store::{ClaimRequest, Claimed, Owner};

/// The claim is given back at once; this bounds what a crash leaves behind.
const LOOK: Millis = 2_000;

#[derive(Debug)]
pub enum Remembered {
    Record(Record),
    /// A delivery of it is under way, until then at the longest.
    Busy {
        until: Millis,
    },
    Unknown(String),
}

impl Forward {
    /// Changes nothing. Takes its turn among the resource's deliveries.
    pub async fn remembered(&self, key: &Key, deadline: Instant) -> Remembered {
        let Ok(Ok(_turn)) = timeout_at(deadline, self.queue.turn(key, None)).await else {
            return Remembered::Unknown("other deliveries of it are waiting".into());
        };
        let now = millis((self.clock)().duration_since(UNIX_EPOCH).unwrap_or_default());
        let owner = Owner(uuid::Uuid::new_v4().as_u128());
        let settle = self.protocol.settle;
        let request = ClaimRequest { owner, until: now + LOOK, now, write: Write::Current, settle };
        match self.store.claim(key, request).await {
            Ok(Claimed::Yes(record)) => {
                let _ = self.store.release(key, owner).await;
                Remembered::Record(record)
            }
            Ok(Claimed::No { until }) => Remembered::Busy { until },
            Err(error) => Remembered::Unknown(error.to_string()),
        }
    }
}
