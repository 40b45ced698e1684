//! Whether the table is there, is shaped right, and may be used: before the first delivery asks.

use aws_sdk_dynamodb::operation::describe_table::DescribeTableError;
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, ScalarAttributeType, TableDescription, TableStatus};

use super::error::describe;
use super::item::{self, PK};
use super::{DynamoStore, Updated};
use crate::delivery::Key;
use crate::order::store::{Owner, StoreError};

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckError {
    #[error(
        "there is no DynamoDB table `{table}` in this account and region: create it with deploy/dynamodb, or correct \
         the table's name or the region"
    )]
    NoTable { table: String },
    #[error(
        "the DynamoDB table `{table}` is {status}: wait until it is ACTIVE, or look into it in the AWS console"
    )]
    NotActive { table: String, status: String },
    #[error(
        "the DynamoDB table `{table}` has the key ({found}); lakehook needs the partition key `pk` of type S and no \
         sort key: a key can't be changed, create another table with deploy/dynamodb"
    )]
    WrongKey { table: String, found: String },
    #[error(
        "the DynamoDB table `{table}` can't be used: {cause}. docs/iam.md has the policy, with dynamodb:DescribeTable, \
         GetItem and UpdateItem on this table"
    )]
    Denied { table: String, cause: String },
    #[error("the DynamoDB table `{table}` can't be asked: {cause}")]
    Unreachable { table: String, cause: String },
}

impl DynamoStore {
    /// Describes the table, then tries what deliveries do; changes nothing.
    pub async fn check(&self) -> Result<(), CheckError> {
        let answer = match self.client.describe_table().table_name(&self.table).send().await {
            Ok(answer) => answer,
            Err(error)
                if matches!(
                    error.as_service_error(),
                    Some(DescribeTableError::ResourceNotFoundException(_))
                ) =>
            {
                return Err(CheckError::NoTable { table: self.table.clone() });
            }
            Err(error) => return Err(self.refused(format!("DescribeTable: {}", describe(&error)))),
        };
        self.check_table(&answer.table.unwrap_or_else(|| TableDescription::builder().build()))?;
        self.try_out().await.map_err(|StoreError(cause)| self.refused(cause))
    }

    fn check_table(&self, found: &TableDescription) -> Result<(), CheckError> {
        let table = self.table.clone();
        match found.table_status() {
            // UPDATING: its settings change, it serves meanwhile.
            Some(TableStatus::Active | TableStatus::Updating) => {}
            status => {
                let status = status.map_or("in no known state", TableStatus::as_str).to_owned();
                return Err(CheckError::NotActive { table, status });
            }
        }
        let string = found
            .attribute_definitions()
            .iter()
            .any(|a| a.attribute_name() == PK && *a.attribute_type() == ScalarAttributeType::S);
        match found.key_schema() {
            [key] if key.attribute_name() == PK && *key.key_type() == KeyType::Hash && string => Ok(()),
            keys => Err(CheckError::WrongKey { table, found: describe_key(found, keys) }),
        }
    }

    /// An update whose condition can't hold, and a read: both need the permissions that a delivery needs.
    async fn try_out(&self) -> Result<(), StoreError> {
        let key = Key::new("Check", "lakehook").expect("a valid key");
        let nobody = super::values([
            (":done", AttributeValue::S(String::new())),
            (":me", item::owner(Owner(uuid::Uuid::new_v4().as_u128()))),
        ]);
        let before = aws_sdk_dynamodb::types::ReturnValue::None;
        match self.update(&key, "SET done = :done", "claimant = :me", nobody, before).await? {
            Updated::Yes(_) => {
                return Err(StoreError("UpdateItem: a condition that can't hold held".to_owned()));
            }
            Updated::No(_) => {}
        }
        self.current(&key, None).await.map(|_| ())
    }

    fn refused(&self, cause: String) -> CheckError {
        let table = self.table.clone();
        if cause.contains("AccessDenied") {
            CheckError::Denied { table, cause }
        } else {
            CheckError::Unreachable { table, cause }
        }
    }
}

fn describe_key(found: &TableDescription, keys: &[aws_sdk_dynamodb::types::KeySchemaElement]) -> String {
    let parts = keys.iter().map(|key| {
        let kind = found.attribute_definitions().iter().find(|a| a.attribute_name() == key.attribute_name());
        let kind = kind.map_or("?", |a| a.attribute_type().as_str());
        format!("{} {kind} {}", key.attribute_name(), key.key_type().as_str())
    });
    parts.collect::<Vec<_>>().join(", ")
}
