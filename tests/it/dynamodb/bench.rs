//! An emulator, a table in it, and stores over it as a replica has them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
};
use lakehook::delivery::{Key, Version};
use lakehook::order::dynamodb::{Bounds, DEFAULT_RETENTION, DynamoStore, client};
use lakehook::order::record::{Millis, Record, Write};
use lakehook::order::store::{ClaimRequest, Claimed, Owner, Store};

use crate::support::dynalite::Dynalite;
use crate::support::moto::Moto;

pub const TABLE: &str = "lakehook-order";

enum Emulator {
    Moto(Moto),
    Dynalite(Dynalite),
}

pub struct Bench {
    emulator: Emulator,
    pub raw: Client,
}

impl Bench {
    pub async fn moto() -> Self {
        Self::over(Emulator::Moto(Moto::start().await)).await
    }

    pub async fn dynalite() -> Self {
        Self::over(Emulator::Dynalite(Dynalite::start().await)).await
    }

    async fn over(emulator: Emulator) -> Self {
        let raw = client(&sdk_config(), Some(endpoint_url(&emulator)), patient());
        let bench = Self { emulator, raw };
        bench.create(TABLE, &[("pk", ScalarAttributeType::S, KeyType::Hash)]).await;
        bench
    }

    pub fn endpoint_url(&self) -> &str {
        endpoint_url(&self.emulator)
    }

    pub async fn create(&self, table: &str, key: &[(&str, ScalarAttributeType, KeyType)]) {
        let mut create = self.raw.create_table().table_name(table).billing_mode(BillingMode::PayPerRequest);
        for (name, attribute, key) in key {
            let definition =
                AttributeDefinition::builder().attribute_name(*name).attribute_type(attribute.clone());
            let element = KeySchemaElement::builder().attribute_name(*name).key_type(key.clone());
            create = create
                .attribute_definitions(definition.build().unwrap())
                .key_schema(element.build().unwrap());
        }
        create.send().await.unwrap();
        for _ in 0..200 {
            let described = self.raw.describe_table().table_name(table).send().await.unwrap();
            if described.table().unwrap().table_status().unwrap().as_str() == "ACTIVE" {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("{table} does not become active");
    }

    /// Another replica's, with connections of its own.
    pub fn store(&self) -> DynamoStore {
        store_at(self.endpoint_url())
    }

    pub async fn item(&self, key: &Key) -> Option<std::collections::HashMap<String, AttributeValue>> {
        let read = self.raw.get_item().table_name(TABLE).key("pk", AttributeValue::S(key.to_string()));
        read.consistent_read(true).send().await.unwrap().item
    }

    pub async fn stop(self) {
        match self.emulator {
            Emulator::Moto(moto) => moto.stop().await,
            Emulator::Dynalite(dynalite) => dynalite.stop().await,
        }
    }
}

fn endpoint_url(emulator: &Emulator) -> &str {
    match emulator {
        Emulator::Moto(moto) => moto.endpoint_url(),
        Emulator::Dynalite(dynalite) => dynalite.endpoint_url(),
    }
}

pub fn sdk_config() -> SdkConfig {
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// The machine that runs the tests may be slow; what is tested is not how fast it is.
pub fn patient() -> Bounds {
    Bounds { attempt: Duration::from_secs(30), attempts: 2 }
}

pub fn store_at(endpoint_url: &str) -> DynamoStore {
    store_within(endpoint_url, patient())
}

pub fn store_within(endpoint_url: &str, bounds: Bounds) -> DynamoStore {
    DynamoStore::new(client(&sdk_config(), Some(endpoint_url), bounds), TABLE.to_owned(), DEFAULT_RETENTION)
}

/// No two tests meet in one resource.
pub fn fresh_key() -> Key {
    static NEXT: AtomicUsize = AtomicUsize::new(1);
    Key::new("Patient", &format!("fresh-{}", NEXT.fetch_add(1, Ordering::Relaxed))).unwrap()
}

pub const NOW: Millis = 1_800_000_000_000;

pub fn version(number: u64) -> Version {
    Version::new(Some(&number.to_string()), Some("2026-11-24T12:00:00.123+01:00"))
}

/// For ten seconds, to write version `owner`; what was sent can land a second later.
pub fn request(owner: u128, now: Millis) -> ClaimRequest {
    let write = Write::Upsert(version(owner as u64));
    ClaimRequest { owner: Owner(owner), until: now + 10_000, now, write, settle: 1_000 }
}

/// Claims what must be free.
pub async fn claim(store: &DynamoStore, key: &Key, owner: u128, now: Millis) -> Record {
    match store.claim(key, request(owner, now)).await.unwrap() {
        Claimed::Yes(record) => record,
        Claimed::No { until } => panic!("{key} is held until {until}"),
    }
}
