//! Nothing is answered that was not signed rightly.

use super::*;

fn kind(got: &Got) -> String {
    assert!(got.headers.contains_key("x-amzn-requestid"));
    got.json()["__type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn an_unsigned_request_is_401_and_no_operation_outcome() {
    let bench = Bench::start(Config::default()).await;
    let got = bench.ask("PUT", "/Patient/a").body(&resource("Patient/a")).unsigned().send().await;
    assert_eq!((got.status.as_u16(), kind(&got).as_str()), (401, "MissingAuthenticationTokenException"));
    assert!(bench.sandbox.history().is_empty());
}

#[tokio::test]
async fn what_is_changed_on_the_way_is_refused() {
    let bench = Bench::start(Config::default()).await;
    let signed = || {
        bench.ask("PUT", "/Patient/a").header("content-type", "application/json").body(&resource("Patient/a"))
    };
    let mut path = signed().request();
    let changed = path.url().as_str().replace("/a", "/b");
    *path.url_mut() = changed.parse().unwrap();
    let mut query = signed().request();
    query.url_mut().set_query(Some("a=b"));
    let mut body = signed().request();
    *body.body_mut() = Some(reqwest::Body::from(r#"{"resourceType":"Patient","id":"b"}"#));
    let mut header = signed().request();
    header.headers_mut().insert("content-type", "text/plain".parse().unwrap());
    let mut method = signed().request();
    *method.method_mut() = http::Method::POST;
    for request in [path, query, body, header, method] {
        let what = format!("{request:?}");
        let answer = bench.client.execute(request).await.unwrap();
        assert_eq!(answer.status(), 403, "{what}");
        let json: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(json["__type"], "InvalidSignatureException");
        assert!(
            json["message"]
                .as_str()
                .unwrap()
                .starts_with("The request signature we calculated does not match")
        );
    }
    assert!(bench.sandbox.history().is_empty());
    assert_eq!(signed().send().await.status, 201);
}

#[tokio::test]
async fn other_keys_services_and_clocks_are_refused() {
    let bench = Bench::start(Config::default()).await;
    let unknown = Held { key_id: "AKIASOMEBODYELSE0000".into(), ..bench.held.clone() };
    let wrong = Held { secret: "wrong".into(), ..bench.held.clone() };
    let with_token = Held { token: Some("token".into()), ..bench.held.clone() };
    let get = || bench.ask("GET", "/Patient/a");
    for (ask, expected) in [
        (get().held(&unknown), "UnrecognizedClientException"),
        (get().held(&wrong), "InvalidSignatureException"),
        (get().held(&with_token), "UnrecognizedClientException"),
        (get().service("execute-api"), "InvalidSignatureException"),
        (get().unsigned().header("authorization", "Bearer abc"), "IncompleteSignatureException"),
    ] {
        let got = ask.send().await;
        assert_eq!((got.status.as_u16(), kind(&got).as_str()), (403, expected));
    }
    let old = get().request();
    bench.advance(Duration::from_secs(301));
    let answer = bench.client.execute(old).await.unwrap();
    assert_eq!(answer.status(), 403);
    assert!(answer.text().await.unwrap().contains("Signature expired"));
}

#[tokio::test]
async fn another_region_is_refused() {
    let here = Bench::start(Config::default()).await;
    let there = Bench::start(Config { region: "eu-west-2".into(), ..Config::default() }).await;
    let mut request = there.ask("GET", "/Patient/a").header("host", &here.addr.to_string()).request();
    request.url_mut().set_port(Some(here.addr.port())).unwrap();
    let answer = here.client.execute(request).await.unwrap();
    assert_eq!(answer.status(), 403);
}
