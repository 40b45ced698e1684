//! `lakehook check` where HealthLake refuses, is not there, or something else answers.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use lakehook::sandbox::{Config, Sandbox};
use serde_json::json;

use super::check::Store;
use super::run;

fn aws_error(status: u16, name: &str, message: &str) -> serde_json::Value {
    json!({"service": "healthlake", "status": status, "contentType": "application/json",
        "body": {"__type": name, "message": message}})
}

#[tokio::test]
async fn refusals_are_told_apart_by_the_exception_s_name() {
    let store = Store::start().await;
    let denied = "User: arn:aws:sts::111122223333:assumed-role/lakehook/lakehook is not authorized to perform: healthlake:GetCapabilities";
    for (fault, says) in [
        (
            aws_error(403, "AccessDeniedException", denied),
            &["healthlake:GetCapabilities", "missing permission", "docs/iam.md"][..],
        ),
        (
            aws_error(400, "AccessDeniedException", "kms:Decrypt is not allowed"),
            &["kms:Decrypt", "kms:GenerateDataKey"],
        ),
        (
            aws_error(403, "ExpiredTokenException", "The security token is expired"),
            &["credentials are over", "aws sso login"],
        ),
        (
            aws_error(
                403,
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z",
            ),
            &["clock skew", "NTP"],
        ),
        (
            aws_error(
                403,
                "InvalidSignatureException",
                "Credential should be scoped to a valid region: 'us-west-2'.",
            ),
            &["wrong region", "--region"],
        ),
        (
            aws_error(401, "MissingAuthenticationTokenException", "Missing Authentication Token"),
            &["Authorization header", "proxy"],
        ),
        (
            json!({"status": 401, "service": "healthlake", "body": "", "headers": {"www-authenticate": "Bearer"}}),
            &["SMART", "AWS_AUTH"],
        ),
        (
            json!({"status": 403, "service": "healthlake", "body": {"message": "Forbidden"}, "headers": {"x-amzn-errortype": ""}}),
            &["403", "Forbidden", "SMART"],
        ),
        (
            json!({"status": 302, "service": "healthlake", "body": "", "headers": {"location": "https://login.example.org/?token=x"}}),
            &["redirect to https://login.example.org/:"],
        ),
        (
            json!({"status": 503, "service": "healthlake", "body": "<html>busy</html>", "contentType": "text/html"}),
            &["503", "web page"],
        ),
        (
            json!({"status": 200, "service": "healthlake", "body": "<html>log in</html>", "contentType": "text/html"}),
            &["web page", "NO_PROXY"],
        ),
        (
            json!({"status": 200, "service": "healthlake", "body": {"resourceType": "Patient"}}),
            &["no CapabilityStatement"],
        ),
        (json!({"status": 500, "service": "healthlake"}), &["InternalServerException", "request id"]),
    ] {
        store.sandbox.clear_faults();
        store.fault(fault.clone());
        let ran = store.check(&[]).await;
        assert_eq!(ran.code, 1, "{fault}: {ran:?}");
        ran.row("data store", "failed", says);
        ran.row("STS", "ok", &[]);
    }
    store.sandbox.clear_faults();
    store.fault(json!({"throttle": true, "service": "healthlake"}));
    let ran = store.check(&[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    ran.row("data store", "warning", &["ThrottlingException", "again in a minute"]);
}

#[tokio::test]
async fn another_data_store_another_region_and_no_connection() {
    let store = Store::start().await;
    let other = format!("http://{}/datastore/ffffffffffffffffffffffffffffffff", store.address);
    let ran = store.check(&["--healthlake-endpoint", &other]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("data store", "failed", &["404 ResourceNotFoundException", "us-east-1", "list-fhir-datastores"]);
    let ran = store.check(&["--region", "us-west-2"]).await;
    ran.row("data store", "failed", &["wrong region"]);
    ran.row("STS", "failed", &["--region"]);
    store.fault(json!({"cut": "before", "service": "healthlake"}));
    store.check(&[]).await.row("data store", "failed", &["ends the connection"]);
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let ran = store.check(&["--healthlake-endpoint", &format!("http://{nobody}/datastore/a")]).await;
    ran.row("data store", "failed", &["no connection to 127.0.0.1", "nothing listens there"]);
    ran.row("clock", "skipped", &[]);
}

#[tokio::test]
async fn a_region_other_than_the_host_s_is_told_before_asking() {
    // Only the host name is looked at: credentials that can't be had keep the check from going there.
    let endpoint = "https://healthlake.eu-west-1.amazonaws.com/datastore/a";
    let arguments = ["check", "--listen", "127.0.0.1:0", "--healthlake-endpoint", endpoint];
    let ran = run(&[&arguments[..], &["--region", "us-east-1"]].concat()).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("region", "failed", &["us-east-1", "eu-west-1", "--region eu-west-1"]);
    run(&arguments).await.row("region", "ok", &["eu-west-1"]);
}

#[tokio::test]
async fn no_answer_within_the_deadline() {
    let store = Store::start().await;
    store.fault(json!({"delayMs": 60000, "service": "healthlake"}));
    let ran = store.check(&["--deadline", "200ms"]).await;
    ran.row("data store", "failed", &["--deadline 200ms"]);
}

#[tokio::test]
async fn the_clock_is_compared_with_the_answer_s_date() {
    let store = Store::start().await;
    for (seconds, outcome) in [(90, "warning"), (-90, "warning"), (400, "failed")] {
        let at = Timestamp::now() + SignedDuration::from_secs(seconds);
        let date = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&at).unwrap();
        store.sandbox.clear_faults();
        store.fault(json!({"status": 200, "headers": {"date": date}, "service": "healthlake"}));
        let ran = store.check(&[]).await;
        ran.row("clock", outcome, &["5 minutes", "NTP", if seconds > 0 { "behind" } else { "ahead of" }]);
        assert_eq!(ran.code, i32::from(outcome == "failed"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_clock_that_aws_refuses() {
    let later = Arc::new(|| Timestamp::now() + SignedDuration::from_mins(10));
    let store = Store::of(Sandbox::with_clock(Config::default(), later)).await;
    let ran = store.check(&[]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("STS", "failed", &["clock is wrong"]);
    ran.row("data store", "failed", &["clock skew"]);
}
