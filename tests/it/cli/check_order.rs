//! `lakehook check` looks at the order store.

use super::{ANY_PORT, Ran, SANDBOX, directory, file, run};
use crate::support::app::TestApp;
use crate::support::moto::Moto;

async fn check(arguments: &[&str]) -> Ran {
    run(&[&["check"][..], &SANDBOX, &ANY_PORT, arguments].concat()).await
}

#[tokio::test]
async fn memory_and_a_file_that_is_not_there_yet() {
    check(&[]).await.row("order store", "ok", &["memory", "--data-dir"]);
    let directory = directory();
    let fresh = directory.path().join("not-there-yet");
    let ran = check(&["--data-dir", fresh.to_str().unwrap()]).await;
    ran.row("order store", "ok", &["order.redb", "not there yet"]);
    assert!(!fresh.exists(), "check writes nothing");
    let occupied = file(&directory, "a-file", "");
    let ran = check(&["--data-dir", occupied.to_str().unwrap()]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("order store", "failed", &["--data-dir", "no directory"]);
}

#[tokio::test]
async fn a_file_in_use_free_and_damaged() {
    let directory = directory();
    let data = directory.path().to_str().unwrap();
    let mut app = TestApp::builder().arg("--data-dir", data).start().await;
    check(&["--data-dir", data]).await.row("order store", "ok", &["in use", "running instance"]);
    app.signal("-INT");
    app.ended().await;
    for _ in 0..2 {
        check(&["--data-dir", data]).await.row("order store", "ok", &["sound"]);
    }
    // What was looked at serves as before.
    let mut app = TestApp::builder().arg("--data-dir", data).start().await;
    app.signal("-INT");
    app.ended().await;
    file(&directory, "order.redb", "not an order file at all");
    let ran = check(&["--data-dir", data]).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("order store", "failed", &["is not an order file"]);
}

#[tokio::test]
async fn a_table_that_is_not_there() {
    let moto = Moto::start().await;
    let endpoint = moto.endpoint_url().to_owned();
    let store = ["--order-store", "dynamodb:none", "--order-dynamodb-endpoint", &endpoint];
    let ran = check(&store).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    ran.row("order store", "failed", &["`none`", "deploy/dynamodb"]);
    moto.stop().await;
}
