//! The foreign servers work at all: when another test fails, look here first.

use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sts::config::{BehaviorVersion, Region};
use axum::Router;
use axum::http::{Method, Uri};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::hapi::{Hapi, send_deletes};
use crate::support::moto::Moto;

#[tokio::test]
async fn hapi_delivers_a_put_and_a_delete() {
    let (endpoint, mut requests) = listener().await;
    let hapi = Hapi::start().await;
    let payload = Some("application/fhir+json");
    hapi.subscribe("mirror", "[*]", &endpoint, payload, &["X-Test: 1"], &[send_deletes()]).await;
    hapi.wait_active("mirror").await;

    hapi.put("Patient", "p-1", &json!({ "active": true })).await;
    assert_eq!(next(&mut requests).await, "PUT /hook/Patient/p-1");
    hapi.delete("Patient", "p-1").await;
    assert_eq!(next(&mut requests).await, "DELETE /hook/Patient/p-1");
    assert_eq!(hapi.read("Patient", "p-1").await, None);
    hapi.stop().await;
}

#[tokio::test]
async fn moto_answers_assume_role() {
    let moto = Moto::start().await;
    let config = aws_sdk_sts::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDTEST", "secret", None, None, "test"))
        .endpoint_url(moto.endpoint_url())
        .build();
    let role = aws_sdk_sts::Client::from_conf(config)
        .assume_role()
        .role_arn("arn:aws:iam::123456789012:role/lakehook")
        .role_session_name("lakehook")
        .send()
        .await
        .unwrap();
    assert!(role.credentials().unwrap().access_key_id().starts_with("ASIA"));
    moto.stop().await;
}

/// An endpoint that says 200 to everything and tells what came.
async fn listener() -> (String, mpsc::UnboundedReceiver<String>) {
    let (tell, requests) = mpsc::unbounded_channel();
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}/hook", socket.local_addr().unwrap());
    let app = Router::new().fallback(move |method: Method, uri: Uri| {
        tell.send(format!("{method} {uri}")).unwrap();
        async {}
    });
    tokio::spawn(async move { axum::serve(socket, app).await.unwrap() });
    (endpoint, requests)
}

async fn next(requests: &mut mpsc::UnboundedReceiver<String>) -> String {
    tokio::time::timeout(Duration::from_secs(30), requests.recv()).await.expect("no delivery came").unwrap()
}
