//! What a function answers to whom.

use std::io::Write;

use serde_json::{Value, json};

use crate::support::app::patient;
use crate::support::lambda::{CALLERS, Caller, World};

#[tokio::test]
async fn the_same_deliveries_by_each_way_to_call_a_function() {
    let world = World::start().await;
    let function = world.function().await;
    for (n, caller) in CALLERS.into_iter().enumerate() {
        let created = function.answer(&caller.event()).await;
        assert_eq!(created.status, if n == 0 { 201 } else { 200 }, "{caller:?}: {created:?}");
        assert!(created.body.is_empty() && !created.headers["x-request-id"].is_empty());

        // Every byte as it came, through text and through base64.
        let id = format!("p-{n}");
        let body =
            patient(&id, 2).replace("\"active\":true", "\"active\" : true ,\n\"language\":\"\\u00e4\"");
        let path = format!("/fhir/Patient/{id}");
        for content_type in ["application/fhir+json; charset=UTF-8", "application/json"] {
            let put = caller.request("PUT", &path, &[("content-type", content_type)], body.as_bytes());
            let answer = function.answer(&put).await;
            assert!([200, 201].contains(&answer.status), "{caller:?}, {content_type}: {answer:?}");
        }
        let stored: Value =
            serde_json::from_str(&function.stored(&format!("Patient/{id}")).unwrap()).unwrap();
        assert_eq!((&stored["language"], &stored["name"][0]["family"]), (&"ä".into(), &"F2".into()));

        let older = caller.request("PUT", &path, &[], patient(&id, 1).as_bytes());
        let superseded = function.answer(&older).await;
        assert_eq!((superseded.status, superseded.verdict().as_str()), (200, "superseded"), "{caller:?}");

        let xml = format!(
            r#"<Patient xmlns="http://hl7.org/fhir"><id value="x{n}"/><active value="true"/></Patient>"#
        );
        let headers = [("content-type", "application/fhir+xml")];
        let put = caller.request("PUT", &format!("/fhir/Patient/x{n}"), &headers, xml.as_bytes());
        assert_eq!(function.answer(&put).await.status, 201, "{caller:?}");

        let gone = function.answer(&caller.request("DELETE", &path, &[], b"")).await;
        assert_eq!((gone.status, gone.body.as_str()), (204, ""), "{caller:?}");
        assert!(function.stored(&format!("Patient/{id}")).is_none());
    }
    let log = function.log();
    let line: Value = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .find(|line: &Value| line["verdict"] == "mirrored")
        .unwrap();
    assert_eq!(
        (&line["peer"], &line["forwarded_for"]),
        (&"203.0.113.7".into(), &"203.0.113.7".into()),
        "{line}"
    );
    assert_eq!(line["aws_request_id"].as_str().unwrap().len(), 36, "{line}");
}

#[tokio::test]
async fn raw_and_compressed_bodies_come_through_base64() {
    let world = World::start().await;
    let function = world.function().await;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(patient("zipped", 1).as_bytes()).unwrap();
    let zipped = encoder.finish().unwrap();
    let picture = [0xff, 0xd8, 0xff, 0xe0, 0x00, 0x10, 0x4a];
    for caller in [Caller::HttpApi, Caller::FunctionUrl] {
        let headers = [("content-encoding", "gzip")];
        let answer = function.answer(&caller.request("PUT", "/fhir/Patient/zipped", &headers, &zipped)).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        let headers = [("content-type", "image/jpeg")];
        let answer = function.answer(&caller.request("PUT", "/fhir/Binary/b1", &headers, &picture)).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
    }
    let binary: Value = serde_json::from_str(&function.stored("Binary/b1").unwrap()).unwrap();
    assert_eq!((&binary["contentType"], &binary["data"]), (&"image/jpeg".into(), &"/9j/4AAQSg==".into()));
}

#[tokio::test]
async fn posted_bundles_and_deletes_by_header_are_answered_as_elsewhere() {
    let world = World::start().await;
    let function = world.function().await;
    let bundle = json!({"resourceType": "Bundle", "type": "transaction", "entry": [
        {"resource": {"resourceType": "Patient", "id": "b1"}, "request": {"method": "PUT", "url": "Patient/b1"}},
        {"request": {"method": "DELETE", "url": "Patient/b2"}},
    ]});
    for caller in CALLERS {
        let posted =
            function.answer(&caller.request("POST", "/fhir", &[], bundle.to_string().as_bytes())).await;
        let body: Value = serde_json::from_str(&posted.body).unwrap();
        assert_eq!((posted.status, &body["type"]), (200, &"transaction-response".into()), "{body}");
        let headers = [("x-medplum-deleted-resource", "Patient/b1"), ("content-type", "application/json")];
        let deleted = function.answer(&caller.request("POST", "/fhir", &headers, b"{}")).await;
        assert_eq!(deleted.status, 204, "{caller:?}: {deleted:?}");
    }
}

/// Method, path, headers other than usual, body; status and verdict
type Case<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)], &'a str, u16, &'a str);

#[tokio::test]
async fn errors_wear_their_statuses() {
    let world = World::start().await;
    let function = world.function().await;
    for caller in CALLERS {
        let wrong = [("authorization", "Bearer another-token-than-that")];
        let cases: [Case<'_>; 9] = [
            ("PUT", "/fhir/Patient/p1", &wrong, "{}", 401, "unauthenticated"),
            ("PUT", "/fhir/Patient/p1", &[("authorization", "")], "{}", 401, "unauthenticated"),
            (
                "PUT",
                "/fhir/Patient/p1",
                &[],
                r#"{"resourceType":"Patient","id":"p1","active":1}"#,
                422,
                "invalid",
            ),
            (
                "PUT",
                "/fhir/Patient/p1",
                &[],
                r#"{"resourceType":"Patient","id":"other"}"#,
                400,
                "bad-request",
            ),
            ("GET", "/fhir/Patient/p1", &[], "", 405, "method-not-allowed"),
            ("PUT", "/Patient/p1", &[], "{}", 404, "not-found"),
            // As an API may decode it
            ("PUT", "/fhir/Patient/a b", &[], "{}", 400, "bad-request"),
            ("PUT", "/fhir/Patient/../Patient/p1", &[], "{}", 400, "bad-request"),
            ("PUT", "/fhir/Patient/p1?x=/Patient/p2", &[], "{}", 400, "bad-request"),
        ];
        for (method, path, headers, body, status, verdict) in cases {
            let answer = function.answer(&caller.request(method, path, headers, body.as_bytes())).await;
            let what = format!("{caller:?} {method} {path}: {answer:?}");
            assert_eq!((answer.status, answer.verdict().as_str()), (status, verdict), "{what}");
            assert_eq!(answer.headers.contains_key("www-authenticate"), status == 401, "{what}");
        }
    }
    assert_eq!(function.forwarded(), 0);
    function.fault(r#"{"status":500,"service":"healthlake"}"#);
    let failed = function.answer(&Caller::FunctionUrl.event()).await;
    assert_eq!((failed.status, failed.verdict().as_str()), (502, "healthlake-failed"));
    function.sandbox.clear_faults();
    function.fault(r#"{"throttle":true,"service":"healthlake"}"#);
    let throttled = function.answer(&Caller::HttpApi.event()).await;
    assert_eq!((throttled.status, throttled.headers["retry-after"].is_empty()), (429, false));
}

#[tokio::test]
async fn a_body_above_the_limit_is_answered_and_one_below_it_is_taken() {
    let world = World::start().await;
    let function = world.function_with(&[("LAKEHOOK_MAX_BODY", "3 MiB")]).await;
    let sized = |size: usize| patient("p1", 1).replace("F1", &"x".repeat(size));
    let json = [("content-type", "application/json")];
    for caller in CALLERS {
        // 4.2 MB in base64, where it is that.
        let large = caller.request("PUT", "/fhir/Patient/p1", &[], sized(3 << 20).as_bytes());
        let refused = function.answer(&large).await;
        assert_eq!((refused.status, refused.verdict().as_str()), (413, "too-large"), "{caller:?}");
        let text = caller.request("PUT", "/fhir/Patient/p1", &json, sized(5 << 20).as_bytes());
        assert_eq!(function.answer(&text).await.status, 413, "{caller:?}");
        // A string of FHIR's has at most a million characters.
        let fits = caller.request("PUT", "/fhir/Patient/p1", &[], sized(1_000_000).as_bytes());
        let taken = function.answer(&fits).await;
        assert!([200, 201].contains(&taken.status), "{caller:?}: {taken:?}");
    }
}

#[tokio::test]
async fn stages_and_health() {
    let world = World::start().await;
    let function = world.function().await;
    let mut staged = Caller::HttpApi.request("GET", "/prod/healthz", &[("authorization", "")], b"");
    staged["requestContext"]["stage"] = "prod".into();
    assert_eq!(function.answer(&staged).await.status, 200);
    for caller in CALLERS {
        let health = function.answer(&caller.request("GET", "/healthz", &[("authorization", "")], b"")).await;
        assert_eq!((health.status, health.body.as_str()), (200, ""), "{caller:?}");
    }
    let mut put = Caller::HttpApi.request("PUT", "/prod/fhir/Patient/p1", &[], patient("p1", 1).as_bytes());
    put["requestContext"]["stage"] = "prod".into();
    assert_eq!(function.answer(&put).await.status, 201);
}

#[tokio::test]
async fn an_event_that_is_no_request_is_an_error_that_says_so_and_tells_nothing_of_it() {
    let world = World::start().await;
    let function = world.function().await;
    for event in
        [json!({"Records": [{"messageId": "1", "body": "Zzyzx-Marker"}]}), json!({}), json!("Zzyzx-Marker")]
    {
        let error = function.invoke(&event).await.unwrap_err();
        assert!(error["errorMessage"].as_str().unwrap().contains("Function URLs"), "{error}");
        assert!(!error.to_string().contains("Zzyzx"), "{error}");
    }
    assert_eq!(function.answer(&Caller::FunctionUrl.event()).await.status, 201, "it goes on");
    assert!(!function.log().contains("Zzyzx"), "{}", function.log());
}

#[tokio::test]
async fn a_certificate_that_api_gateway_verified_lets_in_where_that_is_wanted() {
    let world = World::start().await;
    let shows = |caller: Caller| {
        let mut event =
            caller.request("PUT", "/fhir/Patient/p1", &[("authorization", "")], patient("p1", 1).as_bytes());
        let certificate = json!({
            "clientCertPem": "-----BEGIN CERTIFICATE-----\nMIIC\n-----END CERTIFICATE-----",
            "issuerDN": "CN=clinic", "serialNumber": "1", "subjectDN": "CN=cdr",
            "validity": {"notBefore": "Nov 25 00:00:00 2026 GMT", "notAfter": "Nov 25 00:00:00 2036 GMT"},
        });
        match caller {
            Caller::RestApi => event["requestContext"]["identity"]["clientCert"] = certificate,
            _ => event["requestContext"]["authentication"] = json!({"clientCert": certificate}),
        }
        event
    };
    let shows_none = Caller::HttpApi.request("PUT", "/fhir/Patient/p1", &[("authorization", "")], b"{}");
    let trusting =
        world.function_with(&[("LAKEHOOK_TOKEN", ""), ("LAKEHOOK_LAMBDA_CLIENT_CERTIFICATE", "true")]).await;
    for caller in [Caller::RestApi, Caller::HttpApi] {
        assert!([200, 201].contains(&trusting.answer(&shows(caller)).await.status), "{caller:?}");
    }
    assert_eq!(trusting.answer(&shows_none).await.status, 401);
    let strict = world.function().await;
    for caller in [Caller::RestApi, Caller::HttpApi] {
        assert_eq!(strict.answer(&shows(caller)).await.status, 401, "{caller:?}");
    }
}
