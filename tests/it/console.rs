//! The console: who gets in, what a form must carry, and how it looks in a real browser.

use reqwest::Method;
use serde_json::Value;

use crate::resend::{Versions, cdr};
use crate::support::app::{Answer, Builder, TestApp, patient, send};
use crate::support::dynalite::node_modules;
use crate::support::process::repository;

const ADMIN_TOKEN: &str = "the-token-of-the-console";

async fn start() -> (TestApp, Versions) {
    start_with(|builder| builder).await
}

async fn start_with(change: impl FnOnce(Builder) -> Builder) -> (TestApp, Versions) {
    let (versions, url) = cdr().await;
    let builder = TestApp::builder().env("LAKEHOOK_CDR_URL", url).env("LAKEHOOK_ADMIN_TOKEN", ADMIN_TOKEN);
    (change(builder).start().await, versions)
}

/// HealthLake refuses it for good.
fn refuse(app: &TestApp, key: &str) {
    app.fault(&format!(
        r#"{{"key":"{key}","status":422,"body":{{"resourceType":"OperationOutcome","issue":[{{"severity":"error","code":"invalid","diagnostics":"secretmark"}}]}}}}"#
    ));
}

/// Logged in: a form of the session's own, with what is to be in it.
async fn form(app: &TestApp, path: &str, fields: &str) -> Answer {
    let (_, cookie) = login(app, ADMIN_TOKEN).await;
    let cookie = cookie.unwrap().split(';').next().unwrap().to_owned();
    let page = send(app.http.get(format!("{}/", app.admin_address())).header("cookie", &cookie)).await;
    let token = page.body.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let request = app.http.post(format!("{}{path}", app.admin_address())).header("cookie", cookie);
    let request = request.header("content-type", "application/x-www-form-urlencoded");
    send(request.body(format!("form_token={token}&{fields}"))).await
}

pub async fn login(app: &TestApp, token: &str) -> (u16, Option<String>) {
    let url = format!("{}/console/login", app.admin_address());
    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let request = browser.post(url).header("content-type", "application/x-www-form-urlencoded");
    let answer = send(request.body(format!("token={token}"))).await;
    let cookie = answer.header("set-cookie").map(str::to_owned);
    (answer.status, cookie)
}

#[tokio::test]
async fn only_a_token_of_the_instance_gets_in_and_only_its_own_forms_do_anything() {
    let (app, versions) = start().await;
    versions.lock().unwrap().insert("a".into(), 3);
    let at = |path: &str| format!("{}{path}", app.admin_address());

    let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let outside = send(browser.get(at("/"))).await;
    assert!(outside.status == 303 && outside.header("location") == Some("/console/login"), "{outside:?}");
    // The CDR's token is not an operator's.
    for wrong in ["wrong-token", crate::support::app::TOKEN] {
        assert_eq!(login(&app, wrong).await, (401, None));
    }
    let (status, cookie) = login(&app, ADMIN_TOKEN).await;
    let cookie = cookie.unwrap();
    assert_eq!(status, 303);
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap().to_owned();

    let page = send(app.http.get(at("/")).header("cookie", &cookie)).await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("script"), "{policy}");
    assert!(!page.body.contains("<script") && !page.body.contains(ADMIN_TOKEN), "{}", page.body);

    // A form of another site has the cookie at the most, never the session's token.
    let form = |body: &str| {
        let request = app.http.request(Method::POST, at("/console/resend")).header("cookie", &cookie);
        request.header("content-type", "application/x-www-form-urlencoded").body(body.to_owned())
    };
    for forged in ["key=Patient/a&form_token=", "key=Patient/a&form_token=guessed"] {
        assert_eq!(send(form(forged)).await.status, 403);
        let redrive = app.http.post(at("/console/redrive")).header("cookie", &cookie);
        let redrive = redrive.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(send(redrive.body(forged)).await.status, 403);
    }
    assert_eq!(app.writes(), 0);
    let token = page.body.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let sent = send(form(&format!("key=Patient/a&form_token={token}"))).await;
    assert!(sent.status == 200 && sent.body.contains("mirrored"), "{sent:?}");
    assert_eq!(app.alive(), ["Patient/a"]);
    assert_eq!(send(form(&format!("key=nonsense&form_token={token}"))).await.status, 400);
}

/// By the code of the command: what the CDR has now is forwarded, and what is settled goes.
#[tokio::test]
async fn dead_letters_are_redriven_from_their_page_one_or_all() {
    let data = tempfile::tempdir().unwrap();
    let (app, versions) = start_with(|builder| builder.env("LAKEHOOK_DATA_DIR", data.path().display())).await;
    for id in ["a", "b", "c"] {
        refuse(&app, &format!("Patient/{id}"));
        assert_eq!(app.put(&format!("/Patient/{id}"), patient(id, 1)).await.verdict(), "dead-lettered");
    }
    app.sandbox.clear_faults();
    refuse(&app, "Patient/c");
    // a is corrected, b is deleted, c is as it was.
    versions.lock().unwrap().extend([("a".to_owned(), 2), ("c".to_owned(), 1)]);
    let letters = || async {
        let ran = app.command(&["dead-letters", "list", "--json"]).await;
        let lines = ran.out.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let text = |line: &Value, name: &str| line[name].as_str().unwrap().to_owned();
        lines.map(|line| (text(&line, "key"), text(&line, "id"))).collect::<Vec<_>>()
    };
    let kept = letters().await;
    assert_eq!(kept.len(), 3, "{kept:?}");
    let (_, letter) = kept.iter().find(|(key, _)| key == "Patient/a").unwrap();

    let one = form(&app, "/console/redrive", &format!("letter={letter}")).await;
    assert!(one.status == 200 && one.body.contains("1 redriven and removed (1 mirrored)"), "{one:?}");
    assert_eq!((app.alive(), letters().await.len()), (vec!["Patient/a".to_owned()], 2));

    let all = form(&app, "/console/redrive", "letter=").await;
    assert!(all.status == 200 && all.body.contains("1 still refused, kept"), "{all:?}");
    assert!(all.body.contains("still refused: refused-by-healthlake invalid"), "{all:?}");
    assert!(!all.body.contains("secretmark"), "{all:?}");
    let kept = letters().await;
    assert_eq!(kept.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(), ["Patient/c"]);
    let lines = app.delivery_lines(6).await;
    assert_eq!(lines.iter().filter(|line| line["source"] == "redrive").count(), 3, "{lines:?}");

    assert_eq!(form(&app, "/console/redrive", "letter=nonsense").await.status, 400);
    // None are kept here.
    let (without, _) = start().await;
    assert_eq!(form(&without, "/console/redrive", "letter=").await.status, 404);
}

#[tokio::test]
async fn what_the_console_sends_takes_a_place_among_the_deliveries() {
    let (app, versions) = start_with(|builder| builder.env("LAKEHOOK_MAX_IN_FLIGHT", 1)).await;
    versions.lock().unwrap().insert("a".into(), 1);
    app.fault(r#"{"key":"Patient/slow","delayMs":6000,"count":1}"#);
    let slow = app.request(Method::PUT, "/Patient/slow").header("content-type", "application/fhir+json");
    let slow = tokio::spawn(send(slow.body(patient("slow", 1))));
    while app.delivery_in_flight().await == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let sent = form(&app, "/console/resend", "key=Patient/a").await;
    assert!(sent.status == 503 && sent.body.contains("--max-in-flight"), "{sent:?}");
    assert_eq!(slow.await.unwrap().status, 201);
    assert_eq!(form(&app, "/console/resend", "key=Patient/a").await.status, 200);
    assert_eq!(app.alive().len(), 2);
}

#[tokio::test]
async fn the_pages_work_in_a_real_browser() {
    let data = tempfile::tempdir().unwrap();
    let (app, versions) = start_with(|builder| builder.env("LAKEHOOK_DATA_DIR", data.path().display())).await;
    versions
        .lock()
        .unwrap()
        .extend([("a", 2), ("b", 1), ("c", 3), ("f", 1)].map(|(id, n)| (id.to_owned(), n)));
    for version in 1..=2 {
        app.put("/Patient/a", patient("a", version)).await;
    }
    app.put("/Patient/b", patient("b", 1)).await;
    app.put("/Patient/a", patient("a", 1)).await;
    app.put("/Patient/c", r#"{"resourceType":"Patient","id":"c","secretmark":"secretmark"}"#).await;
    refuse(&app, "Patient/f");
    app.put("/Patient/f", patient("f", 1)).await;
    app.fault(r#"{"key":"Patient/d","status":503}"#);
    app.put("/Patient/d", patient("d", 1)).await;
    for n in 0..40 {
        app.put(&format!("/Patient/n{n}"), patient(&format!("n{n}"), 1)).await;
    }

    let pictures = repository().join("target/test-logs/console");
    std::fs::create_dir_all(&pictures).unwrap();
    let mut browser = tokio::process::Command::new("node");
    browser.arg(repository().join("tests/foreign/console.js"));
    browser.args([app.admin_address(), ADMIN_TOKEN, "Patient/a"]).arg(&pictures);
    browser.env("NODE_PATH", node_modules()).kill_on_drop(true);
    let output = browser.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The wrong token is answered 401, which a browser reports; nothing else may be complained about, CSP least of all.
    let complaints = seen["complaints"].as_array().unwrap();
    assert!(complaints.iter().all(|text| text.as_str().unwrap().contains("401")), "{complaints:?}");
    let pages = seen["pages"].as_object().unwrap();
    for (name, page) in pages.iter().filter(|(_, page)| page.get("text").is_some()) {
        assert_eq!(
            (page["overflow"].as_i64(), page["unnamed"].as_i64()),
            (Some(0), Some(0)),
            "{name}: {page}"
        );
        assert!(!page["text"].as_str().unwrap().contains("secretmark"), "{name}");
    }
    for device in ["light", "dark-phone"] {
        let text = |page: &str| pages[&format!("{device}/{page}")]["text"].as_str().unwrap();
        for says in ["superseded", "dead-lettered", "healthlake-failed", "Patient/a", "credentials: valid"] {
            assert!(text("overview").contains(says), "{says}: {}", text("overview"));
        }
        assert!(text("resource").contains("nothing to do"), "{}", text("resource"));
        assert!(text("resent").contains("Sent what the CDR has now: mirrored"), "{}", text("resent"));
        assert!(text("code").contains("What happened"), "{}", text("code"));
        assert!(text("letters").contains("Patient/f"), "{}", text("letters"));
        assert!(text("redriven-one").contains("1 "), "{}", text("redriven-one"));
        assert!(text("redriven").contains("1 still refused, kept"), "{}", text("redriven"));
        assert_eq!(pages[&format!("{device}/after")]["title"], "Log in · lakehook");
    }
    // The first time what the CDR had corrected went through.
    let letters = |device: &str| pages[&format!("{device}/letters")]["text"].as_str().unwrap();
    assert!(letters("light").contains("Patient/c") && !letters("dark-phone").contains("Patient/c"));
    assert_eq!(app.stored("Patient/c").unwrap()["name"][0]["family"], "F3");
    assert_eq!(seen["firstStop"], "Skip to the content");
}
