//! Too much, too slow, hung up.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::support::app::{TOKEN, TestApp, patient};

const LONG: Duration = Duration::from_secs(30);

fn head(method: &str, path: &str, length: usize) -> String {
    format!(
        "{method} /fhir{path} HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/fhir+json\r\ncontent-length: {length}\r\n\r\n"
    )
}

async fn connect(app: &TestApp) -> TcpStream {
    TcpStream::connect(app.address()).await.unwrap()
}

/// Reads one answer's head, or nothing where the connection ends without one.
async fn answer_head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        let mut byte = [0];
        while !bytes.ends_with(b"\r\n\r\n") && matches!(stream.read(&mut byte).await, Ok(1)) {
            bytes.push(byte[0]);
        }
    };
    timeout(LONG, read).await.expect("an answer or an end");
    String::from_utf8(bytes).unwrap()
}

async fn wait_for(what: &str, mut done: impl AsyncFnMut() -> bool) {
    for _ in 0..1000 {
        if done().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within ten seconds");
}

async fn in_flight(app: &TestApp, n: usize) {
    let line = format!("lakehook_in_flight {n}");
    wait_for(&line, async || app.admin("/metrics").await.body.lines().any(|found| found == line)).await;
}

#[tokio::test]
async fn above_the_deliveries_in_flight_503_comes_before_the_body_is_read() {
    let app = TestApp::builder().arg("--max-in-flight", 2).start().await;
    app.fault(r#"{"delayMs":3000,"service":"healthlake","count":2}"#);
    let (one, two) = (patient("a", 1), patient("b", 1));
    let held = async { tokio::join!(app.put("/Patient/a", one), app.put("/Patient/b", two)) };
    let refused = async {
        in_flight(&app, 2).await;
        let mut stream = connect(&app).await;
        // Not a byte of the body is sent.
        stream.write_all(head("PUT", "/Patient/c", 1000).as_bytes()).await.unwrap();
        answer_head(&mut stream).await
    };
    let ((one, two), refused) = tokio::join!(held, refused);
    assert!(refused.starts_with("HTTP/1.1 503"), "{refused}");
    assert!(refused.contains("retry-after: 1"), "{refused}");
    assert_eq!((one.status, two.status), (201, 201), "those in flight are not hurt");
    assert_eq!(app.put("/Patient/c", patient("c", 1)).await.status, 201);
}

#[tokio::test]
async fn above_the_bytes_in_flight_it_is_503_too() {
    let app =
        TestApp::builder().arg("--max-body", "64 KiB").arg("--max-bytes-in-flight", "64 KiB").start().await;
    app.fault(r#"{"delayMs":3000,"service":"healthlake","count":1}"#);
    let big = patient("a", 1).replace("F1", &"x".repeat(40_000));
    let held = app.put("/Patient/a", big.clone());
    let refused = async {
        in_flight(&app, 1).await;
        app.put("/Patient/b", big.replace("\"a\"", "\"b\"")).await
    };
    let (held, refused) = tokio::join!(held, refused);
    assert_eq!((held.status, refused.status), (201, 503));
    assert_eq!(refused.verdict(), "overloaded");
}

#[tokio::test]
async fn a_slow_head_is_cut_and_an_idle_connection_kept() {
    let app = TestApp::builder().arg("--head-timeout", "300ms").start().await;
    let mut slow = connect(&app).await;
    slow.write_all(b"PUT /fhir/Patient/a HTTP/1.1\r\nhost: a\r\n").await.unwrap();
    assert_eq!(answer_head(&mut slow).await, "", "cut without an answer");

    let mut idle = connect(&app).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    for n in 0..2 {
        idle.write_all(head("DELETE", "/Patient/a", 0).as_bytes()).await.unwrap();
        assert!(answer_head(&mut idle).await.starts_with("HTTP/1.1 204"), "{n}");
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
}

#[tokio::test]
async fn an_idle_connection_ends_after_the_keep_alive_time() {
    let app = TestApp::builder().arg("--keep-alive", "300ms").start().await;
    let mut silent = connect(&app).await;
    assert_eq!(answer_head(&mut silent).await, "");
    let mut used = connect(&app).await;
    used.write_all(head("DELETE", "/Patient/a", 0).as_bytes()).await.unwrap();
    assert!(answer_head(&mut used).await.starts_with("HTTP/1.1 204"));
    assert_eq!(answer_head(&mut used).await, "");
}

#[tokio::test]
async fn a_slow_body_is_408_and_nothing_is_forwarded() {
    let app = TestApp::builder().arg("--body-timeout", "300ms").start().await;
    let mut slow = connect(&app).await;
    slow.write_all(head("PUT", "/Patient/a", 1000).as_bytes()).await.unwrap();
    slow.write_all(b"{\"resourceType\":").await.unwrap();
    let answer = answer_head(&mut slow).await;
    assert!(answer.starts_with("HTTP/1.1 408") && answer.contains("connection: close"), "{answer}");
    assert_eq!(app.forwarded(), 0);
    in_flight(&app, 0).await;
}

#[tokio::test]
async fn a_body_that_is_cut_is_not_forwarded() {
    let app = TestApp::start().await;
    let body = patient("a", 1);
    let mut stream = connect(&app).await;
    // The part that came would be a whole resource: only the length tells.
    stream.write_all(head("PUT", "/Patient/a", body.len() + 1).as_bytes()).await.unwrap();
    stream.write_all(body.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    answer_head(&mut stream).await;
    drop(stream);
    in_flight(&app, 0).await;
    assert_eq!(app.forwarded(), 0);
}

#[tokio::test]
async fn a_caller_that_hangs_up_does_not_stop_a_delivery() {
    let app = TestApp::start().await;
    app.fault(r#"{"delayMs":700,"service":"healthlake","count":1}"#);
    let body = patient("a", 1);
    let mut stream = connect(&app).await;
    stream.write_all((head("PUT", "/Patient/a", body.len()) + &body).as_bytes()).await.unwrap();
    in_flight(&app, 1).await;
    drop(stream);
    let line = app.delivery_lines(1).await.remove(0);
    assert_eq!(line["verdict"], "mirrored", "it is remembered too: {line}");
    assert_eq!(app.alive(), ["Patient/a"]);
    assert_eq!(app.put("/Patient/a", patient("a", 0)).await.verdict(), "superseded");
}

#[tokio::test]
async fn two_deliveries_of_one_resource_never_race() {
    let app = TestApp::start().await;
    app.fault(r#"{"delayMs":100,"service":"healthlake"}"#);
    let all = (1..=8).map(|version| app.put("/Patient/a", patient("a", version)));
    let answers = futures_util::future::join_all(all).await;
    assert!(answers.iter().all(|answer| [200, 201].contains(&answer.status)));
    let versions: Vec<u32> = app
        .sandbox
        .history()
        .iter()
        .map(|write| write.cdr_version.as_deref().unwrap().parse().unwrap())
        .collect();
    assert!(versions.is_sorted(), "{versions:?} went back");
    assert_eq!(app.stored("Patient/a").unwrap()["name"][0]["family"], "F8");
}

#[tokio::test]
async fn oversized_heads_are_refused() {
    let app = TestApp::start().await;
    let mut stream = connect(&app).await;
    let huge = format!("DELETE /fhir/Patient/a HTTP/1.1\r\nhost: a\r\nx: {}\r\n\r\n", "x".repeat(200_000));
    let _ = stream.write_all(huge.as_bytes()).await;
    let answer = answer_head(&mut stream).await;
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(app.put("/Patient/a", patient("a", 1)).await.status, 201);
}

#[tokio::test]
async fn http_2_without_tls_is_spoken() {
    let app = TestApp::start().await;
    let stream = TokioIo::new(connect(&app).await);
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let put = |id: &str| {
        http::Request::put(format!("http://{}/fhir/Patient/{id}", app.address()))
            .header("authorization", format!("Bearer {TOKEN}"))
            .header("content-type", "application/fhir+json")
            .body(Full::new(bytes::Bytes::from(patient(id, 1))))
            .unwrap()
    };
    let (one, two) = tokio::join!(sender.clone().send_request(put("a")), sender.send_request(put("b")));
    assert_eq!(
        (one.unwrap().status(), two.as_ref().unwrap().status()),
        (http::StatusCode::CREATED, http::StatusCode::CREATED)
    );
    assert!(two.unwrap().into_body().collect().await.is_ok());
}
