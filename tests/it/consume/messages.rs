//! Messages that are not understood.

use super::*;

#[tokio::test]
async fn a_message_that_is_not_understood_stops_it_or_is_passed_over() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 1).await;
    let poison = message("Patient/a").replace("payloadId", "somethingElse").replace("resourceType", "other");
    for key in ["Patient/a", "Patient/b", "Patient/c"] {
        cdr.has(key, 1);
    }
    let messages = [message("Patient/a"), message("Patient/b"), poison, message("Patient/c"), String::new()];
    broker.send("failed", messages.map(|message| (0, message))).await;

    // It stays the first one that is not committed, however often it is tried; continuously it ends as well.
    for more in [&["--once"][..], &[]] {
        let ran = app.command(&arguments(&broker, "failed", more)).await;
        assert_eq!(ran.code, 1, "{ran:?}");
        for word in ["message 2 of partition 0 of `failed`", "names no resource", "--on-poison skip"] {
            assert!(ran.err.contains(word), "{word}: {ran:?}");
        }
        nothing_told(&(ran.err + &ran.out));
        assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 2)]));
        assert_eq!(app.alive(), ["Patient/a", "Patient/b"]);
    }
    let ran = once(&app, &broker, "failed", &["--on-poison", "skip"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.contains("not understood and skipped: 2"), "{ran:?}");
    assert!(ran.err.contains("it is empty"), "{ran:?}");
    nothing_told(&(ran.err + &ran.out));
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 5)]));
    assert_eq!(app.alive(), ["Patient/a", "Patient/b", "Patient/c"]);
    broker.stop().await;
}

#[tokio::test]
async fn a_message_that_is_not_understood_becomes_a_dead_letter_where_they_are_kept() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::ZERO).await;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().to_str().unwrap();
    let app = TestApp::builder().env("LAKEHOOK_DATA_DIR", data).env("LAKEHOOK_CDR_URL", &url).start().await;
    broker.create("failed", 1).await;
    let poison = message("Patient/a").replace("payloadId", "somethingElse").replace("resourceType", "other");
    for key in ["Patient/a", "Patient/b"] {
        cdr.has(key, 1);
    }
    let messages = [message("Patient/a"), poison, String::new(), message("Patient/b")];
    broker.send("failed", messages.map(|message| (0, message))).await;
    let ran = once(&app, &broker, "failed", &[]).await;
    assert!(ran.out.contains("not understood and kept: 2"), "{ran:?}");
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 4)]));
    assert_eq!(app.alive(), ["Patient/a", "Patient/b"]);
    nothing_told(&(ran.err + &ran.out));

    let listed = app.command(&["dead-letters", "list", "--json"]).await;
    assert_eq!(listed.out.matches("not-understood").count(), 2, "{listed:?}");
    nothing_told(&listed.out);
    // It is read again, and never taken for a resource that the CDR does not have.
    let ran = app.command(&["dead-letters", "redrive"]).await;
    assert!(ran.code == 3 && ran.out.contains("still not understood"), "{ran:?}");
    let listed = app.command(&["dead-letters", "list", "--json"]).await;
    assert_eq!(listed.out.matches("not-understood").count(), 2, "{listed:?}");
    broker.stop().await;
}
