//! Heads that never end, or are too large.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn slowloris_is_cut_however_many_there_are() {
    let app = builder().arg("--head-timeout", "1s").start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let drips = (0..500).map(|_| async {
        let mut stream = connect(&app).await;
        stream.write_all(b"PUT /fhir/Patient/a HTTP/1.1\r\nhost: a\r\n").await.unwrap();
        let (mut read, mut write) = stream.split();
        let drip = async {
            // A header a time, for ever: only the server ends it.
            while write.write_all(b"x: y\r\n").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let cut = async {
            let mut byte = [0];
            read.read(&mut byte).await
        };
        timeout(LONG, async {
            tokio::select! {
                () = drip => {}
                // Neither answered nor left open.
                read = cut => assert!(!matches!(read, Ok(1..)), "{read:?}"),
            }
        })
        .await
        .expect("cut");
    });
    futures_util::future::join_all(drips).await;
    honest.were_served().await;
    memory.grew_within(64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_heads_are_refused_or_cut() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let start = "DELETE /fhir/Patient/a HTTP/1.1\r\nhost: a\r\n";
    let heads = [
        ("a long header", format!("{start}x: {}\r\n\r\n", "x".repeat(1 << 20))),
        ("a long name", format!("{start}{}: y\r\n\r\n", "x".repeat(1 << 20))),
        ("many headers", format!("{start}{}\r\n", "x: y\r\n".repeat(50_000))),
        ("a long path", format!("DELETE /fhir/Patient/{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20))),
        ("a long query", format!("POST /fhir?{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(1 << 20))),
        ("a long method", format!("{} /fhir HTTP/1.1\r\nhost: a\r\n\r\n", "A".repeat(1 << 20))),
        ("no line end", "A".repeat(1 << 20)),
        ("a long token", format!("{start}authorization: Bearer {}\r\n\r\n", "x".repeat(1 << 20))),
    ];
    for (name, head) in &heads {
        let several = (0..16).map(|_| exchange(&app, head.as_bytes()));
        for came in futures_util::future::join_all(several).await {
            let statuses = statuses(&came);
            assert!(statuses.len() <= 1, "{name}: {came}");
            assert!(statuses.iter().all(|status| [400, 414, 431].contains(status)), "{name}: {came}");
        }
    }
    honest.were_served().await;
    assert!(app.alive().iter().all(|key| key != "Patient/a"));
    memory.grew_within(96 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_end_is_not_kept() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let floods = (0..8).map(|_| async {
        let mut stream = connect(&app).await;
        stream.write_all(b"PUT /fhir/Patient/a HTTP/1.1\r\nhost: a\r\nx: ").await.unwrap();
        let block = vec![b'x'; 64 << 10];
        let mut sent = 0_u64;
        while stream.write_all(&block).await.is_ok() {
            sent += block.len() as u64;
            assert!(sent < 64 * MIB, "the server reads on and on");
        }
    });
    timeout(LONG, futures_util::future::join_all(floods)).await.expect("cut");
    honest.were_served().await;
    memory.grew_within(64 * MIB);
}
