//! Who may call, on the wire.

use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Certificate, Client, Identity};
use sha2::Sha256;

use crate::support::app::{TestApp, patient, send};
use crate::support::tls::{Authority, Issued};

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

fn put(app: &TestApp, client: &Client) -> reqwest::RequestBuilder {
    let url = format!("{}/Patient/a", app.endpoint());
    client.put(url).header("content-type", "application/fhir+json").body(patient("a", 1))
}

#[tokio::test]
async fn a_token_file_is_read_again_so_that_tokens_can_be_rotated() {
    let tokens = file("first-token-of-the-cdr\n");
    let app = TestApp::builder().no_token().arg("--token-file", tokens.path().display()).start().await;
    let with = async |token: &str| send(put(&app, &app.http).bearer_auth(token)).await.status;
    assert_eq!((with("first-token-of-the-cdr").await, with("second-token-of-the-cdr").await), (201, 401));
    std::fs::write(tokens.path(), "first-token-of-the-cdr\nsecond-token-of-the-cdr\n").unwrap();
    for _ in 0..200 {
        if with("second-token-of-the-cdr").await == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((with("first-token-of-the-cdr").await, with("second-token-of-the-cdr").await), (200, 200));
    std::fs::write(tokens.path(), "second-token-of-the-cdr\n").unwrap();
    for _ in 0..200 {
        if with("first-token-of-the-cdr").await == 401 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the old token is still taken");
}

#[tokio::test]
async fn basic_authentication() {
    let app = TestApp::builder().no_token().arg("--basic", "cdr:pass-word").start().await;
    assert_eq!(send(put(&app, &app.http).basic_auth("cdr", Some("pass-word"))).await.status, 201);
    assert_eq!(send(put(&app, &app.http).basic_auth("cdr", Some("password"))).await.status, 401);
}

#[tokio::test]
async fn medplum_s_signature_over_the_raw_body() {
    let app = TestApp::builder().no_token().arg("--hmac-secret", "medplum-secret").start().await;
    let signature = |body: &str| {
        let mut mac = Hmac::<Sha256>::new_from_slice(b"medplum-secret").unwrap();
        mac.update(body.as_bytes());
        hex::encode(mac.finalize().into_bytes())
    };
    let post = |body: &str, signature: String| {
        let post = app.http.post(app.endpoint()).header("content-type", "application/fhir+json");
        post.header("x-signature", signature).body(body.to_owned())
    };
    let body = patient("a", 1);
    assert_eq!(send(post(&body, signature(&body))).await.status, 201);
    let forged = send(post(&patient("a", 2), signature(&body))).await;
    assert_eq!((forged.status, forged.verdict().as_str()), (401, "unauthenticated"));
    assert_eq!(send(post(&body, "00".into())).await.status, 401);
    let deleted = post("{}", signature("{}")).header("x-medplum-deleted-resource", "Patient/a");
    assert_eq!(send(deleted).await.status, 204);
    assert_eq!(app.writes(), 2);
}

fn client(authority: &Authority, identity: Option<Issued>) -> Client {
    let ca = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    let mut builder = Client::builder().no_proxy().tls_certs_only([ca]);
    if let Some(issued) = identity {
        builder =
            builder.identity(Identity::from_pem((issued.certificate + &issued.key).as_bytes()).unwrap());
    }
    builder.build().unwrap()
}

#[tokio::test]
async fn mutual_tls_and_health_checks_without_a_certificate() {
    let (servers, clients, strangers) = (Authority::new(), Authority::new(), Authority::new());
    let issued = servers.issue();
    let (certificate, key, ca) = (file(&issued.certificate), file(&issued.key), file(&clients.pem()));
    let app = TestApp::builder()
        .no_token()
        .arg("--tls-cert", certificate.path().display())
        .arg("--tls-key", key.path().display())
        .arg("--tls-client-ca", ca.path().display())
        .start()
        .await;
    assert!(app.endpoint().starts_with("https://"));
    let known = client(&servers, Some(clients.issue()));
    assert_eq!(send(put(&app, &known)).await.status, 201);
    let bare = client(&servers, None);
    assert_eq!(send(put(&app, &bare)).await.status, 401);
    assert_eq!(send(bare.get(format!("{}/healthz", app.origin()))).await.status, 200);
    let stranger = client(&servers, Some(strangers.issue()));
    assert!(put(&app, &stranger).send().await.is_err(), "its certificate is of another CA");
    assert_eq!(app.writes(), 1);
}

#[tokio::test]
async fn a_renewed_certificate_is_served_without_a_restart() {
    let (old, new) = (Authority::new(), Authority::new());
    let issued = old.issue();
    let (certificate, key) = (file(&issued.certificate), file(&issued.key));
    let app = TestApp::builder()
        .arg("--tls-cert", certificate.path().display())
        .arg("--tls-key", key.path().display())
        .start()
        .await;
    let health = format!("{}/healthz", app.origin());
    assert_eq!(send(client(&old, None).get(&health)).await.status, 200);
    assert!(client(&new, None).get(&health).send().await.is_err());
    // Half of a renewal: the key does not fit, the old one stays.
    let renewed = new.issue();
    std::fs::write(key.path(), &renewed.key).unwrap();
    tokio::time::sleep(Duration::from_millis(2500)).await;
    assert_eq!(send(client(&old, None).get(&health)).await.status, 200);
    std::fs::write(certificate.path(), &renewed.certificate).unwrap();
    for _ in 0..200 {
        if client(&new, None).get(&health).send().await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the new certificate is not served");
}
