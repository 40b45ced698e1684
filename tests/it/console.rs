//! The console: who gets in, what a form must carry, and how it looks in a real browser.

use reqwest::Method;
use serde_json::Value;

use crate::resend::{Versions, cdr};
use crate::support::app::{TestApp, patient, send};
use crate::support::dynalite::node_modules;
use crate::support::process::repository;

const ADMIN_TOKEN: &str = "the-token-of-the-console";

async fn start() -> (TestApp, Versions) {
    let (versions, url) = cdr().await;
    let app = TestApp::builder()
        .env("LAKEHOOK_CDR_URL", url)
        .env("LAKEHOOK_ADMIN_TOKEN", ADMIN_TOKEN)
        .start()
        .await;
    (app, versions)
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
    }
    assert_eq!(app.writes(), 0);
    let token = page.body.split("name=\"form_token\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let sent = send(form(&format!("key=Patient/a&form_token={token}"))).await;
    assert!(sent.status == 200 && sent.body.contains("mirrored"), "{sent:?}");
    assert_eq!(app.alive(), ["Patient/a"]);
    assert_eq!(send(form(&format!("key=nonsense&form_token={token}"))).await.status, 400);
}

#[tokio::test]
async fn the_pages_work_in_a_real_browser() {
    let (app, versions) = start().await;
    versions.lock().unwrap().extend([("a".to_owned(), 2), ("b".to_owned(), 1)]);
    for version in 1..=2 {
        app.put("/Patient/a", patient("a", version)).await;
    }
    app.put("/Patient/b", patient("b", 1)).await;
    app.put("/Patient/a", patient("a", 1)).await;
    app.put("/Patient/c", r#"{"resourceType":"Patient","id":"c","secretmark":"secretmark"}"#).await;
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
        for says in ["superseded", "invalid", "healthlake-failed", "Patient/a", "credentials: valid"] {
            assert!(text("overview").contains(says), "{says}: {}", text("overview"));
        }
        assert!(text("resource").contains("nothing to do"), "{}", text("resource"));
        assert!(text("resent").contains("Sent what the CDR has now: mirrored"), "{}", text("resent"));
        assert!(text("code").contains("What happened"), "{}", text("code"));
        assert_eq!(pages[&format!("{device}/after")]["title"], "Log in · lakehook");
    }
    assert_eq!(seen["firstStop"], "Skip to the content");
}
