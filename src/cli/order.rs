//! The order store that the settings ask for.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::UNIX_EPOCH;

use crate::healthlake::Resolved;
use crate::order::dynamodb::{Bounds, DynamoStore, client};
use crate::order::file_store::{FileOptions, FileStore, OnDamage};
use crate::order::memory_store::MemoryStore;
use crate::order::record::millis;
use crate::order::store::Store;
use crate::settings::{self, OrderArgs, OrderStore, Plan};

/// Beyond this many resources the file forgets those not heard of for longest: about 13 GB.
const MOST_RESOURCES: u64 = 100_000_000;
const ATTEMPTS: u32 = 2;

pub(super) async fn open(
    order: &OrderArgs,
    resolved: &Resolved,
    has_cdr: bool,
) -> Result<Arc<dyn Store>, String> {
    match order.store().map_err(|error| error.to_string())? {
        OrderStore::Memory => Ok(Arc::new(MemoryStore::new(order.order_memory))),
        OrderStore::File => {
            let directory = order.data_dir.as_deref().unwrap_or(Path::new("."));
            file(order, directory, has_cdr).map_err(|error| format!("--data-dir: {error}"))
        }
        OrderStore::DynamoDb { table } => {
            let store = dynamodb(order, resolved, table);
            // What is wrong with the table is said now; an outage of the moment is no reason not to start.
            if let Err(error) = store.check().await {
                tracing::error!(%error, "the order table can't be used");
            }
            Ok(Arc::new(store))
        }
    }
}

pub(super) fn dynamodb(order: &OrderArgs, resolved: &Resolved, table: String) -> DynamoStore {
    let bounds = Bounds { attempt: order.order_dynamodb_timeout, attempts: ATTEMPTS };
    let client = client(resolved.sdk_config(), order.order_dynamodb_endpoint.as_deref(), bounds);
    DynamoStore::new(client, table, order.order_retention)
}

fn file(order: &OrderArgs, directory: &Path, has_cdr: bool) -> Result<Arc<dyn Store>, String> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    let started = (Plan::clock())().duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut options = FileOptions::new(millis(started), millis(order.order_settle));
    // Only the CDR can tell which version it was that nobody heard of.
    options.repeats = if has_cdr { millis(order.sender_retries) } else { 0 };
    options.cache_bytes = order.order_memory;
    options.max_resources = MOST_RESOURCES;
    options.max_age = millis(order.order_retention);
    options.on_damage = match order.order_on_damage {
        settings::OnDamage::Refuse => OnDamage::Refuse,
        settings::OnDamage::SetAside => OnDamage::SetAside,
    };
    let store = FileStore::open(&directory.join("order.redb"), options).map_err(|error| error.to_string())?;
    if let Some(path) = store.set_aside() {
        tracing::error!(path = %path.display(), "the order file was damaged and is set aside: what was forwarded is not known");
    }
    Ok(Arc::new(store))
}
