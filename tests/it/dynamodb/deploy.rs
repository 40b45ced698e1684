//! The template makes the table that the store wants.

use lakehook::order::dynamodb::{DEFAULT_RETENTION, DynamoStore};

use super::bench::Bench;
use crate::support::process::{http_client, repository};

#[tokio::test]
async fn cloudformation_makes_the_table() {
    let bench = Bench::moto().await;
    let template = std::fs::read_to_string(repository().join("deploy/dynamodb/table.yaml")).unwrap();
    let stack = [
        ("Action", "CreateStack"),
        ("Version", "2010-05-15"),
        ("StackName", "order"),
        ("TemplateBody", &template),
        ("Parameters.member.1.ParameterKey", "TableName"),
        ("Parameters.member.1.ParameterValue", "from-template"),
    ];
    // The emulator reads the service's name there, and checks nothing.
    let credential = "AWS4-HMAC-SHA256 Credential=AKIDTEST/20261124/us-east-1/cloudformation/aws4_request, \
                      SignedHeaders=host, Signature=0";
    let answer = http_client()
        .post(bench.endpoint_url())
        .header("authorization", credential)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(&stack))
        .send()
        .await
        .unwrap();
    let status = answer.status();
    assert!(status.is_success(), "{}", answer.text().await.unwrap());

    let store = DynamoStore::new(bench.raw.clone(), "from-template".to_owned(), DEFAULT_RETENTION);
    store.check().await.unwrap();
    bench.stop().await;
}

/// The emulator overlooks TTL in a template, and Terraform's is not run here: they say the same, at least.
#[test]
fn the_templates_name_the_store_s_attributes() {
    let template = |name| std::fs::read_to_string(repository().join("deploy/dynamodb").join(name)).unwrap();
    let words = |text: String| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (cloudformation, terraform) = (words(template("table.yaml")), words(template("table.tf")));
    for expected in ["AttributeName: expires Enabled: true", "AttributeName: pk KeyType: HASH"] {
        assert!(cloudformation.contains(expected), "{expected}");
    }
    for expected in [r#"attribute_name = "expires" enabled = true"#, r#"hash_key = "pk""#] {
        assert!(terraform.contains(expected), "{expected}");
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    let encode = |text: &str| {
        text.bytes()
            .map(|byte| {
                if byte.is_ascii_alphanumeric() {
                    char::from(byte).to_string()
                } else {
                    format!("%{byte:02X}")
                }
            })
            .collect::<String>()
    };
    fields
        .iter()
        .map(|(name, value)| format!("{}={}", encode(name), encode(value)))
        .collect::<Vec<_>>()
        .join("&")
}
