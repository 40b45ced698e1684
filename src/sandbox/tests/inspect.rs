//! `/_sandbox/`: the names that users' scripts rely on.

use super::*;

fn lines(got: &Got) -> Vec<Value> {
    assert_eq!(got.headers["content-type"], "application/x-ndjson");
    got.text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn names(line: &Value) -> Vec<&str> {
    line.as_object().unwrap().keys().map(String::as_str).collect()
}

#[tokio::test]
async fn history_names_each_write_that_took_effect() {
    let bench = Bench::start(Config::default()).await;
    let body = r#"{"resourceType":"Patient","id":"a","meta":{"versionId":"17","lastUpdated":"2026-01-02T03:04:05.6+01:00"}}"#;
    bench.ask("PUT", "/Patient/a").body(body).send().await;
    bench.ask("PUT", "/Patient/a").body("{").send().await;
    bench.delete("Patient/a").await;
    let lines = lines(&bench.plain("GET", "/_sandbox/history", "").await);
    assert_eq!(lines.len(), 2);
    let mut sorted = names(&lines[0]);
    sorted.sort_unstable();
    assert_eq!(sorted, ["at", "cdrLastUpdated", "cdrVersion", "interaction", "key", "seq", "version"]);
    let text = |line: &Value, name: &str| line[name].to_string();
    assert_eq!(text(&lines[0], "seq"), "1");
    assert_eq!(text(&lines[0], "key"), "\"Patient/a\"");
    assert_eq!(text(&lines[0], "interaction"), "\"update\"");
    assert_eq!(text(&lines[0], "cdrVersion"), "\"17\"");
    assert_eq!(text(&lines[0], "cdrLastUpdated"), "\"2026-01-02T03:04:05.6+01:00\"");
    assert_eq!(text(&lines[0], "version"), "1");
    assert!(lines[0]["at"].as_str().unwrap().parse::<Timestamp>().is_ok());
    assert_eq!(text(&lines[1], "interaction"), "\"delete\"");
    assert_eq!(text(&lines[1], "cdrVersion"), "null");
    assert_eq!(text(&lines[1], "version"), "2");
}

#[tokio::test]
async fn resources_are_what_is_alive_a_line_each() {
    let bench = Bench::start(Config::default()).await;
    let pretty = "{\n \"resourceType\" : \"Patient\",\n \"id\" : \"b\",\n \"x\" : 1.0\n}";
    bench.ask("PUT", "/Patient/b").body(pretty).send().await;
    bench.put("Patient/a").await;
    bench.put("Group/c").await;
    bench.put("Patient/gone").await;
    bench.delete("Patient/gone").await;
    let got = bench.plain("GET", "/_sandbox/resources", "").await;
    let keys: Vec<String> = lines(&got)
        .iter()
        .map(|line| format!("{}/{}", line["resourceType"], line["id"]).replace('"', ""))
        .collect();
    assert_eq!(keys, ["Group/c", "Patient/a", "Patient/b"]);
    assert!(got.text.contains("\"x\":1.0"));
    let typed: Vec<String> = bench.sandbox.resources().into_iter().map(|resource| resource.key).collect();
    assert_eq!(typed, keys);
}

#[tokio::test]
async fn requests_are_listed_with_their_verdicts() {
    let bench = Bench::start(Config::default()).await;
    bench.get("/Patient?_count=5").await;
    bench.ask("GET", "/Patient/a").unsigned().send().await;
    bench.ask("GET", "/Patient/a").held(&Held { secret: "wrong".into(), ..bench.held.clone() }).send().await;
    bench.plain("GET", "/_sandbox/history", "").await;
    let lines = lines(&bench.plain("GET", "/_sandbox/requests", "").await);
    let verdicts: Vec<&Value> = lines.iter().map(|line| &line["signature"]).collect();
    assert_eq!(verdicts, ["valid", "unsigned", "mismatch"]);
    assert_eq!(lines[0]["method"], "GET");
    assert!(lines[0]["path"].as_str().unwrap().ends_with("/r4/Patient"));
    assert_eq!(lines[0]["query"], "_count=5");
    assert_eq!(lines[0]["keyId"], bench.held.key_id.as_str());
    assert_eq!((&lines[1]["status"], &lines[1]["keyId"]), (&401.into(), &Value::Null));
    assert_eq!((&lines[2]["status"], &lines[2]["keyId"]), (&403.into(), &bench.held.key_id.as_str().into()));
}

#[tokio::test]
async fn faults_are_added_listed_and_cleared() {
    let bench = Bench::start(Config::default()).await;
    let added = bench.plain("POST", "/_sandbox/faults", r#"[{"status":503,"rate":0},{"delayMs":1}]"#).await;
    assert_eq!(added.text, r#"[{"status":503,"rate":0.0},{"delayMs":1}]"#);
    assert_eq!(bench.plain("GET", "/_sandbox/faults", "").await.text, added.text);
    for (bad, word) in [
        (r#"{"stauts":503}"#, "unknown field `stauts`"),
        ("{", "not a fault"),
        ("{}", "nothing happens"),
        (r#"[{"delayMs":1},{}]"#, "nothing happens"),
        (r#"{"cut":"during"}"#, "`during`"),
    ] {
        let refused = bench.plain("POST", "/_sandbox/faults", bad).await;
        assert_eq!(refused.status, 400);
        assert!(refused.json()["error"].as_str().unwrap().contains(word), "{}", refused.text);
    }
    assert_eq!(bench.sandbox.faults().len(), 2);
    assert_eq!(bench.plain("DELETE", "/_sandbox/faults", "").await.status, 204);
    assert!(bench.sandbox.faults().is_empty());
}

#[tokio::test]
async fn reset_empties_resources_history_and_faults() {
    let bench = Bench::start(Config::default()).await;
    bench.put("Patient/a").await;
    bench.add_fault(r#"{"status":503}"#).await;
    assert_eq!(bench.plain("POST", "/_sandbox/reset", "").await.status, 204);
    assert!(bench.sandbox.resources().is_empty() && bench.sandbox.history().is_empty());
    assert!(bench.sandbox.faults().is_empty());
    assert_eq!(bench.put("Patient/a").await.etag(), "W/\"1\"");
    assert_eq!(bench.sandbox.history()[0].seq, 1);
    assert_eq!(bench.sandbox.requests().len(), 2, "requests stay");
}

#[tokio::test]
async fn nobody_from_outside_is_answered() {
    use axum::extract::ConnectInfo;
    use tower::ServiceExt as _;
    let sandbox = Sandbox::new(Config::default());
    for (peer, status) in [
        (Some("127.0.0.1:9"), 200),
        (Some("[::1]:9"), 200),
        (Some("[::ffff:127.0.0.1]:9"), 200),
        (Some("192.0.2.7:9"), 403),
        (None, 403),
    ] {
        let mut request = http::Request::get("/_sandbox/resources").body(axum::body::Body::empty()).unwrap();
        if let Some(peer) = peer {
            request.extensions_mut().insert(ConnectInfo::<SocketAddr>(peer.parse().unwrap()));
        }
        let answer = sandbox.router().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), status, "{peer:?}");
    }
}

#[tokio::test]
async fn serving_ends_when_told() {
    let sandbox = Sandbox::new(Config::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = tokio::spawn(sandbox.serve(listener, async move { drop(stopped.await) }));
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{addr}/_sandbox/resources");
    assert_eq!(client.get(&url).send().await.unwrap().status(), 200);
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
    assert!(client.get(&url).send().await.is_err());
}
