//! The embedded metric format, on AWS Lambda and where it is asked for.

use serde_json::{Value, json};

use crate::support::app::{TestApp, patient};
use crate::support::emf::documents;
use crate::support::lambda::{Caller, World};

/// What a resource may hold and no line may.
const MARK: &str = "Zzyzx-Marker";

fn marked(id: &str) -> String {
    patient(id, 1).replace("F1", MARK)
}

fn metrics(document: &Value) -> Vec<&str> {
    let metrics = document["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().unwrap();
    metrics.iter().map(|metric| metric["Name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn each_delivery_of_a_function_is_one_valid_document() {
    let world = World::start().await;
    let function = world.function_with(&[("LAKEHOOK_LOG", "error")]).await;
    let url = Caller::FunctionUrl;
    function.answer(&url.request("PUT", "/fhir/Patient/p1", &[], marked("p1").as_bytes())).await;
    function.answer(&url.request("DELETE", "/fhir/Patient/p1", &[], b"")).await;
    let invalid = marked("p2").replace("\"active\":true", "\"active\":\"Zzyzx-Marker\"");
    function.answer(&url.request("PUT", "/fhir/Patient/p2", &[], invalid.as_bytes())).await;
    function.answer(&url.request("PUT", "/fhir/Patient/p2", &[("authorization", "")], b"{}")).await;

    let log = function.log();
    let documents = documents(&log);
    let seen: Vec<_> =
        documents.iter().map(|document| (document["Verdict"].as_str().unwrap(), metrics(document))).collect();
    let delivered = vec!["Deliveries", "Duration"];
    assert_eq!(
        seen,
        [
            ("mirrored", delivered.clone()),
            ("mirrored", delivered.clone()),
            ("invalid", delivered),
            ("unauthenticated", vec!["Rejected"]),
        ],
        "{log}"
    );
    let first = &documents[0];
    let directive = &first["_aws"]["CloudWatchMetrics"][0];
    assert_eq!(
        (&directive["Namespace"], &directive["Dimensions"]),
        (&json!("lakehook"), &json!([["Verdict"]]))
    );
    assert_eq!(first["Deliveries"], 1);
    assert!(first["Duration"].as_f64().unwrap() > 0.0, "{first}");
    // The line is the log's too: one is enough, and CloudWatch bills by the byte.
    for (member, value) in
        [("key", "Patient/p1"), ("interaction", "upsert"), ("version_id", "1"), ("level", "INFO")]
    {
        assert_eq!(first[member], value, "{first}");
    }
    assert_eq!(log.matches("\"key\":\"Patient/p2\"").count(), 1, "{log}");
    assert!(!log.contains(MARK), "{log}");
    for line in log.lines() {
        assert!(serde_json::from_str::<Value>(line).is_ok(), "a line that is no JSON: {line}");
    }
}

#[tokio::test]
async fn namespace_and_dimensions_are_settings() {
    let app = TestApp::builder()
        .env("LAKEHOOK_LOG_FORMAT", "emf")
        .env("LAKEHOOK_EMF_NAMESPACE", "Clinic/lakehook")
        .env("LAKEHOOK_EMF_DIMENSIONS", "none,verdict+type,interaction+source")
        .start()
        .await;
    app.put("/Patient/p1", marked("p1")).await;
    app.delete("/Observation/o1").await;
    app.delivery_lines(2).await;
    let documents = documents(&app.log());
    assert_eq!(documents.len(), 2, "{}", app.log());
    for (document, kind, interaction) in
        [(&documents[0], "Patient", "upsert"), (&documents[1], "Observation", "delete")]
    {
        let directive = &document["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "Clinic/lakehook");
        assert_eq!(
            directive["Dimensions"],
            json!([[], ["Verdict", "ResourceType"], ["Interaction", "Source"]])
        );
        assert_eq!(
            (&document["ResourceType"], &document["Interaction"], &document["Source"]),
            (&json!(kind), &json!(interaction), &json!("live"))
        );
    }
    assert!(!app.log().contains(MARK));
}

#[tokio::test]
async fn elsewhere_a_log_has_no_metrics_unless_it_is_asked_for() {
    let app = TestApp::start().await;
    app.put("/Patient/p1", patient("p1", 1)).await;
    app.delivery_lines(1).await;
    assert!(documents(&app.log()).is_empty() && !app.log().contains("_aws"));
}
