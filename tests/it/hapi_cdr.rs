//! The CDR's client before a real HAPI: what its paging, its CapabilityStatement and its errors look like.

use std::collections::BTreeSet;
use std::time::Duration;

use lakehook::cdr::{Authorization, Cdr, Current, Server};
use lakehook::delivery::Key;
use lakehook::healthlake::Trust;
use serde_json::json;
use tokio::time::Instant;

use crate::support::exact::content;
use crate::support::hapi::Hapi;

pub fn client(hapi: &Hapi) -> Cdr {
    let base = reqwest::Url::parse(hapi.base_url()).unwrap();
    Cdr::new(&base, Authorization::None, 5 << 20, &Trust::default()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_hapi_is_read_searched_and_written() {
    let hapi = Hapi::start().await;
    let cdr = client(&hapi);
    for n in 0..25 {
        let text = format!(
            r#"{{"resourceType":"Basic","id":"b{n}","extension":[{{"url":"http://e.org/d","valueDecimal":1.{n}0}}]}}"#
        );
        hapi.put_text(&format!("Basic/b{n}"), &text).await;
    }
    pages_hold_each_resource_once(&hapi, &cdr).await;
    counts_and_fresh_results(&hapi, &cdr).await;
    writes(&cdr).await;

    let found = cdr.capabilities().await.unwrap();
    assert_eq!(found.server, Server::Hapi);
    assert!(found.version.is_some_and(|version| version.starts_with('8')), "HAPI's version");
    assert_eq!(found.fhir_version.as_deref(), Some("4.0.1"));
    assert!(found.types.iter().any(|name| name == "Basic"));
    hapi.stop().await;
}

async fn pages_hold_each_resource_once(hapi: &Hapi, cdr: &Cdr) {
    let (mut keys, mut pages) = (BTreeSet::new(), 0);
    let mut next = Some("Basic?_count=10&_sort=_lastUpdated".to_owned());
    while let Some(page) = next {
        let page = cdr.search(&page).await.unwrap();
        pages += 1;
        for entry in page.resources {
            assert_eq!(entry.version.version_id.as_deref(), Some("1"));
            let read = hapi.read_text(&entry.key.to_string()).await.unwrap();
            let text = std::str::from_utf8(&entry.json).unwrap();
            assert_eq!(content(text), content(&read), "decimals included");
            assert!(keys.insert(entry.key), "each one once");
        }
        next = page.next;
    }
    assert_eq!((keys.len(), pages), (25, 3));
}

/// HAPI hands out the results of an equal search for a minute, unless it is told not to.
async fn counts_and_fresh_results(hapi: &Hapi, cdr: &Cdr) {
    assert_eq!(cdr.count("Basic", "").await.unwrap(), 25);
    let before = cdr.search("Basic?_count=100").await.unwrap().resources.len();
    hapi.put_text("Basic/new", r#"{"resourceType":"Basic","id":"new"}"#).await;
    let after = cdr.search("Basic?_count=100").await.unwrap().resources.len();
    assert_eq!((before, after), (25, 26));
    assert_eq!(cdr.count("Basic", "_id=b1,b2").await.unwrap(), 2);
    let error = cdr.search("Basic?no-such=1").await.unwrap_err();
    assert_eq!(error.status(), Some(400));
    assert!(error.texts().iter().any(|text| text.contains("no-such")), "{:?}", error.texts());
}

async fn writes(cdr: &Cdr) {
    let key = Key::new("Basic", "written").unwrap();
    let json =
        |n: u32| json!({ "resourceType": "Basic", "id": "written", "code": { "text": n.to_string() } });
    let created = cdr.update(&key, json(1).to_string().into(), None).await.unwrap();
    assert_eq!((created.status, created.etag.as_deref()), (201, Some("W/\"1\"")));
    let stale = cdr.update(&key, json(2).to_string().into(), Some("W/\"9\"")).await.unwrap();
    assert!(!stale.is_success() && !stale.outcome.texts.is_empty(), "{stale:?}");
    let updated = cdr.update(&key, json(2).to_string().into(), Some("W/\"1\"")).await.unwrap();
    assert_eq!((updated.status, updated.etag.as_deref()), (200, Some("W/\"2\"")));
    let soon = || Instant::now() + Duration::from_secs(20);
    assert!(matches!(cdr.read(&key, soon()).await, Ok(Current::Resource(_))));
    assert!(cdr.delete(&key).await.unwrap().is_success());
    assert!(matches!(cdr.read(&key, soon()).await, Ok(Current::Gone)));
}
