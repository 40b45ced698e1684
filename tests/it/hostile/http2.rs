//! HTTP/2, frame by frame.

use std::time::Duration;

use tokio::io::AsyncWriteExt;

use super::*;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// `GET /` without a token, in HPACK's table
const REQUEST: &[u8] = &[0x82, 0x86, 0x84, 0x01, 0x01, b'a'];

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = vec![length[1], length[2], length[3], kind, flags];
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// Greets, with settings of the client's own.
async fn greeted(app: &TestApp, settings: &[u8]) -> TcpStream {
    let mut stream = connect(app).await;
    let mut greeting = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    greeting.extend(frame(SETTINGS, 0, 0, settings));
    stream.write_all(&greeting).await.unwrap();
    stream
}

/// Sends `frames` over and over, and reads nothing: until it is cut, nothing is taken any more, or `most` bytes are sent.
async fn flood(stream: &mut TcpStream, frames: &[u8], most: u64) -> u64 {
    let mut sent = 0;
    while sent < most {
        match timeout(Duration::from_secs(2), stream.write_all(frames)).await {
            Ok(Ok(())) => sent += frames.len() as u64,
            _ => return sent,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_go_on_and_on_are_not_kept() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    // A header of its own in each frame, and none is the last.
    let mut block = vec![0x00, 0x01, b'x', 0x7f, 0x81, 0x7e];
    block.resize(block.len() + 16_256, b'a');
    let floods = (0..8).map(|_| async {
        let mut stream = greeted(&app, &[]).await;
        stream.write_all(&frame(HEADERS, END_STREAM, 1, REQUEST)).await.unwrap();
        flood(&mut stream, &frame(CONTINUATION, 0, 1, &block), 64 * MIB).await
    });
    for sent in timeout(LONG, futures_util::future::join_all(floods)).await.expect("cut") {
        assert!(sent < 64 * MIB, "the server reads on and on");
    }
    honest.were_served().await;
    memory.grew_within(64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_are_taken_back_at_once_cost_nothing_that_stays() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let attacks = (0..4).map(|_| async {
        let mut stream = greeted(&app, &[]).await;
        for number in 0..20_000_u32 {
            let stream_id = 2 * number + 1;
            let mut frames = frame(HEADERS, END_STREAM | END_HEADERS, stream_id, REQUEST);
            frames.extend(frame(RST_STREAM, 0, stream_id, &8_u32.to_be_bytes()));
            match timeout(Duration::from_secs(2), stream.write_all(&frames)).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
    });
    timeout(LONG, futures_util::future::join_all(attacks)).await.expect("ends");
    honest.were_served().await;
    memory.grew_within(64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_pings_and_settings_are_held_up_by_the_answers_nobody_reads() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    let (ping, settings) = (frame(PING, 0, 0, &[7; 8]).repeat(512), frame(SETTINGS, 0, 0, &[]).repeat(512));
    let floods = (0..8).map(|n| {
        let frames = if n % 2 == 0 { &ping } else { &settings };
        let app = &app;
        async move {
            let mut stream = greeted(app, &[]).await;
            flood(&mut stream, frames, 16 * MIB).await
        }
    });
    timeout(LONG, futures_util::future::join_all(floods)).await.expect("ends");
    honest.were_served().await;
    memory.grew_within(64 * MIB);
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_may_not_be_sent_are_few() {
    let app = builder().start().await;
    let memory = Memory::of(&app).await;
    let honest = Honest::start(&app);
    // SETTINGS_INITIAL_WINDOW_SIZE 0: no byte of a body may be answered.
    let attacks = (0..20).map(|_| async {
        let mut stream = greeted(&app, &[0, 4, 0, 0, 0, 0]).await;
        for number in 0..2_000_u32 {
            let request = frame(HEADERS, END_STREAM | END_HEADERS, 2 * number + 1, REQUEST);
            match timeout(Duration::from_secs(2), stream.write_all(&request)).await {
                Ok(Ok(())) => {}
                _ => break,
            }
        }
        stream
    });
    let held = timeout(LONG, futures_util::future::join_all(attacks)).await.expect("ends");
    honest.were_served().await;
    memory.grew_within(96 * MIB);
    drop(held);
}
