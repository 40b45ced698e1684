//! Bundles posted to the base.

use super::*;

fn bundle(kind: &str, entries: &[(&str, &str)]) -> String {
    let entries: Vec<String> = entries
        .iter()
        .map(|(method, url)| match *method {
            "PUT" => {
                format!(r#"{{"resource":{},"request":{{"method":"PUT","url":"{url}"}}}}"#, resource(url))
            }
            "POST" => format!(
                r#"{{"resource":{{"resourceType":"{url}"}},"request":{{"method":"POST","url":"{url}"}}}}"#
            ),
            _ => format!(r#"{{"request":{{"method":"{method}","url":"{url}"}}}}"#),
        })
        .collect();
    format!(r#"{{"resourceType":"Bundle","type":"{kind}","entry":[{}]}}"#, entries.join(","))
}

fn statuses(got: &Got) -> Vec<String> {
    let json = got.json();
    let entries = json["entry"].as_array().unwrap();
    entries.iter().map(|entry| entry["response"]["status"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_batch_does_each_entry_for_itself() {
    let bench = Bench::start(Config::default()).await;
    bench.put("Patient/old").await;
    let entries = [
        ("PUT", "Patient/a"),
        ("PUT", "Patient/old"),
        ("POST", "Patient"),
        ("PUT", "Subscription/s"),
        ("DELETE", "Patient/never"),
        ("GET", "Patient/a"),
        ("DELETE", "Patient/a"),
        ("PATCH", "Patient/a"),
    ];
    let got = bench.ask("POST", "/").body(&bundle("batch", &entries)).send().await;
    assert_eq!((got.status, &got.json()["type"]), (StatusCode::OK, &"batch-response".into()));
    assert_eq!(statuses(&got), ["201", "200", "201", "400", "404", "200", "204", "400"]);
    assert_eq!(got.json()["entry"][3]["response"]["outcome"]["issue"][0]["code"], "not-supported");
    assert_eq!(got.json()["entry"][1]["response"]["etag"], "W/\"2\"");
    assert_eq!(bench.sandbox.history().len(), 5);
}

#[tokio::test]
async fn a_transaction_is_all_or_nothing() {
    let bench = Bench::start(Config::default()).await;
    bench.put("Patient/old").await;
    let good = [("PUT", "Patient/a"), ("PUT", "Patient/old"), ("POST", "Group"), ("DELETE", "Patient/old")];
    let conflict = bench.ask("POST", "/").body(&bundle("transaction", &good)).send().await;
    assert_eq!(conflict.status, 409);
    assert!(conflict.issue().1.starts_with("Transaction failed: conflict detected on resource Patient/old"));
    let bad = [("PUT", "Patient/a"), ("PUT", "Patient/old"), ("PUT", "Subscription/s")];
    assert_eq!(bench.ask("POST", "/").body(&bundle("transaction", &bad)).send().await.status, 400);
    assert_eq!(bench.sandbox.history().len(), 1);
    assert_eq!(bench.get("/Patient/a").await.status, 404);
    assert_eq!(bench.get("/Patient/old").await.etag(), "W/\"1\"");

    let got = bench.ask("POST", "").body(&bundle("transaction", &good[..3])).send().await;
    assert_eq!(statuses(&got), ["201", "200", "201"]);
    assert_eq!(bench.sandbox.history().len(), 4);
}

#[tokio::test]
async fn more_than_a_hundred_entries_are_422() {
    let bench = Bench::start(Config::default()).await;
    let post = |n: usize| bench.ask("POST", "/").body(&bundle("batch", &vec![("POST", "Patient"); n])).send();
    assert_eq!(post(100).await.status, 200);
    assert_eq!(post(101).await.status, 422);
    assert_eq!(bench.sandbox.history().len(), 100);
}

#[tokio::test]
async fn a_bundle_can_be_stored_as_a_resource_too() {
    let bench = Bench::start(Config::default()).await;
    assert_eq!(bench.put("Bundle/a").await.status, 201);
    let document = r#"{"resourceType":"Bundle","type":"document"}"#;
    assert_eq!(bench.ask("POST", "/").body(document).send().await.status, 400);
    assert_eq!(bench.ask("POST", "/Bundle").body(document).send().await.status, 201);
}

#[tokio::test]
async fn a_transaction_costs_twice() {
    let bench = Bench::start(Config { write_units_per_second: Some(3), ..Config::default() }).await;
    let post = |kind| bench.ask("POST", "/").body(&bundle(kind, &[("POST", "Patient")])).send();
    assert_eq!(post("transaction").await.status, 200);
    assert_eq!(post("transaction").await.status, 429);
    assert_eq!(post("batch").await.status, 200);
    assert_eq!(post("batch").await.status, 429);
}
