//! `lakehook check` looks through Subscriptions: of a file, or of the CDR.

use axum::Router;
use axum::routing::get;
use serde_json::{Value, json};

use super::{ANY_PORT, Ran, SANDBOX, SECRET, directory, file, run};

fn subscription() -> Value {
    json!({
        "resourceType": "Subscription", "id": "lakehook", "status": "active", "criteria": "[*]",
        "channel": {
            "type": "rest-hook", "endpoint": "https://lakehook.example.org/fhir", "payload": "application/fhir+json",
            "header": [format!("Authorization: Bearer {SECRET}")],
            "extension": [{"url": "http://hapifhir.io/fhir/StructureDefinition/subscription-send-delete-messages", "valueBoolean": true}],
        },
    })
}

async fn check(arguments: &[&str]) -> Ran {
    run(&[&["check"][..], &SANDBOX, &ANY_PORT, arguments].concat()).await
}

async fn check_file(subscription: &Value, arguments: &[&str]) -> Ran {
    let directory = directory();
    let path = file(&directory, "subscription.json", &subscription.to_string());
    check(&[&["--subscription", path.to_str().unwrap()], arguments].concat()).await
}

#[tokio::test]
async fn a_good_one_is_fine_and_its_token_compared() {
    let ran = check_file(&subscription(), &["--token", SECRET]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.contains("\nSubscription/lakehook\n"), "{}", ran.out);
    for what in [
        "status",
        "channel.type",
        "channel.endpoint",
        "channel.payload",
        "Authorization",
        "deletes",
        "criteria",
    ] {
        ran.row(what, "ok", &[]);
    }
    let ran = check_file(&subscription(), &["--token", "another-token"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("Authorization", "failed", &["401", "--token"]);
    let ran = check_file(&subscription(), &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("Authorization", "skipped", &["--token"]);
}

#[tokio::test]
async fn every_trap_of_one_is_named() {
    let mut trapped = subscription();
    let extension = trapped["channel"]["extension"].take();
    trapped["extension"] = extension;
    trapped["status"] = json!("error");
    trapped["criteria"] = json!("Patient?active=true");
    let latest = "http://hapifhir.io/fhir/StructureDefinition/subscription-resthook-deliver-latest-version";
    trapped["channel"] = json!({
        "type": "email", "endpoint": format!("https://lakehook.example.org/fhir?token={SECRET}"),
        "extension": [{"url": latest, "valueBoolean": true}],
    });
    let ran = check_file(&trapped, &["--token", SECRET]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("status", "failed", &["error"]);
    ran.row("channel.type", "failed", &["rest-hook"]);
    ran.row("channel.endpoint", "failed", &["query", "channel.header"]);
    ran.row("channel.payload", "failed", &["application/fhir+json"]);
    ran.row("Authorization", "failed", &["none sent"]);
    ran.row("deletes", "failed", &["root", "channel.extension"]);
    ran.row("criteria", "warning", &["stops matching"]);
    ran.row("deliver-latest-version", "warning", &["stands still"]);
}

#[tokio::test]
async fn the_endpoint_s_path_is_the_base_path() {
    let ran = check_file(&subscription(), &["--token", SECRET, "--base-path", "/mirror"]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("channel.endpoint", "failed", &["/fhir", "--base-path /mirror"]);
}

/// A CDR that has these Subscriptions and speaks this version.
async fn cdr(version: &'static str, subscriptions: Vec<Value>) -> String {
    let entries: Vec<Value> =
        subscriptions.into_iter().map(|resource| json!({"resource": resource})).collect();
    let bundle = json!({"resourceType": "Bundle", "type": "searchset", "entry": entries});
    let statement =
        json!({"resourceType": "CapabilityStatement", "fhirVersion": version, "software": {"name": "A CDR"}});
    let router = Router::new()
        .route("/fhir/metadata", get(async move || axum::Json(statement)))
        .route("/fhir/Subscription", get(async move || axum::Json(bundle)))
        .route("/closed/metadata", get(async || http::StatusCode::UNAUTHORIZED));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!("http://{address}")
}

#[tokio::test]
async fn the_cdr_s_own_are_read_where_they_point_here() {
    let mut elsewhere = subscription();
    elsewhere["id"] = json!("elsewhere");
    elsewhere["channel"]["endpoint"] = json!("https://other.example.org/hook");
    let mut off = subscription();
    off["id"] = json!("off");
    off["status"] = json!("off");
    let cdr = cdr("4.0.1", vec![elsewhere, off]).await;
    let ran = check(&["--token", SECRET, "--cdr-url", &format!("{cdr}/fhir")]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("CDR", "ok", &["A CDR", "4.0.1"]);
    ran.row("Subscriptions", "ok", &["1 of 2"]);
    assert!(ran.out.contains("\nSubscription/off\n") && !ran.out.contains("elsewhere"), "{}", ran.out);
    ran.row("status", "failed", &["off"]);
    // A file is looked at instead.
    let ran = check_file(&subscription(), &["--token", SECRET, "--cdr-url", &format!("{cdr}/fhir")]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
}

#[tokio::test]
async fn a_cdr_that_is_not_there_not_open_or_not_r4() {
    let cdr = cdr("5.0.0", Vec::new()).await;
    let ask = async |path: &str| check(&["--cdr-url", &format!("{cdr}{path}")]).await;
    let ran = ask("/fhir").await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("CDR", "failed", &["5.0.0", "R4"]);
    ran.row("Subscriptions", "warning", &["none of 0", "docs/subscriptions.md"]);
    ask("/closed").await.row("CDR", "failed", &["401", "--cdr-token-file"]);
    ask("/nothing").await.row("CDR", "failed", &["404", "--cdr-url"]);
    let ran = check(&["--cdr-url", &format!("{cdr}/fhir"), "--max-body", "20"]).await;
    ran.row("CDR", "warning", &["--max-body"]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = check(&["--cdr-url", &format!("http://{nobody}/fhir")]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("CDR", "failed", &["could not be reached", "--cdr-url"]);
    ran.row("Subscriptions", "skipped", &[]);
}
