//! Of many replicas one does it: the one that holds a lease in the shared order store.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::sleep;

use super::record::{Record, Write, millis};
use super::store::{ClaimRequest, Claimed, Owner, Store};
use crate::delivery::Key;

/// A leader that is gone is followed after so long.
pub const LEASE: Duration = Duration::from_secs(60);

/// A claim on a key that no resource has.
pub struct Lease {
    store: Arc<dyn Store>,
    key: Key,
    owner: Owner,
}

impl Lease {
    /// For one kind of work, as `reconcile`. None where nobody else uses the store.
    pub fn of(store: &Arc<dyn Store>, work: &str) -> Option<Self> {
        let key = Key::new("LakehookLease", work).ok()?;
        let owner = Owner(uuid::Uuid::new_v4().as_u128());
        (store.name() == "dynamodb").then(|| Self { store: store.clone(), key, owner })
    }

    /// Takes it, or takes it for longer.
    pub async fn take(&self) -> bool {
        let now = millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
        let until = now + millis(LEASE);
        let request = ClaimRequest { owner: self.owner, until, now, write: Write::Current, settle: 0 };
        match self.store.claim(&self.key, request).await {
            Ok(claimed) => matches!(claimed, Claimed::Yes(_)),
            Err(error) => {
                tracing::warn!(%error, "{}: the lease could not be asked for", self.key.id());
                false
            }
        }
    }

    pub async fn give_back(&self) {
        // Settled, not released: what a crashed leader left behind is forgotten with it.
        let _ = self.store.settle(&self.key, self.owner, Record::default()).await;
    }
}

/// Whether this replica leads; without a lease it always does.
pub async fn leads(lease: Option<&Lease>) -> bool {
    match lease {
        Some(lease) => lease.take().await,
        None => true,
    }
}

/// Renews the lease, telling each time whether it could; ends when it could not.
pub async fn lost(lease: Option<&Lease>, tell: impl Fn(bool)) {
    loop {
        sleep(LEASE / 3).await;
        let still = leads(lease).await;
        tell(still);
        if !still {
            return;
        }
    }
}
