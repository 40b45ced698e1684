//! The contract's "Through": JSON goes on byte for byte, and what is rewritten keeps every digit.

use reqwest::Method;

use crate::support::app::{TestApp, patient, send};
use crate::support::upstream::Upstream;

const FHIR_JSON: &str = "application/fhir+json";

#[tokio::test]
async fn json_is_forwarded_byte_for_byte() {
    let upstream = Upstream::start().await;
    let app = TestApp::builder().start_before(&upstream.endpoint()).await;
    // White space, key order, escapes, digits, unknown extensions: all as it came.
    let body = "{ \"id\" : \"o1\",\r\n\t\"resourceType\":\"Observation\",\"status\":\"final\", \"code\":{\"text\":\"\\u00fc\\/\"},\
        \"valueQuantity\":{\"value\":1.50e+2,\"unit\":\"\u{1F600}\"},\"extension\":[{\"url\":\"urn:x:unknown\",\"valueDecimal\":0.10000000000000000000001}] }\n";
    let answer = app.put("/Observation/o1", body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let seen = upstream.requests();
    assert_eq!(seen[0].body, body.as_bytes());
    let (method, path) = (seen[0].method.as_str(), seen[0].path.as_str());
    assert_eq!((method, path), ("PUT", "/datastore/a/r4/Observation/o1"));
}

#[tokio::test]
async fn what_belongs_to_the_cdr_stops_here() {
    let upstream = Upstream::start().await;
    let app = TestApp::builder().start_before(&upstream.endpoint()).await;
    let request = app
        .request(Method::PUT, "/Patient/p1")
        .header("content-type", FHIR_JSON)
        .header("if-match", "W/\"1\"")
        .header("accept-encoding", "gzip")
        .header("cookie", "a=b")
        .header("x-forwarded-for", "10.0.0.1")
        .header("te", "trailers")
        .header("x-custom", "1")
        .body(patient("p1", 1));
    assert_eq!(send(request).await.status, 200);
    let seen = upstream.requests();
    let mut names: Vec<_> = seen[0].headers.keys().map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "accept",
            "authorization",
            "content-length",
            "content-type",
            "host",
            "user-agent",
            "x-amz-date",
            "x-amz-security-token"
        ]
    );
    assert!(
        seen[0].headers["authorization"].to_str().unwrap().starts_with("AWS4-HMAC-SHA256 Credential=ASIA")
    );
}

#[tokio::test]
async fn the_validation_level_is_sent_and_signed() {
    let upstream = Upstream::start().await;
    let app = TestApp::builder()
        .arg("--healthlake-validation-level", "structure-only")
        .start_before(&upstream.endpoint())
        .await;
    app.put("/Patient/p1", patient("p1", 1)).await;
    let seen = upstream.requests();
    assert_eq!(seen[0].headers["x-amzn-healthlake-fhir-validation-level"], "structure-only");
    let signed = seen[0].headers["authorization"].to_str().unwrap();
    assert!(signed.contains("x-amzn-healthlake-fhir-validation-level"), "{signed}");
}

#[tokio::test]
async fn strict_refuses_an_unknown_profile_and_structure_only_takes_it() {
    let body = r#"{"resourceType":"Patient","id":"p1","meta":{"profile":["http://example.org/StructureDefinition/own"]}}"#;
    let strict = TestApp::start().await;
    assert_eq!(strict.put("/Patient/p1", body).await.verdict(), "refused-by-healthlake");
    let lenient = TestApp::builder().arg("--healthlake-validation-level", "structure-only").start().await;
    assert_eq!(lenient.put("/Patient/p1", body).await.status, 201);
}

#[tokio::test]
async fn xml_keeps_every_digit_and_the_narrative() {
    let upstream = Upstream::start().await;
    let app = TestApp::builder().start_before(&upstream.endpoint()).await;
    let xml = r#"<Observation xmlns="http://hl7.org/fhir"><id value="o1"/><text><status value="generated"/><div xmlns="http://www.w3.org/1999/xhtml">one <b>two</b> three &amp; four</div></text><status value="final"/><code><text value="x"/></code><valueQuantity><value value="1.500"/></valueQuantity></Observation>"#;
    let request =
        app.request(Method::PUT, "/Observation/o1").header("content-type", "application/fhir+xml").body(xml);
    assert_eq!(send(request).await.status, 200);
    let body = String::from_utf8(upstream.requests()[0].body.to_vec()).unwrap();
    assert!(body.contains(r#""value":1.500"#), "{body}");
    assert!(body.contains("one <b>two</b> three &amp; four</div>"), "{body}");
    assert_eq!(upstream.requests()[0].headers["content-type"], FHIR_JSON);
}

#[tokio::test]
async fn bundle_entries_keep_their_bytes() {
    let upstream = Upstream::start().await;
    let app = TestApp::builder().start_before(&upstream.endpoint()).await;
    let entry = r#"{ "resourceType":"Observation", "id":"o1","status":"final","code":{"text":"x"},"valueQuantity":{"value":1.50} }"#;
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"batch","entry":[{{"resource":{entry},"request":{{"method":"PUT","url":"Observation/o1"}}}}]}}"#
    );
    assert_eq!(app.post("", bundle).await.status, 200);
    assert_eq!(upstream.requests()[0].body, entry.as_bytes());
}

#[tokio::test]
async fn no_list_of_supported_types_is_kept() {
    let upstream = Upstream::start().await;
    let app = TestApp::builder().start_before(&upstream.endpoint()).await;
    // HealthLake does not take it today: that is HealthLake's to say.
    assert_eq!(
        app.put("/Basic/b1", r#"{"resourceType":"Basic","id":"b1","code":{"text":"x"}}"#).await.status,
        200
    );
    let off = TestApp::builder().arg("--validation", "off").start_before(&upstream.endpoint()).await;
    assert_eq!(off.put("/Sesame/s1", r#"{"resourceType":"Sesame","id":"s1"}"#).await.status, 200);
    assert_eq!(upstream.requests().len(), 2);
}

#[tokio::test]
async fn the_endpoint_is_taken_in_every_form_and_every_signature_holds() {
    let first = TestApp::start().await;
    let id = first.sandbox.config().datastore_id.clone();
    drop(first);
    for tail in ["", "/", "/r4", "/r4/", "/patientaccess/v2/r4/"] {
        let app = TestApp::builder().tail(tail).start().await;
        assert_eq!(app.put("/Patient/p-1.a", patient("p-1.a", 1)).await.status, 201, "{tail}");
        assert_eq!(app.delete("/Patient/p-1.a").await.status, 204);
        let requests = app.sandbox.requests();
        assert!(requests.iter().all(|line| line.signature == "valid"), "{requests:?}");
        assert!(requests.iter().any(|line| line.path.starts_with(&format!("/datastore/{id}/"))));
    }
}
