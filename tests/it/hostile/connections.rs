//! Connections that only are there.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Whether the other side has ended it.
fn is_ended(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_idle_connections_keep_nobody_out() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let wanted = connections_within_limit(10_000);
    let mut idle = Vec::with_capacity(wanted);
    for number in 0..wanted {
        let mut stream = connect(&app).await;
        // Each second one has been of use once.
        if number % 2 == 0 {
            stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
            let mut answer = [0; 15];
            timeout(LONG, stream.read_exact(&mut answer)).await.expect("answered").unwrap();
            assert_eq!(&answer, b"HTTP/1.1 200 OK");
        }
        idle.push(stream);
    }
    for n in 0..20 {
        let id = format!("after-{n}");
        assert_eq!(app.put(&format!("/Patient/{id}"), patient(&id, 1)).await.status, 201);
    }
    honest.were_served().await;
    let kept = 8_192;
    if wanted > kept {
        // What was idle for longest made room, and not everything did.
        let mut ended = 0;
        for _ in 0..500 {
            ended = idle.iter().filter(|stream| is_ended_after_answer(stream)).count();
            if ended + kept >= wanted {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(ended + kept >= wanted && ended < wanted / 2, "{ended} of {wanted} were ended");
        let late = idle.iter().rev().take(100).filter(|stream| is_ended_after_answer(stream)).count();
        assert_eq!(late, 0, "the youngest are not the ones");
    }
    assert!(!app.log().contains("could not accept"), "{}", app.log());
    // 32 KiB each
    memory.grew_within(320 * MIB);
}

/// As [`is_ended`], behind the rest of an answer.
fn is_ended_after_answer(stream: &TcpStream) -> bool {
    loop {
        match stream.try_read(&mut [0; 512]) {
            Ok(1..) => {}
            Ok(0) => return true,
            Err(error) => return error.kind() != std::io::ErrorKind::WouldBlock,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_burst_of_connections_is_not_dropped() {
    let app = builder().start().await;
    let most: usize =
        std::fs::read_to_string("/proc/sys/net/core/somaxconn").unwrap().trim().parse().unwrap();
    // Nobody accepts: the kernel has to hold them.
    app.signal("-STOP");
    let burst = (0..1_000.min(most)).map(|_| connect(&app));
    let burst = timeout(LONG, futures_util::future::join_all(burst)).await;
    app.signal("-CONT");
    let burst = burst.expect("taken by the kernel");
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.status, 201, "{} before it", burst.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn above_the_bound_an_idle_connection_makes_room_and_one_in_use_does_not() {
    let app = builder().arg("--max-connections", 8).start().await;
    app.fault(r#"{"delayMs":3000,"service":"healthlake","key":"Patient/slow"}"#);
    let body = patient("slow", 1);
    let mut busy = connect(&app).await;
    let head = format!(
        "PUT /fhir/Patient/slow HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    busy.write_all((head + &body).as_bytes()).await.unwrap();
    while app.delivery_in_flight().await == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut idle = Vec::new();
    for _ in 0..40 {
        idle.push(connect(&app).await);
    }
    assert_eq!(app.put("/Patient/p1", patient("p1", 1)).await.status, 201);
    let mut came = [0; 12];
    timeout(LONG, busy.read_exact(&mut came)).await.expect("answered").unwrap();
    assert_eq!(&came, b"HTTP/1.1 201");
    assert!(idle.iter().filter(|stream| is_ended(stream)).count() >= 30);
    assert!(app.log().contains("--max-connections"), "{}", app.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_low_soft_limit_of_open_files_is_raised() {
    let app = builder().soft_limit_of_files(300).start().await;
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", app.pid())).unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let numbers: Vec<&str> = line.split_whitespace().skip(3).take(2).collect();
    assert_eq!(numbers[0], numbers[1], "soft and hard: {line}");
    let honest = Honest::start(&app);
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(connect(&app).await);
    }
    honest.were_served().await;
    assert!(!app.log().contains("could not accept"), "{}", app.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_hard_limit_is_low_fewer_connections_are_taken_and_healthlake_is_still_reached() {
    let app = builder().arg("--max-in-flight", 32).hard_limit_of_files(300).start().await;
    assert!(app.log().contains("140 connections are taken"), "{}", app.log());
    let honest = Honest::start(&app);
    let mut idle = Vec::new();
    for _ in 0..600 {
        idle.push(connect(&app).await);
    }
    honest.were_served().await;
    assert!(!app.log().contains("could not accept"), "{}", app.log());
}
