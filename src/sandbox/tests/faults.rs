//! Faults, met as a client meets them.

use super::*;

#[tokio::test]
async fn a_status_is_answered_and_nothing_done() {
    let bench = Bench::start(Config::default()).await;
    bench
        .add_fault(r#"{"status":503,"body":"<html>busy</html>","contentType":"text/html","headers":{"retry-after":"7"},"count":1}"#)
        .await;
    let got = bench.put("Patient/a").await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (503, "<html>busy</html>"));
    assert_eq!(
        (&got.headers["content-type"], &got.headers["retry-after"]),
        (&"text/html".parse().unwrap(), &"7".parse().unwrap())
    );
    assert!(bench.sandbox.history().is_empty());
    assert_eq!(bench.put("Patient/a").await.status, 201);
}

#[tokio::test]
async fn a_body_alone_replaces_the_answer_of_a_write_that_took_effect() {
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"body":"garbage","count":1}"#).await;
    let got = bench.put("Patient/a").await;
    assert_eq!((got.status.as_u16(), got.text.as_str()), (201, "garbage"));
    assert_eq!(bench.sandbox.history().len(), 1);
}

#[tokio::test]
async fn a_cut_ends_the_connection_before_or_after_the_write() {
    let bench = Bench::start(Config::default()).await;
    for (cut, writes) in [("before", 0), ("after", 1)] {
        bench.sandbox.reset();
        bench.add_fault(&format!(r#"{{"cut":"{cut}","method":"PUT"}}"#)).await;
        let error = bench.ask("PUT", "/Patient/a").body(&resource("Patient/a")).try_send().await.unwrap_err();
        assert!(error.is_request() && error.status().is_none(), "{error:?}");
        assert_eq!(bench.sandbox.history().len(), writes, "{cut}");
        let line = bench.sandbox.requests().pop().unwrap();
        assert_eq!((line.status, line.signature), (None, "valid"));
    }
}

/// On a bare socket: not one byte comes before the end.
#[tokio::test]
async fn a_cut_sends_no_byte() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"cut":"before"}"#).await;
    let request = bench.ask("GET", "/Patient/a").request();
    let mut text = format!("GET {} HTTP/1.1\r\nhost: {}\r\n", request.url().path(), bench.addr);
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    let mut stream = tokio::net::TcpStream::connect(bench.addr).await.unwrap();
    stream.write_all(format!("{text}\r\n").as_bytes()).await.unwrap();
    let mut read = Vec::new();
    let _ = stream.read_to_end(&mut read).await;
    assert_eq!(read, b"");
    assert_eq!(bench.sandbox.requests().len(), 1);
}

#[tokio::test]
async fn a_late_write_takes_effect_after_its_answer() {
    let bench = Bench::start(Config::default()).await;
    for (fault, status) in [
        (r#"{"lateMs":300,"count":1}"#, Some(504)),
        (r#"{"lateMs":300,"status":500,"count":1}"#, Some(500)),
        (r#"{"lateMs":300,"cut":"before","count":1}"#, None),
    ] {
        bench.sandbox.reset();
        bench.add_fault(fault).await;
        let got = bench.ask("PUT", "/Patient/a").body(&resource("Patient/a")).try_send().await;
        assert_eq!(got.ok().map(|got| got.status.as_u16()), status);
        eventually(|| bench.sandbox.history().len() == 1).await;
    }
}

#[tokio::test]
async fn what_a_fault_holds_back_is_void_after_a_reset() {
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"lateMs":50,"count":1}"#).await;
    assert_eq!(bench.put("Patient/a").await.status, 504);
    bench.add_fault(r#"{"delayMs":1000,"count":1}"#).await;
    let (delayed, ()) = tokio::join!(bench.put("Patient/a"), async {
        eventually(|| bench.sandbox.faults().is_empty()).await;
        bench.sandbox.reset();
    });
    // The first may have taken effect before the reset, which then undid it.
    assert_eq!(delayed.status, 500);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(bench.sandbox.history().is_empty());
}

#[tokio::test]
async fn a_late_write_undoes_a_newer_one() {
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"lateMs":1500,"count":1}"#).await;
    let with = |version: &str| {
        format!(r#"{{"resourceType":"Patient","id":"a","meta":{{"versionId":"{version}"}}}}"#)
    };
    assert_eq!(bench.ask("PUT", "/Patient/a").body(&with("1")).send().await.status, 504);
    assert_eq!(bench.ask("PUT", "/Patient/a").body(&with("2")).send().await.status, 201);
    eventually(|| bench.sandbox.history().len() == 2).await;
    let versions: Vec<_> =
        bench.sandbox.history().into_iter().filter_map(|write| write.cdr_version).collect();
    assert_eq!(versions, ["2", "1"]);
}

#[tokio::test]
async fn a_delayed_write_takes_effect_although_the_caller_left() {
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"delayMs":300,"count":1}"#).await;
    tokio::select! {
        _ = bench.put("Patient/a") => panic!("answered before the fault was seen to strike"),
        () = eventually(|| bench.sandbox.faults().is_empty()) => {}
    }
    eventually(|| bench.sandbox.history().len() == 1).await;
    eventually(|| bench.sandbox.requests().iter().any(|line| line.status == Some(201))).await;
}

#[tokio::test]
async fn throttling_on_demand_is_throttling() {
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"throttle":true,"headers":{"retry-after":"2"},"type":"Patient","count":1}"#).await;
    assert_eq!(bench.put("Observation/a").await.status, 201);
    let got = bench.put("Patient/a").await;
    assert_eq!(got.status, 429);
    assert_eq!(got.json()["__type"], "ThrottlingException");
    assert_eq!(got.headers["retry-after"], "2");
}

#[tokio::test]
async fn faults_can_be_given_at_the_start_and_for_sts_alone() {
    let fault: Fault = serde_json::from_str(r#"{"status":500,"service":"sts","count":1}"#).unwrap();
    let bench = Bench::start(Config { faults: vec![fault], ..Config::default() }).await;
    assert_eq!(bench.put("Patient/a").await.status, 201);
    let call = || {
        bench
            .ask_at("POST", "/".into())
            .service("sts")
            .body("Action=GetCallerIdentity&Version=2011-06-15")
            .send()
    };
    let failed = call().await;
    assert_eq!(failed.status, 500);
    assert!(failed.text.contains("<Code>InternalFailure</Code>"), "{}", failed.text);
    assert_eq!(call().await.status, 200);
}

#[tokio::test]
async fn a_request_that_is_not_signed_rightly_uses_up_no_fault() {
    let bench = Bench::start(Config::default()).await;
    bench.add_fault(r#"{"status":503,"count":1}"#).await;
    assert_eq!(bench.ask("GET", "/Patient/a").unsigned().send().await.status, 401);
    assert_eq!(bench.get("/Patient/a").await.status, 503);
}
