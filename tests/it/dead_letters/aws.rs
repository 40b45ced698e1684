//! In S3 and SQS, several instances share them; and what happens while they fail.

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_sqs::types::QueueAttributeName;
use lakehook::deadletter::{s3, sqs};

use super::{Fixture, invalid, is_kept};
use crate::support::app::{Builder, TestApp};
use crate::support::moto::Moto;

fn config() -> SdkConfig {
    let credentials = Credentials::new("AKIDTEST", "secret", None, None, "test");
    SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(SharedCredentialsProvider::new(credentials))
        .build()
}

/// Two instances before one HealthLake with one store: what either keeps the commands see, and drop.
async fn two_instances_share(moto: &Moto, store: &str) {
    let with = |builder: Builder| {
        builder.arg("--dead-letters", store).arg("--dead-letters-endpoint", moto.endpoint_url())
    };
    let fixture = Fixture::with(with).await.arg("--dead-letters", store);
    let fixture = fixture.arg("--dead-letters-endpoint", moto.endpoint_url());
    let second = with(TestApp::builder()).start_beside(&fixture.app).await;
    is_kept(&fixture.app.put("/Patient/p1", invalid("p1", 1)).await);
    is_kept(&second.put("/Patient/p2", invalid("p2", 1)).await);
    assert_eq!(fixture.kept().await, ["invalid upsert Patient/p1", "invalid upsert Patient/p2"]);
    assert_eq!(fixture.payload("Patient/p2").await, invalid("p2", 1));
    let ran = fixture.run(&["drop", "Patient/p1"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(fixture.kept().await, ["invalid upsert Patient/p2"]);
    // Refused again: it stays, and does not pile up.
    for _ in 0..2 {
        let ran = fixture.run(&["redrive"]).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.out.contains("Patient/p2  still refused: invalid"), "{ran:?}");
    }
    assert_eq!(fixture.kept().await, ["invalid upsert Patient/p2"]);
    assert!(!fixture.letters_directory().exists());
}

#[tokio::test]
async fn s3_keeps_them_for_several_instances() {
    let moto = Moto::start().await;
    let client = s3::client(&config(), Some(moto.endpoint_url()));
    client.create_bucket().bucket("letters").send().await.unwrap();
    two_instances_share(&moto, "s3://letters/lakehook").await;
    moto.stop().await;
}

#[tokio::test]
async fn sqs_keeps_them_for_several_instances() {
    let moto = Moto::start().await;
    let client = sqs::client(&config(), Some(moto.endpoint_url()));
    let queue = client.create_queue().queue_name("letters").send().await.unwrap().queue_url.unwrap();
    two_instances_share(&moto, &format!("sqs:{queue}")).await;
    let attributes = client.get_queue_attributes().queue_url(queue).attribute_names(QueueAttributeName::All);
    let attributes = attributes.send().await.unwrap().attributes.unwrap();
    let count = |name: QueueAttributeName| attributes[&name].parse::<u32>().unwrap();
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessages), 1);
    assert_eq!(count(QueueAttributeName::ApproximateNumberOfMessagesNotVisible), 0, "all were given back");
    moto.stop().await;
}

#[tokio::test]
async fn while_they_fail_the_cdr_gets_its_error() {
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let nowhere = format!("http://{nowhere}");
    for store in ["s3://letters".to_owned(), format!("sqs:{nowhere}/123456789012/letters")] {
        let app = TestApp::builder().arg("--dead-letters", &store).arg("--dead-letters-endpoint", &nowhere);
        let app = app.start().await;
        let answer = app.put("/Patient/p1", invalid("p1", 1)).await;
        assert_eq!((answer.status, answer.verdict().as_str()), (422, "invalid"), "{store}");
        assert!(app.admin("/metrics").await.body.contains("lakehook_dead_letter_failures_total 1"));
    }
    // One that hangs is no reason to miss the CDR's own time limit.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let app =
        TestApp::builder().arg("--dead-letters", "s3://letters").arg("--dead-letters-endpoint", endpoint);
    let app = app.arg("--deadline", "500ms").start().await;
    let started = std::time::Instant::now();
    assert_eq!(app.put("/Patient/p1", invalid("p1", 1)).await.status, 422);
    assert!(started.elapsed().as_secs() < 10, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_bucket_that_is_not_there_is_told_by_check() {
    let moto = Moto::start().await;
    let mut command = crate::support::app::lakehook();
    command.args(["check", "--sandbox", "--sandbox-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0", "--dead-letters", "s3://no-such-bucket"]);
    command.args(["--dead-letters-endpoint", moto.endpoint_url()]);
    command.env("AWS_ACCESS_KEY_ID", "AKIDTEST").env("AWS_SECRET_ACCESS_KEY", "secret");
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let row = text.split("--dead-letters ").nth(1).unwrap_or_else(|| panic!("{text}"));
    assert!(row.contains("NoSuchBucket"), "{text}");
    assert_eq!(output.status.code(), Some(1));
    moto.stop().await;
}
