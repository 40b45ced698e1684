//! Every recorded request of a real HAPI is answered as this table says. A new recording without a row fails.

mod table;

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::support::app::{TOKEN, TestApp};
use crate::support::corpus::corpus;
use crate::support::exact::content;
use crate::support::process::repository;
use crate::support::tap::{Exchange, Message, Tap};
use table::{End, STORIES, xml_says};

#[tokio::test]
async fn every_recording_is_answered_as_the_table_says() {
    let (app, healthlake) = Tap::before_healthlake(TestApp::builder()).await;
    let mut delivered = 0;
    for story in STORIES {
        for &(file, status, verdict, requests) in story.rows {
            let recorded = recording(file);
            let forwarded = app.forwarded();
            let answer = replay(&app, &recorded, true).await;
            assert_eq!(answer.status(), status, "{file}: {answer:?}");
            assert_eq!(app.forwarded() - forwarded, requests, "{file}: requests to HealthLake");
            if verdict.is_empty() {
                // It names no resource: no delivery, no line.
                continue;
            }
            // A Bundle is as many deliveries as it has entries.
            delivered += requests.max(1);
            let line = app.delivery_lines(delivered).await.pop().unwrap();
            let said = line["reason"].as_str().or(line["verdict"].as_str());
            assert_eq!(said, Some(verdict), "{file}: {line}");
            if status != 204 && (verdict != "mirrored") {
                let outcome: Value = serde_json::from_slice(answer.body()).unwrap();
                assert_eq!(outcome["resourceType"], "OperationOutcome", "{file}");
            }
            let mut sent = healthlake.exchanges();
            let sent = sent.split_off(sent.len() - requests);
            if verdict == "mirrored" && recorded.first_line().starts_with("POST") {
                each_entry_was_sent(file, &recorded, &sent);
            } else if verdict == "mirrored" && recorded.first_line().starts_with("PUT") {
                assert_eq!(line["version_id"].as_str(), version(&recorded).as_deref(), "{file}");
                what_came_was_sent(file, &recorded, &sent[0]);
            }
        }
        for (key, end) in story.ends {
            let found = if app.stored(key).is_some() { End::Alive } else { End::Gone };
            assert_eq!(found, *end, "{key}");
        }
    }
    assert_eq!(app.delivery_lines(delivered).await.len(), delivered, "one line for each request");
}

/// As it was recorded: the Authorization header there holds another token, or there is none.
#[tokio::test]
async fn without_the_token_no_recording_is_let_in() {
    let app = TestApp::start().await;
    for file in ["auth-header-create", "auth-header-delete", "create-patient-xml", "nopayload-create"] {
        let answer = replay(&app, &recording(file), false).await;
        assert_eq!(answer.status(), 401, "{file}: {answer:?}");
        assert!(answer.header("www-authenticate").is_some(), "{file}");
    }
    assert_eq!(app.forwarded(), 0);
}

#[test]
fn every_recording_has_a_row() {
    let told: Vec<&str> = STORIES.iter().flat_map(|story| story.rows).map(|row| row.0).collect();
    let untold: Vec<String> =
        recordings().into_iter().filter(|file| !told.contains(&file.as_str())).collect();
    assert_eq!(untold, Vec::<String>::new(), "recordings without a row in STORIES");
}

#[test]
fn every_recording_of_the_corpus_is_here() {
    let Some(corpus) = corpus("hapi-captures") else { return };
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "http") {
            let file = path.file_stem().unwrap().to_str().unwrap();
            assert!(recordings().iter().any(|here| here == file), "{file} is not in fixtures/hapi");
            assert_eq!(fs::read(&path).unwrap(), recording(file).raw, "{file} differs");
        }
    }
}

fn recordings() -> Vec<String> {
    let files = fs::read_dir(repository().join("fixtures/hapi")).unwrap().map(|entry| entry.unwrap().path());
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "http"))
        .map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned())
        .collect()
}

fn recording(file: &str) -> Message {
    let path = repository().join("fixtures/hapi").join(format!("{file}.http"));
    Message::read(fs::read(path).unwrap()).unwrap()
}

fn version(recorded: &Message) -> Option<String> {
    let body = std::str::from_utf8(recorded.body()).ok()?;
    let meta = |json: &str| {
        Some(serde_json::from_str::<Value>(json).ok()?["meta"]["versionId"].as_str()?.to_owned())
    };
    match recorded.header("content-type") {
        Some(json) if json.starts_with("application/fhir+json") => meta(body),
        Some(xml) if xml.starts_with("application/fhir+xml") => {
            Some(body.split(r#"<versionId value=""#).nth(1)?.split('"').next()?.to_owned())
        }
        // Raw bytes
        Some(_) => Some(recorded.header("if-match")?.trim_matches(|c: char| !c.is_ascii_digit()).to_owned()),
        None => None,
    }
}

/// JSON byte for byte, XML by meaning, raw bytes wrapped.
fn what_came_was_sent(file: &str, recorded: &Message, sent: &Exchange) {
    let (media, body) = (recorded.header("content-type").unwrap(), text(sent.request.body()));
    if media.starts_with("application/fhir+json") {
        assert_eq!(body, text(recorded.body()), "{file}");
    } else if media.starts_with("application/fhir+xml") {
        assert_eq!(content(body), xml_says(file), "{file}");
    } else {
        let (resource_type, id) = sent.key().split_once('/').unwrap();
        let data = STANDARD.encode(recorded.body());
        let binary = json!({"resourceType": resource_type, "id": id, "contentType": media, "data": data});
        assert_eq!(content(body), binary, "{file}");
    }
}

fn each_entry_was_sent(file: &str, recorded: &Message, sent: &[Exchange]) {
    #[derive(Deserialize)]
    struct Bundle<'a> {
        #[serde(borrow)]
        entry: Vec<Entry<'a>>,
    }
    #[derive(Deserialize)]
    struct Entry<'a> {
        #[serde(borrow)]
        resource: &'a RawValue,
        request: Value,
    }
    let bundle: Bundle<'_> = serde_json::from_slice(recorded.body()).unwrap();
    assert_eq!(bundle.entry.len(), sent.len(), "{file}");
    for (Entry { resource, request }, sent) in bundle.entry.iter().zip(sent) {
        assert_eq!(request["url"], sent.key(), "{file}");
        assert_eq!(text(sent.request.body()), resource.get(), "{file}");
    }
}

fn text(body: &[u8]) -> &str {
    std::str::from_utf8(body).unwrap()
}

/// The same bytes but for the path's first segment, `Connection`, and the token.
async fn replay(app: &TestApp, recorded: &Message, with_token: bool) -> Message {
    let mut lines = recorded.head().trim_end().split("\r\n");
    let (method, rest) = lines.next().unwrap().split_once(" /").unwrap();
    let end = rest.find(['/', '?', ' ']).unwrap();
    let mut raw = format!("{method} /fhir{}\r\n", &rest[end..]);
    let replaced =
        |line: &str| line.starts_with("Connection:") || (with_token && line.starts_with("Authorization:"));
    for line in lines.filter(|line| !replaced(line)) {
        raw += &format!("{line}\r\n");
    }
    if with_token {
        raw += &format!("Authorization: Bearer {TOKEN}\r\n");
    }
    raw += "Connection: close\r\n\r\n";

    let mut socket = TcpStream::connect(app.address()).await.unwrap();
    socket.write_all(raw.as_bytes()).await.unwrap();
    socket.write_all(recorded.body()).await.unwrap();
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).await.unwrap();
    Message::read(answer).expect("an answer")
}
