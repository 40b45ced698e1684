//! Validation over the wire: what laxer modes let through is counted, and places are the sender's own.

use reqwest::Method;

use crate::support::app::{TestApp, patient, send};

const BAD_DATE: &str = r#"{"resourceType":"Patient","id":"p","birthDate":"30.3.1970"}"#;
const UNKNOWN: &str = r#"{"resourceType":"Patient","id":"p","birthdate":"1970-03-30"}"#;

async fn would_refuse(app: &TestApp, mode: &str) -> u32 {
    let name = format!("lakehook_would_refuse_total{{mode=\"{mode}\"}} ");
    let metrics = app.admin("/metrics").await.body;
    metrics.lines().find_map(|line| line.strip_prefix(&name)).map_or(0, |count| count.parse().unwrap())
}

async fn app(mode: &str) -> TestApp {
    TestApp::builder().arg("--validation", mode).start().await
}

#[tokio::test]
async fn structure_counts_what_strict_would_have_refused() {
    let app = app("structure").await;
    assert_eq!(app.put("/Patient/p", patient("p", 1)).await.status, 201);
    assert_eq!((would_refuse(&app, "strict").await, would_refuse(&app, "structure").await), (0, 0));
    assert_eq!(app.put("/Patient/p", BAD_DATE).await.status, 200);
    // What this mode refuses itself is no case of what it lets through.
    assert_eq!(app.put("/Patient/p", UNKNOWN).await.status, 422);
    assert_eq!((would_refuse(&app, "strict").await, would_refuse(&app, "structure").await), (1, 0));
}

#[tokio::test]
async fn off_counts_both_stricter_modes() {
    let app = app("off").await;
    for (body, strict, structure) in [(BAD_DATE, 1, 0), (UNKNOWN, 2, 1), (&patient("p", 1), 2, 1)] {
        assert!(app.put("/Patient/p", body.to_owned()).await.status < 300, "{body}");
        let counted = (would_refuse(&app, "strict").await, would_refuse(&app, "structure").await);
        assert_eq!(counted, (strict, structure), "{body}");
    }
}

#[tokio::test]
async fn strict_has_nothing_to_count() {
    let app = app("strict").await;
    assert_eq!(app.put("/Patient/p", BAD_DATE).await.status, 422);
    assert!(!app.admin("/metrics").await.body.contains("lakehook_would_refuse_total{"));
}

#[tokio::test]
async fn json_is_told_its_lines_and_xml_only_those_it_wrote() {
    let app = TestApp::start().await;
    let json = app.put("/Patient/p", BAD_DATE).await;
    assert!(json.diagnostics().contains("(line 1, column 48)"), "{json:?}");
    let xml = async |inner: &str| {
        let body = format!("<Patient xmlns=\"http://hl7.org/fhir\"><id value=\"p\"/>\n{inner}</Patient>");
        let request = app.request(Method::PUT, "/Patient/p").header("content-type", "application/fhir+xml");
        send(request.body(body)).await
    };
    // Found in the JSON that was made of it.
    let value = xml(r#"<birthDate value="30.3.1970"/>"#).await;
    assert_eq!(value.json()["issue"][0]["expression"][0], "Patient.birthDate", "{value:?}");
    assert!(!value.diagnostics().contains("line"), "{value:?}");
    // Found in the XML.
    let structure = xml(r#"<birthdate value="1970"/><active foo="x" value="true"/>"#).await;
    assert_eq!(structure.status, 422);
    assert_eq!(structure.json()["issue"].as_array().unwrap().len(), 2, "{structure:?}");
    assert!(structure.diagnostics().contains("(line 2, column 1)"), "{structure:?}");
}

/// An entry is a part of the body: a line of its own would mislead.
#[tokio::test]
async fn a_bundle_s_entry_is_told_paths_only() {
    let app = TestApp::start().await;
    let bundle = format!(
        r#"{{"resourceType":"Bundle","type":"batch","entry":[{{"resource":{BAD_DATE},"request":{{"method":"PUT","url":"Patient/p"}}}}]}}"#
    );
    let answer = app.post("", bundle).await;
    assert!(answer.body.contains("Patient.birthDate") && !answer.body.contains("(line"), "{answer:?}");
}
