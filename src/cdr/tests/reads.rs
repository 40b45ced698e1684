use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use super::server::{Stand, cut, json, status, text};
use super::{LIMIT, cdr, patient, soon};
use crate::cdr::{Authorization, CdrError, Current};

#[tokio::test]
async fn a_read_is_tried_again_where_that_may_help() {
    let stand = Stand::start(|_, before| match before {
        0 => status(503),
        1 => cut(),
        2 => status(429),
        _ => text(200, r#"{"resourceType":"Patient", "id":"a"}"#),
    })
    .await;
    let Current::Resource(body) = cdr(&stand, Authorization::None).read(&patient("a"), soon()).await.unwrap()
    else {
        panic!("it is there")
    };
    assert_eq!(&body[..], br#"{"resourceType":"Patient", "id":"a"}"#, "as the CDR spells it");
    assert_eq!(stand.asked().len(), 4);
    assert_eq!(stand.asked()[0].target, "/fhir/Patient/a");
}

#[tokio::test]
async fn it_gives_up_in_the_end() {
    let outcome = json!({
        "resourceType": "OperationOutcome",
        "issue": [{ "severity": "error", "code": "exception", "diagnostics": "of Ann Smith" }],
    });
    let stand = Stand::start(move |_, _| json(500, &outcome)).await;
    let error = cdr(&stand, Authorization::None).read(&patient("a"), soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "the CDR answered 500 (exception)", "the text may quote a resource");
    assert_eq!(error.texts(), ["error: of Ann Smith"]);
    assert_eq!(stand.asked().len(), 4);
}

#[tokio::test]
async fn what_will_not_change_is_asked_once() {
    for answer in [302, 400, 403, 404, 410, 422, 501] {
        let stand = Stand::start(move |_, _| status(answer)).await;
        let read = cdr(&stand, Authorization::None).read(&patient("a"), soon()).await;
        match (answer, read) {
            (404 | 410, Ok(Current::Gone)) => {}
            (_, Err(error)) => assert_eq!(error.status(), Some(answer)),
            (_, other) => panic!("{answer}: {other:?}"),
        }
        assert_eq!(stand.asked().len(), 1, "{answer}");
    }
}

#[tokio::test]
async fn retry_after_is_kept_or_given_up_for_but_never_cut_short() {
    let answer = |after: &'static str| {
        move |_: &_, before| match before {
            0 => {
                let mut answer = status(503);
                answer.headers_mut().insert("retry-after", after.parse().unwrap());
                answer
            }
            _ => text(200, "{}"),
        }
    };
    let soon_enough = Stand::start(answer("0")).await;
    assert!(cdr(&soon_enough, Authorization::None).read(&patient("a"), soon()).await.is_ok());
    let past = Stand::start(answer("Tue, 24 Nov 2026 00:00:00 GMT")).await;
    assert!(cdr(&past, Authorization::None).read(&patient("a"), soon()).await.is_ok());
    let too_late = Stand::start(answer("3600")).await;
    let error = cdr(&too_late, Authorization::None).read(&patient("a"), soon()).await.unwrap_err();
    assert_eq!((error.status(), too_late.asked().len()), (Some(503), 1));
}

#[tokio::test]
async fn the_deadline_and_the_limit_hold() {
    let large = format!(r#"{{"x":"{}"}}"#, "y".repeat(LIMIT));
    let stand = Stand::start(move |_, _| text(200, &large)).await;
    let cdr = cdr(&stand, Authorization::None);
    let error = cdr.read(&patient("a"), soon()).await.unwrap_err();
    assert_eq!(error.to_string(), "the CDR's answer is larger than --max-body");
    let passed = Instant::now() - Duration::from_millis(1);
    assert!(matches!(cdr.read(&patient("a"), passed).await, Err(CdrError::Deadline)));
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let elsewhere = Stand::start(|_, _| text(200, "{}")).await;
    let to = elsewhere.base();
    let stand = Stand::start(move |_, _| {
        let mut answer = status(307);
        answer.headers_mut().insert("location", to.parse().unwrap());
        answer
    })
    .await;
    let read = cdr(&stand, Authorization::bearer("secret").unwrap()).read(&patient("a"), soon()).await;
    assert_eq!(read.unwrap_err().status(), Some(307));
    assert!(elsewhere.asked().is_empty(), "the token stays at the CDR");
}

#[tokio::test]
async fn a_token_file_is_read_again_when_the_cdr_refuses_its_token() {
    let stand = Stand::start(|asked, _| match asked.header("authorization") {
        "Bearer new" => text(200, "{}"),
        _ => status(401),
    })
    .await;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("token");
    std::fs::write(&path, "old\n").unwrap();
    let cdr = cdr(&stand, Authorization::token_file(&path).unwrap());
    assert_eq!(cdr.read(&patient("a"), soon()).await.unwrap_err().status(), Some(401));
    assert_eq!(stand.asked().len(), 1, "the same token is not tried twice");
    std::fs::write(&path, "new\n").unwrap();
    assert!(cdr.read(&patient("a"), soon()).await.is_ok());
    std::fs::remove_file(&path).unwrap();
    assert!(cdr.read(&patient("a"), soon()).await.is_ok(), "what was read last stays in use");
}

#[tokio::test]
async fn basic_and_bearer_are_sent_as_such() {
    let stand = Stand::start(|_, _| text(200, "{}")).await;
    for authorization in [Authorization::basic("me:secret"), Authorization::bearer("secret")] {
        cdr(&stand, authorization.unwrap()).read(&patient("a"), soon()).await.unwrap();
    }
    let sent: Vec<_> = stand.asked().iter().map(|asked| asked.header("authorization").to_owned()).collect();
    assert_eq!(sent, ["Basic bWU6c2VjcmV0", "Bearer secret"]);
    assert!(Authorization::bearer("two\nlines").is_err());
}

#[tokio::test]
async fn capabilities_tell_which_server_it_is() {
    let statement = |software: &str, description: &str| {
        json!({
            "resourceType": "CapabilityStatement", "fhirVersion": "4.0.1",
            "software": { "name": software, "version": "1.2" },
            "implementation": { "description": description },
            "rest": [{ "resource": [{ "type": "Patient" }, { "type": "Subscription" }] }],
        })
    };
    for (software, description, name) in [
        ("HAPI FHIR Server", "", "HAPI FHIR"),
        ("Smile CDR", "on HAPI FHIR", "Smile CDR"),
        ("medplum", "", "Medplum"),
        ("Microsoft FHIR Server", "", "Microsoft's FHIR server"),
        ("Firely Server", "", "Firely Server"),
        ("own", "of ours", "a FHIR server of another kind"),
    ] {
        let answer = statement(software, description);
        let stand = Stand::start(move |_, _| json(200, &answer)).await;
        let found = cdr(&stand, Authorization::None).capabilities().await.unwrap();
        assert_eq!(found.server.name(), name);
        assert_eq!((found.software.as_deref(), found.version.as_deref()), (Some(software), Some("1.2")));
        assert_eq!(found.types, ["Patient", "Subscription"]);
        assert_eq!(stand.asked()[0].target, "/fhir/metadata");
    }
    let stand = Stand::start(|_, _| text(200, "<html>")).await;
    let error = cdr(&stand, Authorization::None).capabilities().await.unwrap_err();
    assert!(error.to_string().contains("--cdr-url"), "{error}");
}
