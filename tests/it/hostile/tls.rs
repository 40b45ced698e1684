//! TLS of our own: nothing below 1.2, nothing weak, no way down, and no connection held by a handshake.

use reqwest::{Certificate, Client};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;
use crate::support::tls::Authority;

const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
/// Alerts
const HANDSHAKE_FAILURE: u8 = 40;
const PROTOCOL_VERSION: u8 = 70;

/// Forward secret and authenticated, as every client of the last ten years has them.
const GOOD: &[u16] = &[0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8];
/// Of TLS 1.0's time
const OLD: &[u16] = &[0xc009, 0xc013, 0x002f, 0x0035, 0x000a, 0x0005];

async fn start() -> (TestApp, Authority, [tempfile::NamedTempFile; 2]) {
    let authority = Authority::new();
    let issued = authority.issue();
    let files = [&issued.certificate, &issued.key].map(|text| {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    });
    let app = builder().arg("--tls-cert", files[0].path().display());
    (app.arg("--tls-key", files[1].path().display()).start().await, authority, files)
}

fn client(authority: &Authority) -> Client {
    let ca = Certificate::from_pem(authority.pem().as_bytes()).unwrap();
    Client::builder().no_proxy().tls_certs_only([ca]).pool_max_idle_per_host(0).build().unwrap()
}

async fn served(app: &TestApp, client: &Client, id: &str) {
    let put = client.put(format!("{}/Patient/{id}", app.endpoint())).bearer_auth(TOKEN);
    let answer =
        put.header("content-type", "application/fhir+json").body(patient(id, 1)).send().await.unwrap();
    assert_eq!(answer.status(), 201, "{id}");
}

fn with_length(bytes: &[u8]) -> Vec<u8> {
    let mut all = u16::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
    all.extend(bytes);
    all
}

/// A ClientHello of the version (0x0303: TLS 1.2) that offers these suites and no newer version.
fn client_hello(version: u16, suites: &[u16]) -> Vec<u8> {
    let list =
        |numbers: &[u16]| with_length(&numbers.iter().flat_map(|n| n.to_be_bytes()).collect::<Vec<_>>());
    let mut hello = version.to_be_bytes().to_vec();
    hello.extend([7; 32]);
    hello.push(0);
    hello.extend(list(suites));
    hello.extend([1, 0]);
    let mut extensions = Vec::new();
    // Groups: x25519, P-256, P-384. Points: uncompressed. Signatures: ECDSA and RSA with SHA-256.
    for (number, content) in [
        (10_u16, list(&[0x001d, 0x0017, 0x0018])),
        (11, vec![1, 0]),
        (13, list(&[0x0403, 0x0804, 0x0401])),
        (23, vec![]),
    ] {
        extensions.extend(number.to_be_bytes());
        extensions.extend(with_length(&content));
    }
    hello.extend(with_length(&extensions));
    let mut message = vec![1, 0];
    message.extend(with_length(&hello));
    let mut record = vec![HANDSHAKE, 3, 1];
    record.extend(with_length(&message));
    record
}

/// The first record that comes back: its type and content. None where the connection ends without one.
async fn first_record(app: &TestApp, bytes: &[u8]) -> Option<(u8, Vec<u8>)> {
    let mut stream = connect(app).await;
    stream.write_all(bytes).await.unwrap();
    timeout(LONG, async {
        let mut head = [0; 5];
        stream.read_exact(&mut head).await.ok()?;
        let mut content = vec![0; u16::from_be_bytes([head[3], head[4]]).into()];
        stream.read_exact(&mut content).await.ok()?;
        Some((head[0], content))
    })
    .await
    .expect("answered or ended")
}

#[tokio::test]
async fn versions_below_1_2_and_weak_suites_are_refused() {
    let (app, authority, _files) = start().await;
    for (name, version, suites, alert) in [
        ("SSL 3.0", 0x0300, OLD, PROTOCOL_VERSION),
        ("TLS 1.0", 0x0301, OLD, PROTOCOL_VERSION),
        ("TLS 1.1", 0x0302, OLD, PROTOCOL_VERSION),
        ("TLS 1.1 with suites of 1.2", 0x0302, GOOD, PROTOCOL_VERSION),
        ("RSA key exchange, CBC, 3DES, RC4", 0x0303, OLD, HANDSHAKE_FAILURE),
        ("no encryption", 0x0303, &[0x003b, 0xc006, 0xc010], HANDSHAKE_FAILURE),
        ("nobody authenticated", 0x0303, &[0x00a6, 0xc018, 0x006c], HANDSHAKE_FAILURE),
        ("export", 0x0303, &[0x0003, 0x0008, 0x0014], HANDSHAKE_FAILURE),
    ] {
        let (kind, content) = first_record(&app, &client_hello(version, suites)).await.expect(name);
        assert_eq!((kind, &content[..]), (ALERT, &[2, alert][..]), "{name}");
    }
    served(&app, &client(&authority), "a").await;
}

#[tokio::test]
async fn a_client_that_is_talked_down_to_1_2_can_see_it() {
    let (app, _authority, _files) = start().await;
    let (kind, content) = first_record(&app, &client_hello(0x0303, GOOD)).await.unwrap();
    // ServerHello: type, length, version 1.2, and 32 bytes of which RFC 8446 keeps the last 8 for this.
    assert_eq!((kind, content[0], &content[4..6]), (HANDSHAKE, 2, &[3, 3][..]));
    assert_eq!(&content[30..38], b"DOWNGRD\x01");
}

#[tokio::test]
async fn plain_http_gets_no_answer_of_ours() {
    let (app, authority, _files) = start().await;
    let body = patient("a", 1);
    let plain = format!(
        "PUT /fhir/Patient/a HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {TOKEN}\r\ncontent-type: application/fhir+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    for bytes in [
        plain.as_bytes(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        &[0x80, 0x2e, 0x01, 0x00, 0x02][..],
        &[0xff; 64],
    ] {
        let came = exchange(&app, bytes).await;
        assert!(!came.contains("HTTP"), "{came}");
    }
    assert_eq!(app.forwarded(), 0);
    served(&app, &client(&authority), "a").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_stop_halfway_are_cut() {
    let (app, authority, _files) = start().await;
    let client = client(&authority);
    served(&app, &client, "warm").await;
    let pid = app.pid();
    let memory = Memory { pid, before: status(pid, "VmRSS") };
    let honest = Honest::start_with(&app, client);
    let hello = client_hello(0x0303, GOOD);
    let halfway = (0..300).map(|n| {
        let (app, hello) = (&app, &hello);
        async move {
            let mut stream = connect(app).await;
            // Nothing, half a ClientHello, or a whole one and nothing behind it.
            let sent = [0, hello.len() / 2, hello.len()][n % 3];
            stream.write_all(&hello[..sent]).await.unwrap();
            rest(&mut stream).await
        }
    });
    futures_util::future::join_all(halfway).await;
    honest.were_served().await;
    memory.grew_within(64 * MIB);
}
