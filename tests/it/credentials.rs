//! Credentials: the whole AWS chain, STS with its expiry and its faults, and no stampede.

use std::time::Duration;

use crate::support::app::{Builder, TestApp, patient};
use crate::support::moto::Moto;
use crate::support::tls::{Authority, TlsProxy};
use crate::support::upstream::Upstream;

fn assume_role_calls(app: &TestApp) -> usize {
    app.sandbox.requests().iter().filter(|line| line.path == "/").count()
}

/// The access key that signed the last request which the upstream saw.
fn signed_by(upstream: &Upstream) -> String {
    let seen = upstream.requests();
    let authorization = seen.last().unwrap().headers["authorization"].to_str().unwrap();
    authorization.split_once("Credential=").unwrap().1.split('/').next().unwrap().to_owned()
}

#[tokio::test]
async fn sessions_are_renewed_before_they_expire_and_no_delivery_notices() {
    let app = TestApp::builder()
        .sandbox(|config| config.session_lifetime = Some(Duration::from_secs(3)))
        .start()
        .await;
    for n in 1..=70 {
        let answer = app.put("/Patient/a", patient("a", n)).await;
        assert!([200, 201].contains(&answer.status), "{n}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lines = app.delivery_lines(70).await;
    assert!(lines.iter().all(|line| line["attempts"] == 1), "one was refused for its credentials");
    assert!(assume_role_calls(&app) >= 3);
    assert!(app.sandbox.requests().iter().all(|line| line.signature == "valid"));
}

#[tokio::test]
async fn while_sts_is_down_the_current_session_serves_until_it_expires() {
    let app = TestApp::builder()
        .sandbox(|config| config.session_lifetime = Some(Duration::from_secs(4)))
        .start()
        .await;
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
    app.fault(r#"{"status":500,"service":"sts"}"#);
    let mut refused = None;
    for n in 2..200 {
        let answer = app.put("/Patient/a", patient("a", n)).await;
        if answer.status != 200 {
            refused = Some(answer);
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let refused = refused.expect("an expired session is not used");
    assert_eq!((refused.status, refused.verdict().as_str()), (503, "credentials-refused"));
    assert!(app.writes() > 3, "it served for a while");
    for _ in 0..300 {
        if app.log().contains("could not renew the AWS credentials") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(app.log().contains("could not renew the AWS credentials"));
    app.sandbox.clear_faults();
    for _ in 0..400 {
        if app.put("/Patient/a", patient("a", 500)).await.status == 200 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("did not recover after STS was back");
}

#[tokio::test]
async fn a_refused_session_is_renewed_once_and_the_delivery_tried_again() {
    let app = TestApp::start().await;
    for status in [401, 403] {
        app.fault(&format!(r#"{{"status":{status},"body":"","count":1,"service":"healthlake"}}"#));
        let answer = app.put("/Patient/a", patient("a", 1)).await;
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        assert_eq!(app.delivery_lines(1).await.pop().unwrap()["attempts"], 2);
    }
}

#[tokio::test]
async fn refusals_under_load_are_no_stampede_at_sts() {
    let app = TestApp::start().await;
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
    app.fault(r#"{"status":403,"body":"","service":"healthlake"}"#);
    for _ in 0..3 {
        let all = (0..60).map(|n| {
            let app = &app;
            async move { app.put(&format!("/Patient/p{n}"), patient(&format!("p{n}"), 1)).await }
        });
        let answers = futures_util::future::join_all(all).await;
        assert!(answers.iter().all(|answer| answer.status == 503));
    }
    let calls = assume_role_calls(&app);
    assert!(calls <= 5, "{calls} calls of STS for 180 refused deliveries");
}

#[tokio::test]
async fn a_slow_sts_costs_no_delivery_more_than_its_deadline() {
    let slow = r#"{"delayMs":20000,"service":"sts"}"#;
    let app = TestApp::builder()
        .sandbox(|config| config.faults = vec![serde_json::from_str(slow).unwrap()])
        .arg("--deadline", "500ms")
        .start()
        .await;
    let started = std::time::Instant::now();
    let answer = app.put("/Patient/a", patient("a", 1)).await;
    assert!([503, 504].contains(&answer.status), "{answer:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn the_external_id_is_sent() {
    let with = |id: &'static str| async move {
        let builder =
            TestApp::builder().sandbox(|config| config.external_id = Some("the-external-id".into()));
        builder.arg("--role-external-id", id).start().await
    };
    let right = with("the-external-id").await;
    assert_eq!(right.put("/Patient/a", patient("a", 1)).await.status, 201);
    let wrong = with("another-id").await;
    let answer = wrong.put("/Patient/a", patient("a", 1)).await;
    assert_eq!((answer.status, answer.verdict().as_str()), (503, "credentials-refused"));
    assert!(!wrong.log().contains("another-id"), "an external id is a secret");
}

#[tokio::test]
async fn a_role_is_assumed_at_a_foreign_sts() {
    let moto = Moto::start().await;
    let upstream = Upstream::start().await;
    let app = TestApp::builder()
        .arg("--sts-endpoint", moto.endpoint_url())
        .arg("--role-session-duration", "15m")
        .start_before(&upstream.endpoint())
        .await;
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 200);
    let key = signed_by(&upstream);
    assert!(key.starts_with("ASIA"), "{key}");
    let expires = app.admin("/readyz").await.json()["credentials"]["expire"].clone();
    let expires: jiff::Timestamp = expires.as_str().unwrap().parse().unwrap();
    let left = expires.duration_since(jiff::Timestamp::now()).as_secs();
    assert!((780..=900).contains(&left), "{left} s");
}

/// Without a role, before a stub, with whatever the environment says.
async fn key_from(environment: impl FnOnce(Builder) -> Builder) -> String {
    let upstream = Upstream::start().await;
    let bare = TestApp::builder().no_role().env("AWS_ACCESS_KEY_ID", "").env("AWS_SECRET_ACCESS_KEY", "");
    let app = environment(bare).start_before(&upstream.endpoint()).await;
    let answer = app.put("/Patient/a", patient("a", 1)).await;
    assert_eq!(answer.status, 200, "{answer:?} {}", app.log());
    signed_by(&upstream)
}

#[tokio::test]
async fn chain_environment() {
    let key = key_from(|app| {
        app.env("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT").env("AWS_SECRET_ACCESS_KEY", "secret")
    });
    assert_eq!(key.await, "AKIAENVIRONMENT");
}

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[tokio::test]
async fn chain_profile() {
    let profile = file("[mirror]\naws_access_key_id = AKIAPROFILE\naws_secret_access_key = secret\n");
    let path = profile.path().display().to_string();
    let key = key_from(|app| app.env("AWS_SHARED_CREDENTIALS_FILE", path).env("AWS_PROFILE", "mirror"));
    assert_eq!(key.await, "AKIAPROFILE");
}

#[tokio::test]
async fn chain_credential_process() {
    let said = r#"{\"Version\":1,\"AccessKeyId\":\"AKIAPROCESS\",\"SecretAccessKey\":\"secret\"}"#;
    let config = file(&format!("[profile mirror]\ncredential_process = sh -c \"echo '{said}'\"\n"));
    let path = config.path().display().to_string();
    let key = key_from(|app| app.env("AWS_CONFIG_FILE", path).env("AWS_PROFILE", "mirror"));
    assert_eq!(key.await, "AKIAPROCESS");
}

/// ECS tasks and EKS Pod Identity: a URL and a token.
#[tokio::test]
async fn chain_container() {
    let said = r#"{"AccessKeyId":"ASIACONTAINER","SecretAccessKey":"secret","Token":"token","Expiration":"2099-01-01T00:00:00Z"}"#;
    let routes = axum::Router::new().route(
        "/credentials",
        axum::routing::get(async move |headers: http::HeaderMap| match headers.get("authorization") {
            Some(token) if token == "pod-identity-token" => Ok(said),
            _ => Err(http::StatusCode::FORBIDDEN),
        }),
    );
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/credentials", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    let token = file("pod-identity-token");
    let path = token.path().display().to_string();
    let key = key_from(|app| {
        app.env("AWS_CONTAINER_CREDENTIALS_FULL_URI", url).env("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", path)
    });
    assert_eq!(key.await, "ASIACONTAINER");
}

/// EC2: IMDSv2.
#[tokio::test]
async fn chain_instance() {
    let said = r#"{"Code":"Success","AccessKeyId":"ASIAINSTANCE","SecretAccessKey":"secret","Token":"token","Expiration":"2099-01-01T00:00:00Z"}"#;
    let list = "/latest/meta-data/iam/security-credentials";
    let token = async || ([("x-aws-ec2-metadata-token-ttl-seconds", "21600")], "imds-token");
    let routes = axum::Router::new()
        .route("/latest/api/token", axum::routing::put(token))
        .route(&format!("{list}/"), axum::routing::get(async || "role"))
        .route(list, axum::routing::get(async || "role"))
        .route(&format!("{list}/role"), axum::routing::get(async move || said))
        .fallback(async || http::StatusCode::NOT_FOUND);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, routes).into_future());
    let key = key_from(|app| {
        app.env("AWS_EC2_METADATA_DISABLED", "false").env("AWS_EC2_METADATA_SERVICE_ENDPOINT", url)
    });
    assert_eq!(key.await, "ASIAINSTANCE");
}

/// EKS IRSA: a token file and a role, exchanged at STS.
#[tokio::test]
async fn chain_web_identity() {
    let moto = Moto::start().await;
    let token = file("eyJhbGciOiJub25lIn0.eyJzdWIiOiJwb2QifQ.");
    let (path, sts) = (token.path().display().to_string(), moto.endpoint_url().to_owned());
    let key = key_from(|app| {
        app.env("AWS_WEB_IDENTITY_TOKEN_FILE", path)
            .env("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/pod")
            .env("AWS_ROLE_SESSION_NAME", "pod")
            .env("AWS_ENDPOINT_URL_STS", sts)
    });
    assert!(key.await.starts_with("ASIA"));
}

#[tokio::test]
async fn a_private_ca_is_trusted_for_healthlake_and_sts_alike() {
    let authority = Authority::new();
    let ca = file(&authority.pem());
    let plain = TestApp::builder().no_role().start().await;
    let proxy = TlsProxy::start(&authority, plain.sandbox_address).await;
    let endpoint =
        format!("https://localhost:{}/datastore/{}", proxy.port(), plain.sandbox.config().datastore_id);
    let build = || {
        TestApp::builder()
            .no_role()
            .arg("--role-arn", "arn:aws:iam::123456789012:role/lakehook")
            .arg("--sts-endpoint", format!("https://localhost:{}", proxy.port()))
            .arg("--deadline", "5s")
    };
    let trusting = build().arg("--ca-file", ca.path().display()).start_before(&endpoint).await;
    let answer = trusting.put("/Patient/a", patient("a", 1)).await;
    assert_eq!(answer.status, 201, "{answer:?} {}", trusting.log());
    assert_eq!(plain.alive(), ["Patient/a"]);
    let doubting = build().start_before(&endpoint).await;
    let answer = doubting.put("/Patient/a", patient("a", 1)).await;
    assert!([502, 503].contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn no_secret_is_ever_shown() {
    let app = TestApp::builder().arg("--log", "trace").start().await;
    app.put("/Patient/a", patient("a", 1)).await;
    app.fault(r#"{"status":403,"body":"","service":"healthlake"}"#);
    app.put("/Patient/a", patient("a", 2)).await;
    app.fault(r#"{"status":500,"service":"sts"}"#);
    app.put("/Patient/a", patient("a", 3)).await;
    app.delivery_lines(3).await;
    let shown = app.log() + &app.admin("/readyz").await.body + &app.admin("/metrics").await.body;
    let secret = &app.sandbox.config().secret_access_key;
    for mark in [secret.as_str(), "AWS4-HMAC", "x-amz-security-token", crate::support::app::TOKEN] {
        assert!(!shown.contains(mark), "{mark} is shown");
    }
}
