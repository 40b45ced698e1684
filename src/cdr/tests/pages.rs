use serde_json::{Value, json};

use super::cdr;
use super::server::{Asked, Stand, json, text};
use crate::cdr::{Authorization, CdrError};

fn bundle(links: &Value) -> Value {
    json!({ "resourceType": "Bundle", "type": "searchset", "link": links })
}

async fn next(
    answer: impl Fn(&Asked) -> Value + Send + Sync + 'static,
    ask: &str,
) -> (Stand, Result<Option<String>, CdrError>) {
    let stand = Stand::start(move |asked, _| json(200, &bundle(&answer(asked)))).await;
    let page = cdr(&stand, Authorization::None).search(ask).await;
    (stand, page.map(|page| page.next))
}

#[tokio::test]
async fn a_resource_stays_as_it_stands_in_the_bundle() {
    let odd = r#"{ "resourceType" : "Observation", "valueQuantity":{"value":1.50e0},
        "id":"\u0061", "note":"\"}],{", "meta":{"lastUpdated":"2026-11-24T10:00:00.000+01:00","versionId":"7"}}"#;
    let body = format!(
        r#"{{"resourceType":"Bundle","total":9,"entry":[
            {{"search":{{"mode":"match"}},"resource":{odd},"fullUrl":"x"}},
            {{"resource":{{"resourceType":"Patient","id":"p"}}}},
            {{"search":{{"mode":"include"}},"resource":{{"resourceType":"Patient","id":"included"}}}},
            {{"search":{{"mode":"outcome"}},"resource":{{"resourceType":"OperationOutcome"}}}},
            {{"search":{{"mode":"match"}},"resource":{{"resourceType":"OperationOutcome","id":"o"}}}},
            {{"search":{{"mode":"match"}},"resource":{{"resourceType":"Patient","id":"no_id"}}}},
            {{"search":{{"mode":"match"}},"resource":null}},
            {{"search":{{"mode":"match"}}}}
        ]}}"#
    );
    let stand = Stand::start(move |_, _| text(200, &body)).await;
    let page = cdr(&stand, Authorization::None).search("Observation?_count=8").await.unwrap();
    let keys: Vec<_> = page.resources.iter().map(|entry| entry.key.to_string()).collect();
    assert_eq!(keys, ["Observation/a", "Patient/p"]);
    assert_eq!(page.resources[0].json, odd.as_bytes());
    assert_eq!(page.resources[0].version.version_id.as_deref(), Some("7"));
    assert_eq!(page.resources[0].version.last_updated.as_deref(), Some("2026-11-24T10:00:00.000+01:00"));
    assert_eq!((page.total, page.unreadable, page.next), (Some(9), 3, None));
    assert_eq!(stand.asked()[0].target, "/fhir/Observation?_count=8");
    assert_eq!(stand.asked()[0].header("cache-control"), "no-cache", "HAPI hands out old results else");
}

#[tokio::test]
async fn what_is_no_bundle_is_said_to_be_none() {
    for body in
        ["", "<html>", "[]", "{}", r#"{"resourceType":"Patient"}"#, r#"{"resourceType":"Bundle","entry":{}}"#]
    {
        let stand = Stand::start(move |_, _| text(200, body)).await;
        let error = cdr(&stand, Authorization::None).search("Patient").await.unwrap_err();
        assert!(matches!(error, CdrError::Nonsense(_)), "{body}: {error}");
    }
}

#[tokio::test]
async fn a_page_may_be_larger_than_a_resource() {
    let many: Vec<_> =
        (0..100).map(|n| json!({ "resource": { "resourceType": "Patient", "id": n.to_string() } })).collect();
    let body = json!({ "resourceType": "Bundle", "entry": many });
    assert!(body.to_string().len() > 2 * super::LIMIT);
    let stand = Stand::start(move |_, _| json(200, &body)).await;
    let page = cdr(&stand, Authorization::None).search("Patient").await.unwrap();
    assert_eq!(page.resources.len(), 100);
}

#[tokio::test]
async fn next_is_followed_at_the_cdr_s_own_address() {
    for link in ["BASE?_getpages=x&_getpagesoffset=20", "?_getpages=x&_getpagesoffset=20"] {
        let (stand, next) = next(
            move |asked| json!([{ "relation": "next", "url": link.replace("BASE", &asked.base()) }]),
            "Patient?_count=20",
        )
        .await;
        let next = next.unwrap().unwrap();
        let _ = cdr(&stand, Authorization::None).search(&next).await;
        let target = stand.asked()[1].target.clone();
        assert!(
            ["/fhir?_getpages=x&_getpagesoffset=20", "/fhir/?_getpages=x&_getpagesoffset=20"]
                .contains(&target.as_str()),
            "{target}"
        );
    }
}

#[tokio::test]
async fn a_cdr_that_names_itself_otherwise_is_asked_at_our_base() {
    // The same path at another host; another base, told by the self link; the paging at the base itself.
    for (own, next_link, then) in [
        ("", "https://inner:8443/fhir/Patient?page=2", "/fhir/Patient?page=2"),
        ("https://inner/a/b/Patient?_count=2", "https://inner/a/b/Patient?page=2", "/fhir/Patient?page=2"),
        ("https://inner/a/b/Patient?_count=2", "https://inner/a/b?_getpages=y", "/fhir?_getpages=y"),
    ] {
        let (stand, next) = next(
            move |_| json!([{ "relation": "self", "url": own }, { "relation": "next", "url": next_link }]),
            "Patient?_count=2",
        )
        .await;
        let next = next.unwrap().unwrap();
        assert!(next.starts_with(&stand.base()), "{next}");
        let _ = cdr(&stand, Authorization::None).search(&next).await;
        assert_eq!(stand.asked()[1].target, then);
    }
}

#[tokio::test]
async fn a_next_that_leads_elsewhere_is_not_followed() {
    for (own, link) in [
        ("", "https://evil.example/other/Patient?page=2"),
        ("", "https://evil.example/fhirx/Patient?page=2"),
        ("", "https://evil.example/fhir/../other?page=2"),
        ("https://inner/a/Patient?x=1", "https://evil.example/a/Patient?page=2"),
        ("", "ftp://inner/fhir/Patient"),
        ("", "https://user:password@inner/fhir/Patient"),
    ] {
        let (stand, next) = next(
            move |_| json!([{ "relation": "self", "url": own }, { "relation": "next", "url": link }]),
            "Patient?x=1",
        )
        .await;
        assert!(matches!(next, Err(CdrError::NextPage(_))), "{link}: {next:?}");
        assert_eq!(stand.asked().len(), 1);
    }
    let stand = Stand::start(|_, _| text(200, "{}")).await;
    let elsewhere = cdr(&stand, Authorization::None).search("https://evil.example/fhir/Patient").await;
    assert!(matches!(elsewhere, Err(CdrError::NextPage(_))));
    assert!(stand.asked().is_empty());
}

#[tokio::test]
async fn a_next_that_leads_to_itself_is_no_next() {
    let (_, next) = next(
        |asked| json!([{ "relation": "next", "url": format!("{}/Patient?page=1", asked.base()) }]),
        "Patient?page=1",
    )
    .await;
    assert!(matches!(next, Err(CdrError::NextPage("the page just read"))), "{next:?}");
}

#[tokio::test]
async fn counts_are_asked_for_as_such() {
    let stand = Stand::start(|_, before| match before {
        0 | 1 => json(200, &json!({ "resourceType": "Bundle", "total": 41 + before })),
        _ => json(200, &json!({ "resourceType": "Bundle" })),
    })
    .await;
    let cdr = cdr(&stand, Authorization::None);
    assert_eq!(cdr.count("Patient", "").await.unwrap(), 41);
    assert_eq!(cdr.count("Patient", "_lastUpdated=ge2026").await.unwrap(), 42);
    assert!(cdr.count("Patient", "").await.is_err());
    let asked = stand.asked();
    assert_eq!(asked[0].target, "/fhir/Patient?_summary=count");
    assert_eq!(asked[1].target, "/fhir/Patient?_lastUpdated=ge2026&_summary=count");
}
