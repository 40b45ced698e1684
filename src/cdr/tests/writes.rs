use bytes::Bytes;
use serde_json::json;

use super::server::{Stand, json, status};
use super::{cdr, patient};
use crate::cdr::Authorization;

#[tokio::test]
async fn a_write_is_sent_once_and_its_answer_handed_back() {
    let outcome = json!({
        "resourceType": "OperationOutcome",
        "issue": [
            { "severity": "error", "code": "processing", "diagnostics": "no\u{7} such" },
            { "severity": "warning", "code": "processing", "details": { "text": "beware" } },
        ],
    });
    let stand = Stand::start(move |_, _| json(503, &outcome)).await;
    let answer = cdr(&stand, Authorization::None)
        .update(&patient("a"), Bytes::from_static(b"{ }"), Some("W/\"3\""))
        .await
        .unwrap();
    assert!(!answer.is_success());
    assert_eq!((answer.status, stand.asked().len()), (503, 1));
    assert_eq!(answer.outcome.texts, ["error: no  such", "warning: beware"]);
    assert_eq!(answer.success().unwrap_err().to_string(), "the CDR answered 503 (processing)");
    let asked = &stand.asked()[0];
    assert_eq!((asked.method.as_str(), asked.target.as_str()), ("PUT", "/fhir/Patient/a"));
    assert_eq!(asked.header("if-match"), "W/\"3\"");
    assert_eq!(asked.header("content-type"), "application/fhir+json");
    assert_eq!(&asked.body[..], b"{ }");
}

#[tokio::test]
async fn each_kind_of_write_goes_where_it_belongs() {
    let stand = Stand::start(|asked, _| {
        let mut answer = status(if asked.method == "DELETE" { 204 } else { 201 });
        answer.headers_mut().insert("location", "Patient/7/_history/1".parse().unwrap());
        answer.headers_mut().insert("etag", "W/\"1\"".parse().unwrap());
        answer
    })
    .await;
    let cdr = cdr(&stand, Authorization::None);
    let created = cdr.create("Patient", Bytes::from_static(b"{}")).await.unwrap().success().unwrap();
    assert_eq!(created.location.as_deref(), Some("Patient/7/_history/1"));
    assert_eq!(created.etag.as_deref(), Some("W/\"1\""));
    assert_eq!(cdr.delete(&patient("a")).await.unwrap().status, 204);
    cdr.operation("Subscription/1/$trigger-subscription", Bytes::from_static(b"{}")).await.unwrap();
    let asked: Vec<_> =
        stand.asked().iter().map(|asked| format!("{} {}", asked.method, asked.target)).collect();
    assert_eq!(
        asked,
        ["POST /fhir/Patient", "DELETE /fhir/Patient/a", "POST /fhir/Subscription/1/$trigger-subscription"]
    );
}
