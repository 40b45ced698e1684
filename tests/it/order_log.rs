//! What a delivery's log line tells of the order, and the metric beside it.

use serde_json::Value;

use crate::dynamodb::bench::{Bench, TABLE};
use crate::support::app::{Builder, TestApp, patient};

async fn put(app: &TestApp, version: u32) -> u16 {
    app.put("/Patient/a", patient("a", version)).await.status
}

/// The notes of each delivery, in the order in which they ended.
async fn notes(app: &TestApp, deliveries: usize) -> Vec<Vec<&'static str>> {
    let names = ["asked_cdr", "in_doubt", "contended", "claim_lost", "store_failed", "precondition"];
    let told = |line: Value| names.into_iter().filter(|name| line[*name] == true).collect();
    app.delivery_lines(deliveries).await.into_iter().map(told).collect()
}

async fn counted(app: &TestApp, event: &str) -> bool {
    let line = format!(r#"lakehook_order_events_total{{event="{event}"}} 1"#);
    app.admin("/metrics").await.body.contains(&line)
}

#[tokio::test]
async fn a_version_that_was_not_expected_is_told() {
    let app = TestApp::start().await;
    assert_eq!(put(&app, 1).await, 201);
    // Both attempts take effect, and no answer is heard.
    app.fault(r#"{"cut":"after","count":2,"service":"healthlake"}"#);
    assert_eq!(put(&app, 2).await, 502);
    assert_eq!(put(&app, 3).await, 200);
    assert_eq!(notes(&app, 3).await, [vec![], vec![], vec!["precondition"]]);
    assert!(counted(&app, "precondition").await);
}

#[tokio::test]
async fn a_store_that_fails_is_told() {
    let nowhere = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let builder = TestApp::builder().arg("--order-store", "dynamodb:lakehook-order");
    let app = builder.arg("--order-dynamodb-endpoint", format!("http://{nowhere}")).start().await;
    assert_eq!(put(&app, 1).await, 503);
    assert_eq!(notes(&app, 1).await, [["store_failed"]]);
    assert!(counted(&app, "store-failed").await);
}

/// The process stands still while HealthLake answers it, and another replica takes over meanwhile.
#[tokio::test]
async fn a_claim_that_was_held_by_another_or_lost_is_told() {
    let bench = Bench::dynalite().await;
    let with = |builder: Builder| {
        let builder = builder.arg("--order-store", format!("dynamodb:{TABLE}")).arg("--deadline", "3s");
        builder.arg("--order-dynamodb-endpoint", bench.endpoint_url())
    };
    let first = with(TestApp::builder()).start().await;
    let second = with(TestApp::builder()).start_beside(&first).await;
    assert_eq!(put(&first, 1).await, 201);
    first.fault(r#"{"delayMs":500,"count":1,"service":"healthlake"}"#);
    let paused = put(&first, 2);
    let meanwhile = async {
        tokio::time::sleep(std::time::Duration::from_millis(250)).await;
        first.signal("-STOP");
        // Held, until 2 s beyond the deadline of the one that stands still.
        assert_eq!(put(&second, 3).await, 503);
        while put(&second, 3).await != 200 {}
        first.signal("-CONT");
    };
    let (paused, ()) = tokio::join!(paused, meanwhile);
    assert_eq!(paused, 503, "what it wrote is not remembered: the sender repeats it");
    let firsts = notes(&first, 2).await;
    assert!(firsts[1].contains(&"claim_lost"), "{firsts:?}");
    assert!(counted(&first, "claim-lost").await);
    let seconds = notes(&second, 2).await;
    assert!(seconds[0].contains(&"contended"), "{seconds:?}");
    assert_eq!(put(&first, 2).await, 200, "superseded");
    let shown = first.stored("Patient/a").unwrap();
    assert_eq!(shown["name"][0]["family"], "F3");
    bench.stop().await;
}
