//! The contract's "In": each row by name, and every kind of bad input with a clear answer and nothing forwarded.

use reqwest::Method;
use serde_json::json;

use crate::support::app::{TOKEN, TestApp, patient, send};

/// Refused with this status, an OperationOutcome whose text holds `says`, and not a request to HealthLake.
pub async fn refused(app: &TestApp, request: reqwest::RequestBuilder, status: u16, says: &str) {
    let before = app.forwarded();
    let answer = send(request).await;
    assert_eq!(answer.status, status, "{answer:?}");
    assert!(answer.header("content-type").unwrap().starts_with("application/fhir+json"));
    assert_eq!(answer.json()["resourceType"], "OperationOutcome");
    assert!(answer.body.contains(says), "{says} not in {answer:?}");
    assert_eq!(app.forwarded(), before, "something was forwarded");
}

pub fn typed(
    app: &TestApp,
    method: Method,
    path: &str,
    media: &str,
    body: impl Into<reqwest::Body>,
) -> reqwest::RequestBuilder {
    app.request(method, path).header("content-type", media).body(body)
}

#[tokio::test]
async fn put_json_is_an_upsert() {
    let app = TestApp::start().await;
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.status, 201);
    assert_eq!(app.put("/Patient/p1", patient("p1", 2)).await.status, 200);
    assert_eq!(app.stored("Patient/p1").unwrap()["name"][0]["family"], "F2");
}

#[tokio::test]
async fn put_xml_is_an_upsert() {
    let app = TestApp::start().await;
    let xml = r#"<?xml version="1.0" encoding="utf-8"?><Patient xmlns="http://hl7.org/fhir"><id value="p1"/><active value="true"/><name><family value="Ü &amp; Co"/></name></Patient>"#;
    let answer =
        send(typed(&app, Method::PUT, "/Patient/p1", "application/fhir+xml; charset=UTF-8", xml)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let stored = app.stored("Patient/p1").unwrap();
    assert_eq!((&stored["active"], &stored["name"][0]["family"]), (&json!(true), &json!("Ü & Co")));
}

#[tokio::test]
async fn delete_is_a_delete() {
    let app = TestApp::start().await;
    app.put("/Patient/p1", patient("p1", 1)).await;
    let answer = app.delete("/Patient/p1").await;
    assert_eq!((answer.status, answer.body.as_str()), (204, ""));
    assert!(app.alive().is_empty());
}

#[tokio::test]
async fn post_of_one_resource_with_an_id_is_an_upsert() {
    let app = TestApp::start().await;
    for (path, id) in [("", "a"), ("/", "b"), ("/Patient", "c")] {
        let answer = app.post(path, patient(id, 1)).await;
        assert_eq!(answer.status, 201, "{path}: {answer:?}");
        assert!(app.stored(&format!("Patient/{id}")).is_some());
    }
}

#[tokio::test]
async fn post_with_a_deleted_resource_header_is_a_delete() {
    let app = TestApp::start().await;
    app.put("/Patient/p1", patient("p1", 1)).await;
    let delete = |key: &str| {
        typed(&app, Method::POST, "", "application/fhir+json", "{}").header("X-Medplum-Deleted-Resource", key)
    };
    assert_eq!(send(delete("Patient/p1")).await.status, 204);
    assert!(app.alive().is_empty());
    refused(&app, delete("Patient/.."), 400, "X-Medplum-Deleted-Resource").await;
    refused(&app, delete("nonsense"), 400, "X-Medplum-Deleted-Resource").await;
}

#[tokio::test]
async fn a_payload_less_subscription_is_refused_with_what_to_set() {
    let app = TestApp::start().await;
    let form = "application/x-www-form-urlencoded; charset=UTF-8";
    refused(&app, typed(&app, Method::POST, "", form, ""), 400, "channel.payload to application/fhir+json")
        .await;
    refused(&app, app.request(Method::POST, ""), 400, "channel.payload").await;
}

#[tokio::test]
async fn put_of_a_raw_binary_wraps_it() {
    let app = TestApp::start().await;
    let pdf = b"%PDF-1.4\n\x00\xff\xfehello".to_vec();
    let answer = send(typed(&app, Method::PUT, "/Binary/b1", "application/pdf", pdf)).await;
    assert_eq!(answer.status, 201, "{answer:?}");
    let stored = app.stored("Binary/b1").unwrap();
    assert_eq!(
        (&stored["contentType"], &stored["data"]),
        (&json!("application/pdf"), &json!("JVBERi0xLjQKAP/+aGVsbG8="))
    );
    // Raw JSON and raw XML that are no Binary resource are content too; a Binary resource is itself.
    for (id, media, body, content_type) in [
        ("b2", "application/json", r#"{"a":1}"#, "application/json"),
        ("b3", "text/plain", "hello", "text/plain"),
        ("b4", "application/xml", "<a/>", "application/xml"),
        (
            "b5",
            "application/json",
            r#"{"resourceType":"Binary","id":"b5","contentType":"image/png","data":"AAAA"}"#,
            "image/png",
        ),
        (
            "b6",
            "application/fhir+json",
            r#"{"resourceType":"Binary","id":"b6","contentType":"image/png"}"#,
            "image/png",
        ),
    ] {
        let answer = send(typed(&app, Method::PUT, &format!("/Binary/{id}"), media, body)).await;
        assert_eq!(answer.status, 201, "{id}: {answer:?}");
        assert_eq!(app.stored(&format!("Binary/{id}")).unwrap()["contentType"], content_type, "{id}");
    }
}

#[tokio::test]
async fn reads_and_patches_are_405_with_allow() {
    let app = TestApp::start().await;
    for (method, path, allow) in [
        (Method::GET, "/Patient/p1", "PUT, DELETE"),
        (Method::PATCH, "/Patient/p1", "PUT, DELETE"),
        (Method::OPTIONS, "/Patient/p1", "PUT, DELETE"),
        (Method::POST, "/Patient/p1", "PUT, DELETE"),
        (Method::GET, "/Patient", "POST"),
        (Method::PUT, "/Patient", "POST"),
        (Method::DELETE, "/Patient", "POST"),
        (Method::GET, "", "POST"),
        (Method::GET, "/metadata", "POST"),
        (Method::GET, "/Patient/p1/_history", "PUT, DELETE"),
        (Method::PUT, "/Patient/p1/_history/1", "PUT, DELETE"),
        (Method::POST, "/Patient/_search", "POST"),
        (Method::POST, "/Patient/$validate", "POST"),
        (Method::POST, "/$export", "POST"),
    ] {
        let answer = send(app.request(method.clone(), path)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some(allow)), "{method} {path}");
    }
    let head = app.request(Method::HEAD, "/Patient/p1").send().await.unwrap();
    assert_eq!(head.status(), 405);
    assert_eq!(app.forwarded(), 0);
}

#[tokio::test]
async fn path_tricks_never_reach_the_signed_url() {
    let app = TestApp::start().await;
    for path in [
        "/Patient/..",
        "/Patient/%2e%2e",
        "/Patient/a%2Fb",
        "/Patient/%2e%2e%2fmetadata",
        "/Patient/a%00",
        "/../Patient/a",
        "//Patient/a",
        "/Patient//a",
        "/patient/a",
        "/Patient/a%20b",
        "/Pat%69ent/a",
        "/Patient/a;x=y",
        "/Patient/a/b",
    ] {
        // Written by hand: an HTTP client would tidy the path up.
        let head = format!(
            "DELETE /fhir{path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\r\n"
        );
        let answer = raw(app.address(), head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path}: {answer}");
        assert!(answer.contains("OperationOutcome"));
    }
    assert_eq!(app.forwarded(), 0);
}

/// Sends these bytes and reads until the other side closes.
pub async fn raw(address: &str, bytes: &[u8]) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_query_in_the_endpoint_is_named_as_the_mistake() {
    let app = TestApp::start().await;
    // What HAPI sends when channel.endpoint is …/fhir?token=x
    let path = "?token=x/Patient/p1";
    refused(
        &app,
        typed(&app, Method::PUT, path, "application/fhir+json", patient("p1", 1)),
        400,
        "channel.endpoint",
    )
    .await;
    refused(&app, app.request(Method::DELETE, "/Patient/p1?a=b"), 400, "carries a query").await;
}

#[tokio::test]
async fn url_and_body_must_agree() {
    let app = TestApp::start().await;
    for (path, body) in [
        ("/Patient/other", patient("p1", 1)),
        ("/Observation/p1", patient("p1", 1)),
        ("/Patient/p1", r#"{"resourceType":"Patient"}"#.to_owned()),
    ] {
        refused(&app, typed(&app, Method::PUT, path, "application/fhir+json", body), 400, "OperationOutcome")
            .await;
    }
    let post = |path, body: String| typed(&app, Method::POST, path, "application/fhir+json", body);
    refused(&app, post("/Observation", patient("p1", 1)), 400, "different resources").await;
    refused(&app, post("", r#"{"resourceType":"Patient"}"#.into()), 400, "no id").await;
    refused(&app, post("", "{}".into()), 400, "no resourceType").await;
}

#[tokio::test]
async fn what_does_not_parse_is_400_with_the_place() {
    let app = TestApp::start().await;
    for (media, body) in [
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\n\"id\":\"p1\""),
        ("application/fhir+json", "nonsense"),
        ("application/fhir+json", "{\"resourceType\":\"Patient\",\"id\":\"p1\"} {}"),
        ("application/fhir+xml", "<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"p1\"/>"),
        (
            "application/fhir+xml",
            "<!DOCTYPE a><Patient xmlns=\"http://hl7.org/fhir\"><id value=\"p1\"/></Patient>",
        ),
    ] {
        refused(&app, typed(&app, Method::PUT, "/Patient/p1", media, body), 400, "line ").await;
    }
    refused(&app, typed(&app, Method::PUT, "/Patient/p1", "application/fhir+json", ""), 400, "no body").await;
    refused(&app, typed(&app, Method::POST, "", "application/fhir+json", "{\"a"), 400, "line 1").await;
}

#[tokio::test]
async fn other_content_types_and_encodings_are_415() {
    let app = TestApp::start().await;
    let body = patient("p1", 1);
    refused(
        &app,
        typed(&app, Method::PUT, "/Patient/p1", "application/pdf", body.clone()),
        415,
        "neither FHIR JSON",
    )
    .await;
    refused(&app, typed(&app, Method::POST, "", "image/png", body.clone()), 415, "neither FHIR JSON").await;
    refused(
        &app,
        typed(&app, Method::PUT, "/Patient/p1", "application/fhir+json; charset=UTF-16", body.clone()),
        415,
        "charset",
    )
    .await;
    let brotli = typed(&app, Method::PUT, "/Patient/p1", "application/fhir+json", body)
        .header("content-encoding", "br");
    refused(&app, brotli, 415, "only gzip").await;
}

#[tokio::test]
async fn gzip_is_read_within_the_same_limit() {
    use std::io::Write;
    let app = TestApp::builder().arg("--max-body", "64 KiB").start().await;
    let gzip = |bytes: &[u8]| {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let put = |body: Vec<u8>| {
        typed(&app, Method::PUT, "/Patient/p1", "application/fhir+json", body)
            .header("content-encoding", "gzip")
    };
    assert_eq!(send(put(gzip(patient("p1", 1).as_bytes()))).await.status, 201);
    refused(&app, put(gzip(&vec![b' '; 10 << 20])), 413, "larger than").await;
    refused(&app, put(patient("p1", 1).into_bytes()), 400, "not the gzip").await;
}

#[tokio::test]
async fn a_path_outside_the_base_is_404() {
    let app = TestApp::start().await;
    let url = format!("{}/other/Patient/p1", app.origin());
    let request = app.http.put(url).bearer_auth(TOKEN).body(patient("p1", 1));
    refused(&app, request, 404, "no such path").await;
    let near = format!("{}/fhirx/Patient/p1", app.origin());
    refused(&app, app.http.put(near).bearer_auth(TOKEN).body(patient("p1", 1)), 404, "no such path").await;
}
