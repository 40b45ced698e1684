//! The order store: can it be used, before the first delivery asks?

use std::io::ErrorKind;
use std::path::Path;

use super::table::{Row, Table};
use crate::healthlake::Resolved;
use crate::order::file_store::{FileStoreError, probe};
use crate::settings::{OrderStore, Plan};

const WHAT: &str = "order store";

pub(super) async fn check(table: &mut Table, plan: &Plan, resolved: Option<&Resolved>) {
    let order = &plan.settings.order;
    table.add(match order.store() {
        Err(error) => Row::failed(WHAT, error.to_string()),
        Ok(OrderStore::Memory) => Row::ok(WHAT, "memory: what was forwarded is forgotten at a restart")
            .advise(
                "where that matters: --data-dir for one instance, --order-store dynamodb:TABLE for several",
            ),
        Ok(OrderStore::File) => file(order.data_dir.as_deref().unwrap_or(Path::new("."))),
        Ok(OrderStore::DynamoDb { table }) => match resolved {
            None => Row::skipped(WHAT, format!("dynamodb:{table}: there are no AWS credentials to ask with")),
            Some(resolved) => match crate::cli::order::dynamodb(order, resolved, table.clone()).check().await
            {
                Ok(()) => Row::ok(WHAT, format!("dynamodb:{table}: the table is there and may be used")),
                Err(error) => Row::failed(WHAT, error.to_string()),
            },
        },
    });
}

fn file(directory: &Path) -> Row {
    let path = directory.join("order.redb");
    match directory.metadata() {
        Ok(found) if !found.is_dir() => {
            return Row::failed(WHAT, format!("--data-dir: {} is no directory", directory.display()));
        }
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Row::failed(WHAT, format!("--data-dir: {}: {error}", directory.display()));
        }
        _ => {}
    }
    match path.try_exists() {
        Err(error) => return Row::failed(WHAT, format!("--data-dir: {}: {error}", path.display())),
        Ok(false) => return Row::ok(WHAT, format!("{}: not there yet, serve makes it", path.display())),
        Ok(true) => {}
    }
    match probe(&path) {
        Ok(()) => Row::ok(WHAT, format!("{}: sound, and in nobody's use", path.display())),
        Err(FileStoreError::InUse { .. }) => {
            Row::ok(WHAT, format!("{}: in use, by the running instance", path.display()))
        }
        Err(error) => Row::failed(WHAT, error.to_string()),
    }
}
