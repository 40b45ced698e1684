//! DynamoDB away, unwilling, slow or somebody else: an error that tells why, within a bound, without what was stored.

use std::time::Duration;

use aws_credential_types::provider::error::CredentialsError;
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider, future};
use aws_sdk_dynamodb::types::{AttributeValue, KeyType, ScalarAttributeType};
use axum::body::Body;
use axum::response::Response;
use lakehook::healthlake::{Source, Trust};
use lakehook::order::dynamodb::{Bounds, CheckError, DEFAULT_RETENTION, DynamoStore, client};
use lakehook::order::record::Record;
use lakehook::order::store::{Claimed, Owner, Settled, Store, StoreError};
use tokio::net::TcpListener;

use super::bench::{
    Bench, NOW, TABLE, claim, fresh_key, patient, request, sdk_config, store_at, store_within,
};
use super::relay::{Relay, cut, refusal, stub};
use crate::support::tls::{Authority, TlsProxy};

/// Every operation fails, and says `expected`.
async fn fails(store: &DynamoStore, expected: &str) {
    let key = fresh_key();
    let errors = [
        store.claim(&key, request(1, NOW)).await.unwrap_err(),
        store.settle(&key, Owner(1), Record::default()).await.unwrap_err(),
        store.release(&key, Owner(1)).await.unwrap_err(),
    ];
    for StoreError(text) in errors {
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains(key.id()), "{text}");
    }
}

fn impatient() -> Bounds {
    Bounds { attempt: Duration::from_millis(200), attempts: 2 }
}

#[tokio::test]
async fn a_lost_answer_changes_nothing() {
    let bench = Bench::dynalite().await;
    let relay = Relay::before(bench.endpoint_url()).await;
    let (store, key) = (store_at(&relay.endpoint_url), fresh_key());
    claim(&store, &key, 1, NOW).await;
    claim(&store, &key, 2, NOW + 10_000).await;

    relay.lose(1);
    let record = claim(&store, &key, 3, NOW + 20_000).await;
    assert_eq!(record.pending.len(), 2, "the first attempt took it over, the second still knows");
    let late = relay.take_seen().into_iter().rev().find(|seen| seen.operation == "UpdateItem").unwrap();

    relay.lose(1);
    assert_eq!(store.settle(&key, Owner(3), Record::default()).await, Ok(Settled::Yes));
    // The prolongation again, of what was given back.
    assert!(relay.deliver(&late).await.contains("ConditionalCheckFailed"));

    // A first attempt that arrives when everything is over claims for nobody.
    relay.take_seen();
    claim(&store, &key, 4, NOW + 20_000).await;
    let late = relay.take_seen().remove(0);
    relay.lose(1);
    store.release(&key, Owner(4)).await.unwrap();
    assert!(relay.deliver(&late).await.contains("ConditionalCheckFailed"));
    assert_eq!(claim(&store, &key, 5, NOW + 20_000).await, Record::default());
    bench.stop().await;
}

#[tokio::test]
async fn the_check_says_what_to_do() {
    for bench in [Bench::dynalite().await, Bench::moto().await] {
        let other = |table: &str| DynamoStore::new(bench.raw.clone(), table.to_owned(), DEFAULT_RETENTION);
        let none = other("not-there");
        assert_eq!(none.check().await, Err(CheckError::NoTable { table: "not-there".to_owned() }));
        fails(&none, "ResourceNotFoundException").await;

        for (table, key) in [
            ("wrong-name", &[("id", ScalarAttributeType::S, KeyType::Hash)][..]),
            ("wrong-type", &[("pk", ScalarAttributeType::N, KeyType::Hash)]),
            (
                "sorted",
                &[
                    ("pk", ScalarAttributeType::S, KeyType::Hash),
                    ("sk", ScalarAttributeType::S, KeyType::Range),
                ],
            ),
        ] {
            bench.create(table, key).await;
            let error = other(table).check().await.unwrap_err();
            assert!(matches!(error, CheckError::WrongKey { .. }), "{error}");
        }
        assert_eq!(other(TABLE).check().await, Ok(()));
        bench.stop().await;
    }
}

#[tokio::test]
async fn access_denied() {
    let message =
        "User: arn:aws:sts::111122223333:assumed-role/lakehook/i-1 is not authorized to perform: dynamodb:X";
    let (endpoint_url, asked) = stub(move |_| refusal(400, "AccessDeniedException", message)).await;
    let store = store_at(&endpoint_url);
    fails(&store, "UpdateItem: AccessDeniedException: User: arn:aws:sts").await;
    assert_eq!(*asked.lock().unwrap(), 3, "it is in vain to repeat it");
    let error = store.check().await.unwrap_err();
    assert!(matches!(error, CheckError::Denied { .. }) && error.to_string().contains("REQUEST-1"), "{error}");
}

#[tokio::test]
async fn a_message_that_may_quote_the_item_is_left_out() {
    let (endpoint_url, _) = stub(|_| refusal(400, "ValidationException", "bad value: Patient/fresh-1")).await;
    let store = store_at(&endpoint_url);
    fails(&store, "ValidationException (request REQUEST-1)").await;
}

#[tokio::test]
async fn throttled_twice_is_an_error() {
    for code in ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"] {
        let (endpoint_url, asked) = stub(move |_| refusal(400, code, "slow down")).await;
        fails(&store_at(&endpoint_url), code).await;
        assert_eq!(*asked.lock().unwrap(), 6, "{code}");
    }
}

#[tokio::test]
async fn throttled_or_cut_once_is_not() {
    let (endpoint_url, _) = stub(|number| match number {
        1 => refusal(400, "ProvisionedThroughputExceededException", "slow down"),
        3 => refusal(500, "InternalServerError", "oh"),
        5 => cut(),
        _ => Response::new(Body::from("{}")),
    })
    .await;
    let (store, key) = (store_at(&endpoint_url), fresh_key());
    assert_eq!(claim(&store, &key, 1, NOW).await, Record::default());
    assert_eq!(store.settle(&key, Owner(1), Record::default()).await, Ok(Settled::Yes));
    assert_eq!(store.release(&key, Owner(1)).await, Ok(()));
}

#[tokio::test]
async fn a_silent_server_is_given_up() {
    // Accepts, reads nothing, says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
    let store = store_within(&endpoint_url, impatient());
    // That these end at all is the test.
    fails(&store, "no answer in time").await;
    assert!(matches!(store.check().await, Err(CheckError::Unreachable { .. })));
    drop(listener);
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint_url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    fails(&store_within(&endpoint_url, impatient()), "onnect").await;
}

#[tokio::test]
async fn answers_that_make_no_sense() {
    let html =
        |status: u16| Response::builder().status(status).body(Body::from("<html>Patient</html>")).unwrap();
    for status in [200, 302, 400, 404, 502] {
        let (endpoint_url, _) = stub(move |_| html(status)).await;
        let error = store_at(&endpoint_url).claim(&fresh_key(), request(1, NOW)).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("not DynamoDB's") && text.contains(&status.to_string()), "{text}");
        assert!(!text.contains("<html>"), "{text}");
    }
}

#[tokio::test]
async fn an_item_of_somebody_else_is_no_empty_record() {
    let bench = Bench::dynalite().await;
    for (name, value) in [
        ("remembered", AttributeValue::S("{\"v\":2}".to_owned())),
        ("remembered", AttributeValue::N("1".to_owned())),
        ("left_behind", AttributeValue::L(vec![AttributeValue::S("x".to_owned())])),
        ("claimant", AttributeValue::S("somebody".to_owned())),
        ("expires", AttributeValue::N("1.5".to_owned())),
    ] {
        let key = fresh_key();
        let put = bench.raw.put_item().table_name(TABLE).item("pk", AttributeValue::S(key.to_string()));
        let record = serde_json::to_string(&Record::default()).unwrap();
        put.item("remembered", AttributeValue::S(record)).item(name, value).send().await.unwrap();
        let StoreError(text) = bench.store().claim(&key, request(1, NOW)).await.unwrap_err();
        assert!(text.contains(&format!("`{name}`")), "{text}");
        let held = bench.item(&key).await.unwrap().contains_key("claim");
        assert!(!held, "{name}: nobody works under that claim");
    }
    bench.stop().await;
}

#[derive(Debug)]
struct NoCredentials;

impl ProvideCredentials for NoCredentials {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::ready(Err(CredentialsError::not_loaded("the chain has no source")))
    }
}

#[tokio::test]
async fn no_credentials() {
    let provider = SharedCredentialsProvider::new(NoCredentials);
    let config = sdk_config().into_builder().credentials_provider(provider).build();
    let client = client(&config, Some("http://127.0.0.1:9"), patient());
    fails(&DynamoStore::new(client, TABLE.to_owned(), DEFAULT_RETENTION), "the chain has no source").await;
}

#[tokio::test]
async fn a_private_ca_is_believed() {
    let bench = Bench::dynalite().await;
    let authority = Authority::new();
    let upstream = bench.endpoint_url().strip_prefix("http://").unwrap().parse().unwrap();
    let proxy = TlsProxy::start(&authority, upstream).await;
    let endpoint_url = format!("https://localhost:{}", proxy.port());

    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    std::fs::write(&ca, authority.pem()).unwrap();
    let base = sdk_config().credentials_provider().unwrap();
    let base = base.provide_credentials().await.unwrap();
    let source = |trust| Source {
        region: Some("us-east-1".to_owned()),
        base: Some(base.clone()),
        trust,
        ..Source::default()
    };
    let store = async |trust| {
        let resolved = source(trust).resolve().await.unwrap();
        let client = client(resolved.sdk_config(), Some(&endpoint_url), patient());
        DynamoStore::new(client, TABLE.to_owned(), DEFAULT_RETENTION)
    };
    let trusting = store(Trust::from_file(&ca).unwrap()).await;
    assert!(matches!(trusting.claim(&fresh_key(), request(1, NOW)).await, Ok(Claimed::Yes(_))));
    fails(&store(Trust::default()).await, "ertificate").await;
    bench.stop().await;
}
