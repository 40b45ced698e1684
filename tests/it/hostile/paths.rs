//! Paths, byte for byte as no well-behaved client would send them.

use super::*;

#[tokio::test]
async fn tricks_with_the_path_reach_nobody() {
    let app = builder().start().await;
    let body = patient("a", 1);
    for path in [
        "/fhir/Patient/../Patient/a",
        "/fhir/../fhir/Patient/a",
        "/fhir/./Patient/a",
        "/fhir//Patient/a",
        "//fhir/Patient/a",
        "/fhir/Patient//a",
        "/fhir/Patient/a/..",
        "/fhir/Patient/a/../../Observation/a",
        "/fhir/Patient/%2e%2e/Patient/a",
        "/fhir/Patient/%61",
        "/fhir/%50atient/a",
        "/%66hir/Patient/a",
        "/fhir/Patient%2Fa",
        "/fhir/Patient/a%2f..%2f..%2fmetadata",
        "/fhir/Patient/a%00",
        "/fhir/Patient/a%0d%0ax-injected:%201",
        "/fhir/Patient/a%252e",
        "/fhir/Patient/%c0%ae%c0%ae",
        "/fhir/Patient/a;jsessionid=1",
        "/fhir/Patient/a?_format=json",
        "/fhir/Patient/a?/Patient/b",
        "/fhir/Patient?_id=a",
        "/fhir/Patient/a\\..\\b",
        "/fhir\\Patient\\a",
        "/fhir/Patient/a\tb",
        "/fhir/Patient/\u{e4}",
        "/fhir/Patient/a:80@evil.example",
        "/fhir/patient/a",
        "/FHIR/Patient/a",
        "/fhirPatient/a",
        "/fhir/Patient/-/_history",
        "/fhir/Patient/a/_history/1",
        "/fhir/Patient/a/$everything",
        "/fhir/$export",
        "/fhir/Patient/..",
        "/fhir/Patient/.",
        "/fhir/_sandbox/reset",
        "/_sandbox/reset",
        "/metrics",
        "/deliveries/Patient/a",
        "fhir/Patient/a",
        "*",
        "",
    ] {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let came = exchange(&app, request.as_bytes()).await;
        let statuses = statuses(&came);
        assert!(
            statuses.len() <= 1 && statuses.iter().all(|status| [400, 404, 405].contains(status)),
            "{path}: {came}"
        );
        assert_eq!(app.forwarded(), 0, "{path}: {came}");
    }
}

#[tokio::test]
async fn a_host_is_no_address() {
    let app = builder().start().await;
    let body = patient("a", 1);
    // Whatever names another host leads to our own data store, and nowhere else. A fragment is no part of a path.
    let targets = ["http://evil.example/fhir/Patient/a", "/fhir/Patient/a", "/fhir/Patient/a#@evil.example/"];
    for (n, target) in targets.into_iter().enumerate() {
        let host = "evil.example";
        let request = format!(
            "PUT {target} HTTP/1.1\r\nhost: {host}\r\nx-forwarded-host: {host}\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        );
        let came = exchange(&app, request.as_bytes()).await;
        assert_eq!(statuses(&came), [if n == 0 { 201 } else { 200 }], "{target}: {came}");
        assert!(!came.contains("evil"), "{came}");
    }
    assert_eq!(app.alive(), ["Patient/a"]);
}
