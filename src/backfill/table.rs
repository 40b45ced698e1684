//! The cursor as an item of the order table, for commands that run where no disk stays: `pk` is no resource's, the
//! rest is JSON in a string.

use std::fmt;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::AttributeValue;

use super::Cursor;
use super::cursor::{CursorError, What};

/// No resource's key: types begin with a capital.
const KEY: &str = "backfill/cursor";
const PK: &str = "pk";
const CURSOR: &str = "cursor";

pub struct CursorTable {
    client: Client,
    table: String,
}

impl CursorTable {
    pub fn new(client: Client, table: String) -> Self {
        Self { client, table }
    }

    pub(super) async fn load(&self, what: &What) -> Result<Option<Cursor>, CursorError> {
        let read = self.client.get_item().table_name(&self.table).key(PK, key()).consistent_read(true);
        let answer = read.send().await.map_err(|error| failed(&error))?;
        let item = answer.item.unwrap_or_default();
        let Some(json) = item.get(CURSOR) else { return Ok(None) };
        let json = json.as_s().map_err(|_| CursorError::NotOurs(self.to_string()))?;
        Cursor::parse(json.as_bytes(), &self.to_string(), what).map(Some)
    }

    /// By UpdateItem, which the order store's role may do already.
    pub(super) async fn save(&self, cursor: &Cursor) -> Result<(), CursorError> {
        let json = serde_json::to_string(cursor).map_err(|error| CursorError::Table(error.to_string()))?;
        let update = self.client.update_item().table_name(&self.table).key(PK, key());
        let update =
            update.update_expression("SET #cursor = :cursor").expression_attribute_names("#cursor", CURSOR);
        let update = update.expression_attribute_values(":cursor", AttributeValue::S(json));
        update.send().await.map(drop).map_err(|error| failed(&error))
    }

    pub(super) async fn remove(&self) -> Result<(), CursorError> {
        let update = self.client.update_item().table_name(&self.table).key(PK, key());
        // The item stays, empty: no DeleteItem is asked of the role.
        let update = update.update_expression("REMOVE #cursor").expression_attribute_names("#cursor", CURSOR);
        update.send().await.map(drop).map_err(|error| failed(&error))
    }
}

fn key() -> AttributeValue {
    AttributeValue::S(KEY.to_owned())
}

fn failed(error: &(dyn std::error::Error + 'static)) -> CursorError {
    CursorError::Table(crate::healthlake::describe(error))
}

impl fmt::Display for CursorTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "item {KEY} of the table {}", self.table)
    }
}
