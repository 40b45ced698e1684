//! Exports in S3 (moto's), and those that the command has made: by HealthLake's job and by the CDR's `$export`.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_sdk_s3::Client;
use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt;
use http::StatusCode;

use super::cdr::{MARK, TestCdr, now};
use super::cli::{damage, equal, key, start};
use super::damage::{DAMAGES, at_healthlake, findings, kind_of};
use super::exports::export;
use crate::support::app::{Ran, TestApp};
use crate::support::import::ControlPlane;
use crate::support::moto::Moto;

const ROLE: &str = "arn:aws:iam::000000000000:role/export";
const KEY: &str = "arn:aws:kms:us-east-1:000000000000:key/k";

async fn damaged(folder: &Path) -> (TestCdr, TestApp, BTreeMap<String, String>) {
    let (cdr, app, other) = start(60, folder.join("data").to_str().unwrap(), Duration::ZERO).await;
    let mut expected = BTreeMap::new();
    for (at, what) in DAMAGES.into_iter().enumerate() {
        damage(what, &key(at * 7), &cdr, &app, &other).await;
        expected.insert(key(at * 7), kind_of(what).to_owned());
    }
    (cdr, app, expected)
}

/// The files of a folder, below the prefix.
async fn upload(s3: &Client, folder: &Path, prefix: &str) {
    for name in ["job/Patient-1.ndjson", "Observation.ndjson.gz"] {
        let body = std::fs::read(folder.join(name)).unwrap();
        s3.put_object()
            .bucket("exports")
            .key(format!("{prefix}/{name}"))
            .body(body.into())
            .send()
            .await
            .unwrap();
    }
    let nothing = b"nothing of ours".to_vec();
    let other = s3.put_object().bucket("exports").key(format!("{prefix}/manifest.json"));
    other.body(nothing.into()).send().await.unwrap();
}

async fn reconcile(app: &TestApp, arguments: &[&str]) -> Ran {
    app.command(&[&["reconcile"][..], arguments].concat()).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_read_from_s3() {
    let (moto, folder) = (Moto::start().await, tempfile::tempdir().unwrap());
    let s3 = moto.s3(&["exports"]).await;
    let (cdr, app, expected) = damaged(folder.path()).await;
    let (ours, theirs) = (folder.path().join("cdr"), folder.path().join("healthlake"));
    export(&ours, &cdr.alive());
    export(&theirs, &at_healthlake(&app));
    upload(&s3, &ours, "of-cdr").await;
    upload(&s3, &theirs, "of-healthlake/0-FHIR_EXPORT-1").await;
    let report = folder.path().join("report.ndjson");
    let common = ["--s3-endpoint", moto.endpoint_url(), "--report", report.to_str().unwrap()];
    let run = async |cdr: &str, healthlake: &str, more: &[&str]| {
        let places = ["--cdr-export", cdr, "--healthlake-export", healthlake];
        reconcile(&app, &[&places[..], &common, more].concat()).await
    };

    let (before, asked) = (app.forwarded(), cdr.requests().len());
    let ran = run("s3://exports/of-cdr", "s3://exports/of-healthlake/", &[]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(findings(&report).0, expected);
    let requests = (app.forwarded() - before, cdr.requests().len() - asked);
    assert!(requests.0 < 15 && requests.1 < 20, "{requests:?}: nothing is listed");

    // Two jobs' files are no state that ever was; what holds none is no export.
    upload(&s3, &theirs, "of-healthlake/0-FHIR_EXPORT-2").await;
    let ran = run("s3://exports/of-cdr", "s3://exports/of-healthlake", &[]).await;
    assert!(ran.code == 1 && ran.err.contains("s3://exports/of-healthlake/0-FHIR_EXPORT-2/"), "{ran:?}");
    let ran = run("s3://exports/of-cdr", "s3://exports/nothing", &[]).await;
    assert!(ran.code == 1 && ran.err.contains("s3://exports/nothing/ holds no .ndjson"), "{ran:?}");
    let ran = run("s3://other/x", "s3://exports/of-healthlake", &[]).await;
    assert!(ran.code == 1 && ran.err.contains("s3://other/x") && ran.err.contains("NoSuchBucket"), "{ran:?}");

    let ran = run(ours.to_str().unwrap(), "s3://exports/of-healthlake/0-FHIR_EXPORT-2", &["--repair"]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    equal(&cdr, &app);
    moto.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_sides_are_told_to_export_and_compared() {
    let (moto, folder) = (Moto::start().await, tempfile::tempdir().unwrap());
    let plane = ControlPlane::start(moto.s3(&["exports"]).await).await;
    let (cdr, app, expected) = damaged(folder.path()).await;
    plane.exports_from(&app.sandbox);
    let report = folder.path().join("report.ndjson");
    let common = [
        "--cdr-bulk-export",
        "--cdr-token",
        "of-the-cdr",
        "--healthlake-bulk-export",
        "--healthlake-export",
        "s3://exports/of-healthlake",
        "--export-role-arn",
        ROLE,
        "--export-kms-key",
        KEY,
        "--export-endpoint",
        &plane.url,
        "--s3-endpoint",
        moto.endpoint_url(),
        "--report",
        report.to_str().unwrap(),
    ];
    let (before, asked) = (app.forwarded(), cdr.requests().len());
    let ran = reconcile(&app, &common).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert_eq!(findings(&report).0, expected);
    let asked: Vec<String> = cdr.requests().split_off(asked);
    assert!(!asked.iter().any(|path| path.contains("_count")), "{asked:?}");
    assert!(app.forwarded() - before < 15, "nothing is listed");

    let exports = plane.exports();
    assert_eq!(exports.len(), 1);
    let store = &app.sandbox.config().datastore_id;
    assert_eq!(
        (&exports[0]["DatastoreId"], &exports[0]["DataAccessRoleArn"]),
        (&store.as_str().into(), &ROLE.into())
    );
    let output = &exports[0]["OutputDataConfig"]["S3Configuration"];
    assert_eq!((&output["S3Uri"], &output["KmsKeyId"]), (&"s3://exports/of-healthlake/".into(), &KEY.into()));
    let place = format!("s3://exports/of-healthlake/{store}-FHIR_EXPORT-{:032x}/", 0xe0);
    for words in [&place[..], "IN_PROGRESS", "COMPLETED", "the CDR exports: under way", "has 2 files"] {
        assert!(ran.err.contains(words), "{words}: {ran:?}");
    }
    assert!(!format!("{ran:?}").contains(MARK) && !ran.err.contains("of-the-cdr"));
    {
        let bulk = cdr.bulk.lock().unwrap();
        assert_eq!((bulk.kicked_off, bulk.deleted), (1, 1));
    }

    // A second job's files lie beside the first one's and do not meet them.
    let ran = reconcile(&app, &[&common[..], &["--repair"]].concat()).await;
    assert_eq!((ran.code, plane.exports().len()), (0, 2), "{ran:?}");
    equal(&cdr, &app);

    plane.exports_fail(Some("the role may not write"));
    let ran = reconcile(&app, &common).await;
    assert!(ran.code == 1 && ran.err.contains("ended as FAILED: the role may not write"), "{ran:?}");
    let ran = reconcile(&app, &["--healthlake-bulk-export", "--healthlake-export", "/tmp/x"]).await;
    assert!(ran.code == 2 && ran.err.contains("HealthLake writes to S3"), "{ran:?}");
    let ran = reconcile(&app, &["--healthlake-bulk-export", "--healthlake-export", "s3://b"]).await;
    assert!(ran.code == 2 && ran.err.contains("--export-role-arn"), "{ran:?}");
    moto.stop().await;
}

/// An S3 of one object that cuts each answer after a third of the object, with what was asked for.
async fn cutting(object: String) -> (String, Arc<Mutex<Vec<Option<String>>>>) {
    let told = Arc::new(Mutex::new(Vec::new()));
    let state = (Bytes::from(object), told.clone());
    let answer = async move |request: Request| -> Response {
        let (object, told) = state.clone();
        if request.uri().query().is_some_and(|query| query.contains("list-type=2")) {
            return "<ListBucketResult><IsTruncated>false</IsTruncated><Contents><Key>x/Patient.ndjson</Key></Contents></ListBucketResult>".into_response();
        }
        let header = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let range = header("range");
        told.lock().unwrap().push(range.clone());
        let from: usize = match &range {
            None => 0,
            Some(range) => {
                assert_eq!(header("if-match").as_deref(), Some("\"v1\""));
                range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse().unwrap()
            }
        };
        let end = object.len().min(from + object.len() / 3 + 1);
        let length = (object.len() - from).to_string();
        let mut chunks = vec![Ok(object.slice(from..end))];
        if end < object.len() {
            chunks.push(Err(std::io::Error::other("cut")));
        }
        let chunks = futures_util::stream::iter(chunks).then(async |chunk: std::io::Result<Bytes>| {
            if chunk.is_err() {
                // What was sent is on its way by then.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            chunk
        });
        let status = if from == 0 { StatusCode::OK } else { StatusCode::PARTIAL_CONTENT };
        let headers = [("etag", "\"v1\"".to_owned()), ("content-length", length)];
        (status, headers, Body::from_stream(chunks)).into_response()
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(axum::serve(listener, axum::Router::new().fallback(answer)).into_future());
    (url, told)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_that_is_cut_is_read_on_from_there() {
    let cdr = TestCdr::start().await;
    let app = TestApp::builder().env("LAKEHOOK_CDR_URL", cdr.url()).start().await;
    for at in 0..3000 {
        cdr.put_at(&format!("Patient/r{at}"), 1, now() - 86_400_000);
    }
    let object: String = cdr.alive().into_values().map(|json| json + "\n").collect();
    let (s3, asked) = cutting(object.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("Patient.ndjson"), object).unwrap();
    let folder = folder.path().to_str().unwrap();
    let places = ["--cdr-export", folder, "--healthlake-export", "s3://b/x", "--s3-endpoint", &s3];
    let ran = reconcile(&app, &places).await;
    assert!(ran.code == 0 && ran.out.contains("3000") && ran.out.ends_with("equal\n"), "{ran:?}");
    let asked = asked.lock().unwrap();
    assert!(asked.len() == 3 && asked[1..].iter().all(Option::is_some), "{asked:?}");
}
