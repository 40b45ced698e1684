//! Bodies without end, and small ones that become large.

use std::io::Write;
use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

fn head(token: &str, more: &str) -> String {
    format!(
        "PUT /fhir/Patient/a HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-type: application/fhir+json\r\n{more}\r\n\r\n"
    )
}

/// Sends chunks until the server ends it; what it answered.
async fn endless(app: &TestApp, token: &str) -> String {
    let mut stream = connect(app).await;
    stream.write_all(head(token, "transfer-encoding: chunked").as_bytes()).await.unwrap();
    let (mut read, mut write) = stream.into_split();
    let chunk = format!("10000\r\n{}\r\n", " ".repeat(0x10000));
    let writing = tokio::spawn(async move {
        let mut sent = 0;
        while write.write_all(chunk.as_bytes()).await.is_ok() {
            sent += chunk.len() as u64;
            assert!(sent < 256 * MIB, "the server reads on and on");
        }
    });
    let mut came = Vec::new();
    let reading = read.read_to_end(&mut came);
    let _ = timeout(LONG, reading).await.expect("the connection ends");
    drop(read);
    timeout(LONG, writing).await.expect("cut").unwrap();
    String::from_utf8_lossy(&came).into_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_without_end_is_cut_at_the_limit() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    for (token, status) in [("no-token-of-the-cdr", 401), (TOKEN, 413)] {
        let several = (0..8).map(|_| endless(&app, token));
        for came in futures_util::future::join_all(several).await {
            // The answer may be lost where the connection is cut in the middle of what is sent.
            assert!(came.is_empty() || statuses(&came) == [status], "{came}");
        }
    }
    honest.were_served().await;
    assert!(app.stored("Patient/a").is_none());
    // Eight bodies of 5 MiB, and what grows to hold them.
    memory.grew_within(192 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_length_that_nobody_can_send_is_refused_unread() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    for (length, status) in [
        ("5242881", 413),
        ("10995116277760", 413),
        ("18446744073709551613", 413),
        ("18446744073709551616", 400),
        ("99999999999999999999999999", 400),
    ] {
        let mut stream = connect(&app).await;
        stream.write_all(head(TOKEN, &format!("content-length: {length}")).as_bytes()).await.unwrap();
        let mut came = [0; 12];
        timeout(LONG, stream.read_exact(&mut came)).await.expect("answered").unwrap();
        let came = String::from_utf8_lossy(&came);
        // hyper has no answer to a length beyond what it can count to but 400 or an end.
        assert!(statuses(&came) == [status] || statuses(&came) == [400], "{length}: {came}");
    }
    memory.grew_within(32 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn bodies_that_drip_keep_nobody_out() {
    let app = builder().arg("--body-timeout", "2s").start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let drip = async |token: &str| {
        let mut stream = connect(&app).await;
        stream.write_all(head(token, "content-length: 100000").as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let writing = async {
            while write.write_all(b" ").await.is_ok() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let mut came = Vec::new();
        let reading = read.read_to_end(&mut came);
        let _ = timeout(LONG, futures_util::future::join(writing, reading)).await.expect("cut");
        String::from_utf8_lossy(&came).into_owned()
    };
    // Without a token their number does not matter; with one they have a place, but not for long.
    let strangers = futures_util::future::join_all((0..400).map(|_| drip("no-token-of-the-cdr")));
    let known = futures_util::future::join_all((0..100).map(|_| drip(TOKEN)));
    let (strangers, known) = tokio::join!(strangers, known);
    for (answers, status) in [(strangers, 401), (known, 408)] {
        for came in answers {
            assert!(came.is_empty() || statuses(&came) == [status], "{status}: {came}");
        }
    }
    honest.were_served().await;
    assert!(app.stored("Patient/a").is_none());
    memory.grew_within(64 * MIB);
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn gzip_bombs_go_off_within_the_limit() {
    let app = builder().arg("--max-bytes-in-flight", "64 MiB").start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    // Members of gzip one after the other are one stream.
    let member = gzip(&vec![b' '; 1 << 20]);
    let nested = bytes::Bytes::from(gzip(&gzip(&gzip(&vec![b' '; 64 << 20]))));
    let once = bytes::Bytes::from(gzip(&vec![b' '; 128 << 20]));
    let members = bytes::Bytes::from(member.repeat(128));
    assert!(once.len() < 4 << 20 && nested.len() < 100_000 && members.len() < 4 << 20);
    for (name, bomb, status) in [("once", once, 413), ("members", members, 413), ("nested", nested, 400)] {
        let several = (0..40).map(|_| {
            let put = app
                .request(reqwest::Method::PUT, "/Patient/a")
                .header("content-type", "application/fhir+json");
            put.header("content-encoding", "gzip").body(bomb.clone()).send()
        });
        let mut refused = 0;
        for answer in futures_util::future::join_all(several).await {
            let answer = answer.unwrap().status().as_u16();
            assert!([status, 503].contains(&answer), "{name}: {answer}");
            refused += usize::from(answer == status);
        }
        assert!(refused > 0, "{name}");
    }
    honest.were_served().await;
    assert!(app.stored("Patient/a").is_none());
    memory.grew_within(192 * MIB);
}
