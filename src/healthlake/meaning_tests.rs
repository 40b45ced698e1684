#![allow(clippy::unwrap_used)]

use super::*;

const NOT_SUPPORTED: &str = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported","diagnostics":"ResourceType Basic is not supported."}]}"#;
const MIXED: &str = r#"{"resourceType":"OperationOutcome","issue":[
 {"severity":"warning","code":"processing","diagnostics":"w"},
 {"severity":"error","code":"processing","diagnostics":"Element 'X.status': minimum required = 1, but only found 0","location":["X"]}]}"#;

fn said(method: Method, status: u16, headers: &[(&'static str, &str)], body: &str) -> Said {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    Said::read(&method, StatusCode::from_u16(status).unwrap(), &map, body.as_bytes())
}

fn put(status: u16, body: &str) -> Meaning {
    said(Method::PUT, status, &[("content-type", "application/fhir+json")], body).meaning
}

#[test]
fn success_is_200_201_204() {
    assert_eq!(put(200, "{}"), Meaning::Done(Success::Ok));
    assert_eq!(put(201, "{}"), Meaning::Done(Success::Created));
    assert_eq!(put(204, ""), Meaning::Done(Success::NoContent));
}

#[test]
fn a_page_with_a_200_is_no_success() {
    let page = said(Method::PUT, 200, &[("content-type", "text/html")], "<html>hello");
    assert_eq!(page.meaning, Meaning::Unexpected);
    assert_eq!(put(200, "garbage"), Meaning::Unexpected);
    assert_eq!(put(206, "{}"), Meaning::Unexpected);
}

#[test]
fn the_code_decides_before_the_status() {
    for status in [400, 403, 404, 405, 422, 500] {
        assert_eq!(put(status, NOT_SUPPORTED), Meaning::NotSupported, "{status}");
    }
    let bare = r#"{"severity":"error","code":"not-supported","diagnostics":"Interaction not supported."}"#;
    assert_eq!(put(405, bare), Meaning::NotSupported);
}

#[test]
fn not_supported_among_other_errors_is_a_refusal() {
    let body = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-supported"},{"severity":"error","code":"invalid"}]}"#;
    assert!(matches!(put(400, body), Meaning::Refused(_)));
}

#[test]
fn throttling_is_seen_whatever_status_it_wears() {
    let throttled = Meaning::Throttled { retry_after: None };
    for status in [400, 429, 500, 503] {
        assert_eq!(put(status, r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#), throttled);
        assert_eq!(put(status, r#"{"__type":"com.amazonaws#ThrottlingException"}"#), throttled);
        let header = said(Method::PUT, status, &[("x-amzn-errortype", "ThrottlingException:http://a/")], "");
        assert_eq!(header.meaning, throttled);
        assert_eq!(header.exception.as_deref(), Some("ThrottlingException"));
    }
    let coded = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"throttled"}]}"#;
    assert_eq!(put(400, coded), throttled);
    let after = said(Method::PUT, 429, &[("retry-after", "7")], "").meaning;
    assert_eq!(after, Meaning::Throttled { retry_after: Some(Duration::from_secs(7)) });
}

#[test]
fn credentials_refused_wear_400_401_403() {
    assert_eq!(put(401, ""), Meaning::NotAuthorized);
    assert_eq!(put(403, "The request signature we calculated does not match"), Meaning::NotAuthorized);
    for name in ["ExpiredTokenException", "UnrecognizedClientException", "AccessDeniedException"] {
        assert_eq!(put(400, &format!(r#"{{"__type":"{name}"}}"#)), Meaning::NotAuthorized, "{name}");
    }
}

#[test]
fn content_is_refused_with_its_errors_first() {
    let Meaning::Refused(issues) = put(400, MIXED) else { panic!() };
    assert_eq!(issues[0].severity, Severity::Error);
    assert_eq!(issues[0].expression.as_deref(), Some("X"));
    assert_eq!(issues.len(), 2);
}

#[test]
fn a_400_that_says_nothing_is_not_taken_for_a_refusal() {
    assert_eq!(put(400, "<html>Bad Request</html>"), Meaning::Unexpected);
    assert_eq!(put(400, ""), Meaning::Unexpected);
}

#[test]
fn delete_of_what_is_not_there_is_told_from_a_missing_data_store() {
    let outcome = r#"{"resourceType":"OperationOutcome","issue":[{"severity":"error","code":"not-found"}]}"#;
    for status in [404, 410] {
        assert_eq!(said(Method::DELETE, status, &[], outcome).meaning, Meaning::Gone);
        assert_eq!(said(Method::DELETE, status, &[], "").meaning, Meaning::Gone);
    }
    let store = r#"{"__type":"ResourceNotFoundException","message":"DataStore does not exist"}"#;
    assert_eq!(said(Method::DELETE, 404, &[], store).meaning, Meaning::Unexpected);
    assert_eq!(said(Method::DELETE, 404, &[], "<html>").meaning, Meaning::Unexpected);
    assert_eq!(said(Method::PUT, 404, &[], outcome).meaning, Meaning::Unexpected);
}

#[test]
fn the_rest_goes_by_status() {
    assert_eq!(put(409, ""), Meaning::Conflict);
    assert_eq!(put(412, ""), Meaning::Conflict);
    assert_eq!(put(413, "Request Entity Too Large"), Meaning::TooLarge);
    assert_eq!(put(302, ""), Meaning::Unexpected);
    for status in [500, 502, 503, 504] {
        assert_eq!(put(status, "<html>"), Meaning::Failed);
    }
    assert_eq!(put(400, r#"{"__type":"InternalServerException"}"#), Meaning::Failed);
}

#[test]
fn an_exception_name_that_is_no_name_is_not_logged() {
    let said = said(Method::PUT, 500, &[("x-amzn-errortype", "some <b>text</b>")], r#"{"__type":"a b c"}"#);
    assert_eq!(said.exception, None);
}
