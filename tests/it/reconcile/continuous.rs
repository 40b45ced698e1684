//! The sweeps of running instances.

use std::time::Duration;

use tokio::time::sleep;

use super::cdr::TestCdr;
use super::cli::{damage, equal, key};
use super::damage::DAMAGES;
use crate::dynamodb::bench::{Bench, TABLE};
use crate::support::app::{Builder, TestApp};

fn sweeping(cdr: &TestCdr) -> Builder {
    TestApp::builder()
        .env("LAKEHOOK_CDR_URL", cdr.url())
        .env("LAKEHOOK_RECONCILE_EVERY", "300ms")
        .env("LAKEHOOK_RECONCILE_REPAIR", "true")
        .env("LAKEHOOK_RECONCILE_SETTLE", "500ms")
        .env("LAKEHOOK_RECONCILE_OVERLAP", "5s")
        .env("LAKEHOOK_RECONCILE_RATE", "0")
}

async fn status(app: &TestApp) -> serde_json::Value {
    app.admin("/readyz").await.json()["reconcile"].clone()
}

async fn until(what: &str, mut is: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is().await {
            return;
        }
        sleep(Duration::from_millis(50)).await;
    }
    panic!("never: {what}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_instance_finds_and_repairs_and_tells() {
    let (folder, cdr) = (tempfile::tempdir().unwrap(), TestCdr::start().await);
    let app = sweeping(&cdr).env("LAKEHOOK_DATA_DIR", folder.path().to_str().unwrap()).start().await;
    let other = TestApp::builder().start_beside(&app).await;
    for at in 0..30 {
        cdr.put(&key(at), 1);
        app.put(&format!("/{}", key(at)), cdr.json(&key(at)).unwrap()).await;
    }
    until("a sweep", async || status(&app).await["status"]["sweeps"].as_u64() > Some(1)).await;
    let writes = app.writes();
    for (at, what) in DAMAGES.into_iter().enumerate() {
        damage(what, &key(at * 3), &cdr, &app, &other).await;
    }
    let others = app.writes() - writes;
    until("repaired", async || status(&app).await["status"]["repaired"] == 5).await;
    equal(&cdr, &app);
    assert_eq!(app.writes(), writes + others + 5);
    until("nothing open", async || status(&app).await["status"]["oldestDifference"].is_null()).await;
    assert_eq!(status(&app).await["lagSeconds"], 0);
    let metrics = app.admin("/metrics").await.body;
    for line in [
        "lakehook_reconcile_repaired 5",
        "lakehook_reconcile_leads 1",
        r#"lakehook_reconcile_differences_found{resource_type="Patient",kind="missing"} 1"#,
        "lakehook_reconcile_lag_seconds 0",
        "lakehook_reconcile_last_sweep_timestamp_seconds 1",
        r#"source="reconcile""#,
    ] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    // A command beside it compares everything, since the instance has what was learned.
    let ran = app.command(&["reconcile"]).await;
    assert!(ran.code == 0 && ran.err.contains("everything is compared"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_replicas_one_sweeps() {
    let (bench, cdr) = (Bench::dynalite().await, TestCdr::start().await);
    let replica = || {
        sweeping(&cdr)
            .env("LAKEHOOK_ORDER_STORE", format!("dynamodb:{TABLE}"))
            .env("LAKEHOOK_ORDER_DYNAMODB_ENDPOINT", bench.endpoint_url())
    };
    let first = replica().start().await;
    until("the first leads", async || status(&first).await["status"]["leads"] == true).await;
    let second = replica().start_beside(&first).await;
    until("sweeps", async || status(&first).await["status"]["sweeps"].as_u64() > Some(3)).await;
    let of_second = status(&second).await;
    assert_eq!((&of_second["status"]["leads"], &of_second["status"]["sweeps"]), (&false.into(), &0.into()));
    drop((first, second));
    bench.stop().await;
}

#[tokio::test]
async fn without_a_cdr_it_does_not_start() {
    let mut command = crate::support::app::lakehook();
    command.args(["serve", "--sandbox", "--sandbox-listen", "127.0.0.1:0", "--listen", "127.0.0.1:0"]);
    command.args(["--admin-listen", "127.0.0.1:0", "--reconcile-every", "15m"]);
    let output = command.output().await.unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.contains("--cdr-url"), "{text}");
}
