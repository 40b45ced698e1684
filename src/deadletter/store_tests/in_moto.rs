//! Both of AWS's, in one moto that ends with the tests.
#![allow(clippy::unwrap_used)]

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use tokio::sync::OnceCell;

use super::super::{Blobs, s3, seal, sqs};
use super::*;
use crate::emulators::moto::Moto;

static MOTO: OnceCell<Moto> = OnceCell::const_new();

async fn endpoint() -> &'static str {
    MOTO.get_or_init(Moto::start).await.endpoint_url()
}

fn config() -> SdkConfig {
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

fn unique(what: &str) -> String {
    format!("{what}-{}", uuid::Uuid::new_v4().simple())
}

async fn s3(blobs: Blobs, kms_key: Option<&str>) -> s3::S3 {
    let client = s3::client(&config(), Some(endpoint().await));
    let bucket = unique("letters");
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    s3::S3 { client, bucket, prefix: "a/b/".into(), kms_key: kms_key.map(str::to_owned), blobs }
}

async fn sqs(blobs: Blobs, fifo: bool) -> sqs::Sqs {
    let client = sqs::client(&config(), Some(endpoint().await));
    let name = unique("letters");
    let create = client.create_queue().queue_name(if fifo { format!("{name}.fifo") } else { name });
    let create = if fifo {
        create.attributes(aws_sdk_sqs::types::QueueAttributeName::FifoQueue, "true")
    } else {
        create
    };
    let url = create.send().await.unwrap().queue_url.unwrap();
    sqs::Sqs::new(client, url, blobs)
}

mod in_s3 {
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        Fresh { store: Arc::new(s3(Blobs::default(), None).await), replaces: true, keep: Box::new(()) }
    }

    #[tokio::test]
    async fn objects_are_encrypted_as_set() {
        for (kms_key, expected) in [(None, "AES256"), (Some("alias/letters"), "aws:kms")] {
            let store = s3(Blobs::default(), kms_key).await;
            let (letter, payload) = letter("Patient/p1", 1, MARK);
            store.keep(&letter, payload).await.unwrap();
            let object = format!("a/b/Patient/p1/{}.letter", letter.id);
            let head = store.client.head_object().bucket(&store.bucket).key(object).send().await.unwrap();
            assert_eq!(head.server_side_encryption().unwrap().as_str(), expected);
            assert_eq!(head.ssekms_key_id(), kms_key);
        }
    }

    #[tokio::test]
    async fn more_than_a_page_is_told() {
        let store = s3(Blobs::default(), None).await;
        for n in 0..1_003 {
            let put = store.client.put_object().bucket(&store.bucket);
            put.key(format!("a/b/Patient/p{n}/0123456789abcdef.letter")).send().await.unwrap();
        }
        store.client.put_object().bucket(&store.bucket).key("a/b/notes.txt").send().await.unwrap();
        assert_eq!(store.names().await.unwrap().len(), 1_003);
    }

    #[tokio::test]
    async fn a_bucket_that_is_not_there_is_told_by_its_code() {
        let store = s3::S3 { bucket: "no-such-bucket".into(), ..s3(Blobs::default(), None).await };
        let (letter, payload) = letter("Patient/p1", 1, MARK);
        let error = store.keep(&letter, payload).await.unwrap_err().to_string();
        assert!(error.contains("S3 PutObject: NoSuchBucket") && !error.contains(MARK), "{error}");
        assert!(store.check().await.is_err());
    }
}

mod in_sqs {
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        Fresh { store: Arc::new(sqs(Blobs::default(), false).await), replaces: false, keep: Box::new(()) }
    }

    #[tokio::test]
    async fn what_no_message_can_hold_is_refused_clearly() {
        let store = sqs(Blobs::default(), false).await;
        let noise: String = (0..2 << 20).map(|_| fastrand::alphanumeric()).collect();
        let (large, payload) = letter("Patient/p1", 1, &noise);
        let error = store.keep(&large, payload).await.unwrap_err().to_string();
        assert!(error.contains("too large for the queue"), "{error}");
        // Resources of this size do compress.
        let (large, payload) = letter("Patient/p1", 1, &"{\"system\":\"phone\"},".repeat(150_000));
        store.keep(&large, payload.clone()).await.unwrap();
        let name = store.names().await.unwrap().remove(0);
        assert_eq!(store.read(&name).await.unwrap().unwrap().payload, payload);
    }

    #[tokio::test]
    async fn other_messages_stay_in_the_queue() {
        let store = sqs(Blobs::default(), false).await;
        let client = sqs::client(&config(), Some(endpoint().await));
        let send = client.send_message().queue_url(store.place()).message_body("hello");
        send.send().await.unwrap();
        assert_eq!(store.names().await.unwrap(), []);
        store.close().await.unwrap();
        let receive = client.receive_message().queue_url(store.place()).send().await.unwrap();
        assert_eq!(receive.messages.unwrap()[0].body.as_deref(), Some("hello"));
    }
}

mod in_a_fifo_queue {
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        let keys = seal::tests::keys(&[[9; 32]]);
        let store = sqs(Blobs { keys: Some(keys), gzip: false }, true).await;
        Fresh { store: Arc::new(store), replaces: false, keep: Box::new(()) }
    }
}
