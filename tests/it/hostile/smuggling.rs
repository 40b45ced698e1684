//! Messages whose end is a matter of opinion. A proxy before lakehook may see one request where lakehook would see two,
//! and the second one with the next caller's token: whatever is ambiguous is refused, or is the last on its connection.

use super::*;

const START: &str = "PUT /fhir/Patient/first HTTP/1.1\r\nhost: a\r\ncontent-type: application/fhir+json\r\n";

/// A whole request, with a token that is right.
fn smuggled() -> String {
    let body = patient("smuggled", 1);
    format!(
        "PUT /fhir/Patient/smuggled HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn authorized(start: &str) -> String {
    format!("{start}authorization: Bearer {TOKEN}\r\n")
}

#[tokio::test]
async fn two_requests_in_a_row_are_two() {
    // What the other tests look for would be seen.
    let app = builder().start().await;
    let body = patient("first", 1);
    let first = format!("{}content-length: {}\r\n\r\n{body}", authorized(START), body.len());
    let came = exchange(&app, (first + &smuggled()).as_bytes()).await;
    assert_eq!(statuses(&came), [201, 201], "{came}");
    assert_eq!(app.alive(), ["Patient/first", "Patient/smuggled"]);
}

#[tokio::test]
async fn what_stands_behind_an_ambiguous_message_is_no_request() {
    let app = builder().start().await;
    let smuggled = smuggled();
    let start = authorized(START);
    let all = smuggled.len() + 5;
    let chunked = format!("0\r\n\r\n{smuggled}");
    let heads = [
        // Both lengths: which one counts?
        (
            "CL before TE",
            format!("{start}content-length: {all}\r\ntransfer-encoding: chunked\r\n\r\n{chunked}"),
        ),
        (
            "TE before CL",
            format!("{start}transfer-encoding: chunked\r\ncontent-length: {all}\r\n\r\n{chunked}"),
        ),
        (
            "TE before CL of 0",
            format!("{start}transfer-encoding: chunked\r\ncontent-length: 0\r\n\r\n{chunked}"),
        ),
        // An encoding that one of two understands
        ("TE unknown", format!("{start}transfer-encoding: xchunked\r\n\r\n{chunked}")),
        ("TE not last", format!("{start}transfer-encoding: chunked, identity\r\n\r\n{chunked}")),
        (
            "TE twice, other last",
            format!("{start}transfer-encoding: chunked\r\ntransfer-encoding: cow\r\n\r\n{chunked}"),
        ),
        ("TE quoted", format!("{start}transfer-encoding: \"chunked\"\r\n\r\n{chunked}")),
        ("TE with a vertical tab", format!("{start}transfer-encoding: \x0bchunked\r\n\r\n{chunked}")),
        (
            "TE in HTTP/1.0",
            format!("{}transfer-encoding: chunked\r\n\r\n{chunked}", start.replace("HTTP/1.1", "HTTP/1.0")),
        ),
        ("space before the colon", format!("{start}transfer-encoding : chunked\r\n\r\n{chunked}")),
        (
            "space before the name",
            format!("{start}content-length: 0\r\n transfer-encoding: chunked\r\n\r\n{chunked}"),
        ),
        ("a folded line", format!("{start}x: y\r\n transfer-encoding: chunked\r\n\r\n{chunked}")),
        ("a null in the name", format!("{start}transfer-encoding\0: chunked\r\n\r\n{chunked}")),
        ("a bare CR", format!("{start}x: y\rtransfer-encoding: chunked\r\n\r\n{chunked}")),
        // Lengths
        ("two lengths", format!("{start}content-length: 5\r\ncontent-length: {all}\r\n\r\n{chunked}")),
        ("a list of lengths", format!("{start}content-length: 5, {all}\r\n\r\n{chunked}")),
        ("a sign", format!("{start}content-length: +5\r\n\r\n{chunked}")),
        ("a negative length", format!("{start}content-length: -1\r\n\r\n{chunked}")),
        ("hexadecimal", format!("{start}content-length: 0x5\r\n\r\n{chunked}")),
        ("a length of letters", format!("{start}content-length: five\r\n\r\n{chunked}")),
        ("a length with a space in it", format!("{start}content-length: 5 0\r\n\r\n{chunked}")),
        ("an empty length", format!("{start}content-length: \r\n\r\n{chunked}")),
        ("a length beyond 64 bits", format!("{start}content-length: 18446744073709551621\r\n\r\n{chunked}")),
        // Chunks
        (
            "a chunk size that wraps",
            format!("{start}transfer-encoding: chunked\r\n\r\n10000000000000000\r\n\r\n{chunked}"),
        ),
        (
            "a chunk size with a sign",
            format!("{start}transfer-encoding: chunked\r\n\r\n+0\r\n\r\n{smuggled}"),
        ),
        ("a chunk size with 0x", format!("{start}transfer-encoding: chunked\r\n\r\n0x0\r\n\r\n{smuggled}")),
        ("a chunk size of nothing", format!("{start}transfer-encoding: chunked\r\n\r\n\r\n\r\n{smuggled}")),
        (
            "a chunk longer than it says",
            format!("{start}transfer-encoding: chunked\r\n\r\n1\r\nab\r\n{chunked}"),
        ),
        (
            "a chunk extension over a bare LF",
            format!("{start}transfer-encoding: chunked\r\n\r\n2;\nxx\r\n{chunked}"),
        ),
        // Request lines
        ("two spaces", format!("{}\r\n{smuggled}", start.replace(" HTTP/1.1", "  HTTP/1.1"))),
        ("a version of its own", format!("{}\r\n{smuggled}", start.replace("HTTP/1.1", "HTTP/1.9"))),
    ];
    for (name, bytes) in heads {
        let came = exchange(&app, bytes.as_bytes()).await;
        let statuses = statuses(&came);
        assert!(statuses.len() <= 1, "{name}: answered twice: {came}");
        assert!(statuses.iter().all(|status| (400..500).contains(status)), "{name}: {came}");
        assert_eq!(app.forwarded(), 0, "{name}: {came}");
    }
}

#[tokio::test]
async fn what_stands_in_a_body_is_no_request() {
    let app = builder().start().await;
    let smuggled = smuggled();
    for (start, expected) in [
        (authorized(START), 400),
        // Refused before its body is read: what is left of it is still a body.
        (START.to_owned(), 401),
        (authorized(&START.replace("PUT", "GET")), 405),
        (authorized(&START.replace("/fhir/Patient/first", "/fhir/Patient/%2e%2e")), 400),
        (authorized(&START.replace("/fhir/Patient/first", "/elsewhere")), 404),
        (START.replace("PUT /fhir/Patient/first", "GET /healthz"), 200),
    ] {
        let bytes = format!("{start}content-length: {}\r\n\r\n{smuggled}", smuggled.len());
        let came = exchange(&app, bytes.as_bytes()).await;
        assert_eq!(statuses(&came), [expected], "{start}: {came}");
        let bytes = format!(
            "{start}transfer-encoding: chunked\r\n\r\n{:x}\r\n{smuggled}\r\n0\r\n\r\n",
            smuggled.len()
        );
        let came = exchange(&app, bytes.as_bytes()).await;
        assert_eq!(statuses(&came), [expected], "{start}: {came}");
    }
    assert_eq!(app.forwarded(), 0);
}

#[tokio::test]
async fn an_upgrade_or_a_tunnel_is_not_made() {
    let app = builder().start().await;
    let smuggled = smuggled();
    for head in [
        "GET /fhir HTTP/1.1\r\nhost: a\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
        "GET /fhir HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-version: 13\r\n\r\n",
        "CONNECT 127.0.0.1:80 HTTP/1.1\r\nhost: a\r\n\r\n",
    ] {
        let came = exchange(&app, head.as_bytes()).await;
        assert!(
            !came.contains(" 101 ") && statuses(&came).iter().all(|status| *status >= 400),
            "{head}: {came}"
        );
        // What stands behind it is judged by itself, not handed through.
        let came =
            exchange(&app, format!("{head}{}", smuggled.replace(TOKEN, "no-token-of-the-cdr")).as_bytes())
                .await;
        assert!(statuses(&came).iter().all(|status| *status >= 400), "{head}: {came}");
    }
    assert_eq!(app.forwarded(), 0);
}
