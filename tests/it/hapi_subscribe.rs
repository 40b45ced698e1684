//! `subscribe`, `unsubscribe` and `serve --manage-subscription` before a real HAPI.
//!
//! One test, because starting HAPI costs more than everything that is asked of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::app::{Builder, Ran, TOKEN, TestApp, lakehook};
use crate::support::hapi::{Hapi, deliver_latest_version};

const PATH: &str = "Subscription/lakehook";

/// A command about the Subscription that points at `endpoint`.
async fn run(hapi: &Hapi, endpoint: &str, arguments: &[&str]) -> Ran {
    let mut command = lakehook();
    command.args(arguments).kill_on_drop(true);
    command.env("LAKEHOOK_CDR_URL", hapi.base_url()).env("LAKEHOOK_TOKEN", TOKEN);
    command.env("LAKEHOOK_SUBSCRIPTION_ENDPOINT", endpoint);
    let output = tokio::time::timeout(Duration::from_secs(120), command.output()).await.unwrap().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let ran = Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) };
    assert!(!ran.out.contains(TOKEN) && !ran.err.contains(TOKEN), "the token is shown: {ran:?}");
    ran
}

async fn version(hapi: &Hapi) -> String {
    let found = hapi.read("Subscription", "lakehook").await.unwrap();
    found["meta"]["versionId"].as_str().unwrap().to_owned()
}

/// Until `what` holds, or half a minute has passed.
async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_hapi_is_subscribed_to() {
    let hapi = Hapi::start().await;
    let app = TestApp::start().await;
    created_again_and_mended(&hapi, &app).await;
    deliveries_flow_deletes_too(&hapi, &app).await;
    unsubscribed(&hapi, &app).await;
    foreign_ones_are_left_alone(&hapi, &app).await;
    smile_s_own_id_can_be_taken_over(&hapi, &app).await;
    what_hapi_refuses_is_shown(&hapi, &app).await;
    drop(app);
    a_serving_lakehook_makes_it_and_watches_it(&hapi).await;
    canaries_measure_the_whole_way(&hapi).await;
    hapi.stop().await;
}

async fn created_again_and_mended(hapi: &Hapi, app: &TestApp) {
    let dry = run(hapi, app.endpoint(), &["subscribe", "--dry-run"]).await;
    assert_eq!(dry.code, 3, "{dry:?}");
    assert!(dry.out.contains("Subscription/lakehook is created"), "{dry:?}");
    assert!(dry.out.contains("+ channel.header: Authorization: Bearer ****"), "{dry:?}");
    assert!(hapi.read("Subscription", "lakehook").await.is_none(), "a dry run writes nothing");

    let made = run(hapi, app.endpoint(), &["subscribe"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    assert!(made.out.contains("HAPI FHIR Server 8."), "{made:?}");
    assert!(made.out.ends_with("Subscription/lakehook: active\n"), "{made:?}");
    let first = version(hapi).await;

    for arguments in [&["subscribe"][..], &["subscribe", "--dry-run"]] {
        let again = run(hapi, app.endpoint(), arguments).await;
        assert_eq!(again.code, 0, "{again:?}");
        assert!(again.out.contains("is as it should be"), "{again:?}");
    }
    assert_eq!(version(hapi).await, first, "nothing is written where nothing differs");

    let mut drifted = hapi.read("Subscription", "lakehook").await.unwrap();
    drifted["criteria"] = json!("[Patient]");
    drifted["status"] = json!("off");
    drifted["channel"]["extension"] = json!([deliver_latest_version()]);
    hapi.put("Subscription", "lakehook", &drifted).await;
    let dry = run(hapi, app.endpoint(), &["subscribe", "--dry-run"]).await;
    assert_eq!(dry.code, 3, "{dry:?}");
    for line in [
        "~ status: off -> requested",
        "~ criteria: [Patient] -> [*]",
        "+ channel.extension send-delete-messages: true",
        "- channel.extension deliver-latest-version: true",
    ] {
        assert!(dry.out.contains(line), "{line}: {dry:?}");
    }
    assert_eq!(hapi.read("Subscription", "lakehook").await.unwrap()["status"], "off");
    let mended = run(hapi, app.endpoint(), &["subscribe"]).await;
    assert_eq!(mended.code, 0, "{mended:?}");
    assert!(mended.out.ends_with("Subscription/lakehook: active\n"), "{mended:?}");
}

async fn deliveries_flow_deletes_too(hapi: &Hapi, app: &TestApp) {
    hapi.put("Patient", "flows", &json!({ "active": true })).await;
    eventually("the create arrives", async || app.alive() == ["Patient/flows"]).await;
    hapi.delete("Patient", "flows").await;
    eventually("the delete arrives", async || app.alive().is_empty()).await;
}

async fn unsubscribed(hapi: &Hapi, app: &TestApp) {
    let dry = run(hapi, app.endpoint(), &["unsubscribe", "--dry-run"]).await;
    assert_eq!((dry.code, dry.out.as_str()), (3, "Subscription/lakehook: would be deleted\n"), "{dry:?}");
    let gone = run(hapi, app.endpoint(), &["unsubscribe"]).await;
    assert_eq!((gone.code, gone.out.as_str()), (0, "Subscription/lakehook: deleted\n"), "{gone:?}");
    assert!(hapi.read("Subscription", "lakehook").await.is_none());
    let again = run(hapi, app.endpoint(), &["unsubscribe"]).await;
    assert_eq!((again.code, again.out.as_str()), (0, "Subscription/lakehook: not there\n"), "{again:?}");
}

async fn foreign_ones_are_left_alone(hapi: &Hapi, app: &TestApp) {
    hapi.subscribe("theirs", "[Group]", "http://127.0.0.1:9/theirs", Some("application/fhir+json"), &[], &[])
        .await;
    let before = hapi.read("Subscription", "theirs").await.unwrap();
    for command in ["subscribe", "unsubscribe"] {
        let ran = run(hapi, app.endpoint(), &[command, "--subscription-id", "theirs"]).await;
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.err.contains("--take-over"), "{ran:?}");
    }
    let after = hapi.read("Subscription", "theirs").await.unwrap();
    assert_eq!((&after["criteria"], &after["channel"]), (&before["criteria"], &before["channel"]));
    let gone =
        run(hapi, app.endpoint(), &["unsubscribe", "--subscription-id", "theirs", "--take-over"]).await;
    assert_eq!(gone.code, 0, "{gone:?}");
}

/// Smile CDR itself is not here: HAPI, which it is built on, treated as one.
async fn smile_s_own_id_can_be_taken_over(hapi: &Hapi, app: &TestApp) {
    let id = "endpoint-awshealthlake-out";
    hapi.subscribe(id, "[*]", "http://127.0.0.1:9/connector", Some("application/fhir+json"), &[], &[]).await;
    let as_smile = ["subscribe", "--subscription-server", "smile-cdr"];
    assert_eq!(run(hapi, app.endpoint(), &as_smile).await.code, 3);
    let taken = run(hapi, app.endpoint(), &[&as_smile[..], &["--take-over"]].concat()).await;
    assert_eq!(taken.code, 0, "{taken:?}");
    assert!(
        taken.out.contains("+ meta.tag: urn:lakehook:subscription|endpoint-awshealthlake-out"),
        "{taken:?}"
    );
    assert!(taken.out.contains("+ channel.extension deliver-latest-version: true"), "{taken:?}");
    let again = run(hapi, app.endpoint(), &as_smile).await;
    assert_eq!(again.code, 0, "it is lakehook's now: {again:?}");
    hapi.put("Patient", "taken", &json!({ "active": true })).await;
    eventually("a delivery of the one taken over", async || app.alive() == ["Patient/taken"]).await;
    let gone = run(hapi, app.endpoint(), &["unsubscribe", "--subscription-server", "smile-cdr"]).await;
    assert_eq!(gone.code, 0, "{gone:?}");
}

async fn what_hapi_refuses_is_shown(hapi: &Hapi, app: &TestApp) {
    let arguments = ["subscribe", "--subscription-criteria", "Patient?no-such=1"];
    let ran = run(hapi, app.endpoint(), &arguments).await;
    assert_eq!(ran.code, 1, "{ran:?}");
    assert!(ran.err.contains("the CDR says: error:"), "{ran:?}");
    assert!(hapi.read("Subscription", "lakehook").await.is_none());
}

fn to_serve(hapi: &Hapi, id: &str) -> Builder {
    TestApp::builder()
        .env("LAKEHOOK_CDR_URL", hapi.base_url())
        .env("LAKEHOOK_MANAGE_SUBSCRIPTION", "true")
        .env("LAKEHOOK_SUBSCRIPTION_ID", id)
        .env("LAKEHOOK_SUBSCRIPTION_CHECK_EVERY", "200ms")
}

async fn serving(hapi: &Hapi, id: &str) -> TestApp {
    to_serve(hapi, id).start().await
}

async fn subscriptions(app: &TestApp) -> Value {
    app.admin("/readyz").await.json()["subscriptions"].clone()
}

async fn a_serving_lakehook_makes_it_and_watches_it(hapi: &Hapi) {
    let app = serving(hapi, "lakehook").await;
    let watched = async || subscriptions(&app).await["watched"][0].clone();
    eventually("made and active", async || watched().await["status"] == "active").await;
    assert_eq!(watched().await["subscription"], PATH);
    hapi.put("Patient", "served", &json!({ "active": true })).await;
    eventually("delivered", async || app.alive() == ["Patient/served"]).await;

    let mut off: Value = hapi.read("Subscription", "lakehook").await.unwrap();
    off["status"] = json!("off");
    hapi.put("Subscription", "lakehook", &off).await;
    eventually("seen to be off", async || watched().await["status"] == "off").await;
    let metrics = app.admin("/metrics").await.body;
    let inactive = r#"lakehook_subscription_active{subscription="Subscription/lakehook"} 0"#;
    assert!(metrics.contains(inactive), "{metrics}");
    assert!(app.log().contains("the Subscription is not active"), "{}", app.log());
    assert_eq!(app.health("/healthz").await, 200, "the balancer is not told");
    assert_eq!(app.health("/readyz").await, 200);
    let before = version(hapi).await;

    // Somebody switched it off: that holds for the next start too, whose endpoint is another one.
    let next = serving(hapi, "lakehook").await;
    eventually("off still", async || subscriptions(&next).await["watched"][0]["status"] == "off").await;
    assert_eq!(version(hapi).await, before);
    drop(next);
    let on = run(hapi, app.endpoint(), &["subscribe"]).await;
    assert_eq!(on.code, 0, "{on:?}");
    assert_ne!(version(hapi).await, before);
    eventually("seen to be active", async || watched().await["status"] == "active").await;
    // A start with another endpoint mends it.
    let next = serving(hapi, "lakehook").await;
    let endpoint =
        async || hapi.read("Subscription", "lakehook").await.unwrap()["channel"]["endpoint"].clone();
    eventually("mended", async || endpoint().await == next.endpoint()).await;
    drop(next);
    hapi.delete("Subscription", "lakehook").await;
    eventually("seen to be gone", async || watched().await["status"] == "gone").await;

    hapi.subscribe("theirs", "[Group]", "http://127.0.0.1:9/x", Some("application/fhir+json"), &[], &[])
        .await;
    hapi.wait_active("theirs").await;
    let theirs = hapi.read("Subscription", "theirs").await;
    let beside = serving(hapi, "theirs").await;
    eventually("watched all the same", async || {
        subscriptions(&beside).await["watched"][0]["status"] == "active"
    })
    .await;
    let problem = subscriptions(&beside).await["problem"].as_str().unwrap().to_owned();
    assert!(problem.contains("Subscription/theirs is not marked as lakehook's"), "{problem}");
    assert_eq!(hapi.read("Subscription", "theirs").await, theirs);
}

/// The command's, and those of a running instance while its Subscription is on, off and on again.
async fn canaries_measure_the_whole_way(hapi: &Hapi) {
    let app = to_serve(hapi, "lakehook")
        .env("LAKEHOOK_CANARY_EVERY", "1s")
        .env("LAKEHOOK_CANARY_TIMEOUT", "5s")
        .start()
        .await;
    let told = async || app.admin("/readyz").await.json()["canary"].clone();
    eventually("one arrives", async || told().await["deliveredSeconds"].is_number()).await;
    let canary = told().await;
    assert!(canary["lagSeconds"].is_number(), "{canary}");
    let at_hapi = hapi.read("Device", "lakehook-canary").await.unwrap();
    assert_eq!(at_hapi["identifier"][0]["system"], "urn:lakehook:canary");

    let mut off: Value = hapi.read("Subscription", "lakehook").await.unwrap();
    off["status"] = json!("off");
    hapi.put("Subscription", "lakehook", &off).await;
    eventually("one is lost", async || {
        told().await["problem"]
            .as_str()
            .is_some_and(|problem| problem.contains("Subscription/lakehook is off"))
    })
    .await;
    let on = run(hapi, app.endpoint(), &["subscribe"]).await;
    assert_eq!(on.code, 0, "{on:?}");
    eventually("told of its end", async || app.log().contains("the canary arrives again after")).await;

    let of_its_own = ["canary", "--canary-every", "1h", "--canary-resource", "Device/of-the-command"];
    let ran = app.command(&of_its_own).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.out.starts_with("Device/of-the-command version 1: written at the CDR in "), "{ran:?}");
    assert!(app.stored("Device/of-the-command").is_some());
}
