//! What every store has to do alike, over both emulators. Whatever is DynamoDB's own is tested in tests/it/dynamodb.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use tokio::sync::OnceCell;

use super::{Bounds, DEFAULT_RETENTION, DynamoStore, PK, client};
use crate::order::store_tests::{Fresh, Scale};
use dynalite::Dynalite;
use moto::Moto;

// The emulators as the integration tests start them.
#[allow(dead_code)]
#[path = "../../../tests/it/support/dynalite.rs"]
mod dynalite;
#[allow(dead_code)]
#[path = "../../../tests/it/support/moto.rs"]
mod moto;
#[allow(dead_code)]
#[path = "../../../tests/it/support/process.rs"]
mod process;

const TABLE: &str = "conformance";

/// Each operation is a request or two.
const SCALE: Scale = Scale { rounds: 6, keys: 30, cases: 15 };

/// The machine that runs the tests may be slow.
const BOUNDS: Bounds = Bounds { attempt: Duration::from_secs(30), attempts: 2 };

/// One for all tests; it ends with them.
static MOTO: OnceCell<Moto> = OnceCell::const_new();
static DYNALITE: OnceCell<Dynalite> = OnceCell::const_new();

/// What the seeded simulation drives the store over.
mod in_a_simulated_table {
    use super::*;

    crate::order::store_tests::conformance!(fresh, Scale::LOCAL);

    async fn fresh() -> Fresh {
        let client = client(&config(), None, BOUNDS);
        let table: Arc<super::super::simulated::Table> = Arc::default();
        Fresh { store: Arc::new(DynamoStore::simulated(Arc::new(table), client)), keep: Box::new(()) }
    }
}

mod in_moto {
    use super::*;

    crate::order::store_tests::conformance!(fresh, SCALE);

    async fn fresh() -> Fresh {
        let start = || async {
            let moto = Moto::start().await;
            create_table(moto.endpoint_url()).await;
            moto
        };
        over(MOTO.get_or_init(start).await.endpoint_url())
    }
}

mod in_dynalite {
    use super::*;

    crate::order::store_tests::conformance!(fresh, SCALE);

    async fn fresh() -> Fresh {
        let start = || async {
            let dynalite = Dynalite::start().await;
            create_table(dynalite.endpoint_url()).await;
            dynalite
        };
        over(DYNALITE.get_or_init(start).await.endpoint_url())
    }
}

fn over(endpoint_url: &str) -> Fresh {
    let client = client(&config(), Some(endpoint_url), BOUNDS);
    let store = DynamoStore::new(client, TABLE.to_owned(), DEFAULT_RETENTION);
    Fresh { store: Arc::new(store), keep: Box::new(()) }
}

pub(super) fn config() -> SdkConfig {
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// It exists at once in moto, and nearly so in dynalite: a request to a table that does not is an error.
async fn create_table(endpoint_url: &str) {
    let client = client(&config(), Some(endpoint_url), BOUNDS);
    let pk = AttributeDefinition::builder().attribute_name(PK).attribute_type(ScalarAttributeType::S);
    let key = KeySchemaElement::builder().attribute_name(PK).key_type(KeyType::Hash);
    client
        .create_table()
        .table_name(TABLE)
        .billing_mode(BillingMode::PayPerRequest)
        .attribute_definitions(pk.build().unwrap())
        .key_schema(key.build().unwrap())
        .send()
        .await
        .unwrap();
    let store = DynamoStore::new(client, TABLE.to_owned(), DEFAULT_RETENTION);
    while store.check().await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
