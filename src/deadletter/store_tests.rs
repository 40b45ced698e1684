//! What every dead-letter store does alike, each over its own: a directory, moto's S3, moto's SQS.

#![allow(clippy::unwrap_used)]

use std::any::Any;
use std::sync::Arc;

use jiff::Timestamp;

use super::{DeadLetters, Letter, LetterId, Name, Payload, Usage};
use crate::delivery::{Key, Version};
use crate::verdict::{Issue, Severity};

pub const MARK: &str = "MARK7351";

pub fn letter(key: &str, version: u32, payload: &str) -> (Letter, Payload) {
    let key = Key::parse(key).unwrap();
    let version = Version::new(Some(&version.to_string()), None);
    let issue = Issue {
        severity: Severity::Error,
        code: "required".into(),
        diagnostics: format!("quotes {MARK}"),
        expression: Some("Patient.name".into()),
    };
    let letter = Letter {
        id: LetterId::of(&key, false, &version),
        key,
        interaction: "upsert".into(),
        version_id: version.version_id,
        last_updated: None,
        reason: "invalid".into(),
        issues: vec![issue],
        healthlake_status: Some(400),
        healthlake_request_id: Some("request-1".into()),
        delivery: Some("delivery-1".into()),
        attempts: 1,
        first: Timestamp::now(),
        last: Timestamp::now(),
        media: Some("application/fhir+json".into()),
        bytes: payload.len(),
    };
    (letter, Payload(payload.to_owned().into()))
}

/// A store of its own for a test.
pub struct Fresh {
    pub store: Arc<dyn DeadLetters>,
    /// A queue does not.
    pub replaces: bool,
    pub keep: Box<dyn Any + Send>,
}

pub async fn what_is_kept_is_read(fresh: Fresh) {
    let Fresh { store, replaces, keep } = fresh;
    let payloads = ["", "{\"a\":1.50}", &"ä\u{0}\n".repeat(3_000)];
    for (n, payload) in payloads.iter().enumerate() {
        let (letter, payload) = letter(&format!("Patient/p{n}"), 1, payload);
        store.keep(&letter, payload).await.unwrap();
    }
    let names = store.names().await.unwrap();
    assert_eq!(names.len(), payloads.len());
    for name in &names {
        let stored = store.read(name).await.unwrap().unwrap();
        let n: usize = name.key.id()[1..].parse().unwrap();
        assert_eq!(stored.payload.0, payloads[n]);
        assert_eq!(stored.letter.id, name.id);
        assert_eq!(stored.letter.issues[0].diagnostics, format!("quotes {MARK}"));
        assert_eq!(store.letter(name).await.unwrap().unwrap(), stored.letter);
        let age = name.at.elapsed().unwrap_or_default();
        assert!(age.as_secs() < 3600, "{age:?}");
    }
    let Usage { letters, bytes } = store.usage().await.unwrap();
    assert_eq!(letters, 3);
    assert_eq!(bytes.is_some(), replaces);
    let found = store.check().await.unwrap().found;
    assert!(found.contains("3 letters") && found.contains(&store.place()), "{found}");
    store.close().await.unwrap();
    // Told again, once they are given back.
    assert_eq!(store.names().await.unwrap().len(), 3);
    store.close().await.unwrap();
    drop(keep);
}

pub async fn the_same_letter_is_told_once_with_what_came_last(fresh: Fresh) {
    let Fresh { store, replaces, keep } = fresh;
    let (mut first, payload) = letter("Patient/p1", 1, "first");
    store.keep(&first, payload).await.unwrap();
    first.last = Timestamp::now() + jiff::SignedDuration::from_secs(1);
    first.attempts = 2;
    first.bytes = 6;
    store.keep(&first, Payload("second".into())).await.unwrap();
    let names = store.names().await.unwrap();
    assert_eq!(names.len(), 1);
    let stored = store.read(&names[0]).await.unwrap().unwrap();
    assert_eq!((&*stored.payload.0, stored.letter.attempts), (&b"second"[..], 2));
    let of = store.names_of(&first.key).await.unwrap();
    assert_eq!(of.len(), usize::from(replaces));
    assert!(store.remove(&names[0]).await.unwrap());
    store.close().await.unwrap();
    assert_eq!(store.names().await.unwrap(), [], "both messages are gone");
    drop(keep);
}

pub async fn what_is_removed_is_gone_and_the_rest_is_not(fresh: Fresh) {
    let Fresh { store, keep, .. } = fresh;
    for n in 0..25 {
        let (letter, payload) = letter(&format!("Patient/p{n}"), 1, "{}");
        store.keep(&letter, payload).await.unwrap();
    }
    let names = store.names().await.unwrap();
    assert_eq!(names.len(), 25);
    for name in names.iter().take(10) {
        assert!(store.remove(name).await.unwrap());
    }
    store.close().await.unwrap();
    let left = store.names().await.unwrap();
    let mut ids: Vec<_> = left.iter().map(|name| &name.id).collect();
    let mut expected: Vec<_> = names.iter().skip(10).map(|name| &name.id).collect();
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
    drop(keep);
}

/// The command and the instance, or two commands, at the same letter.
pub async fn a_letter_that_another_removed_is_no_error(fresh: Fresh) {
    let Fresh { store, replaces, keep } = fresh;
    let (letter, payload) = letter("Patient/p1", 1, "{}");
    store.keep(&letter, payload).await.unwrap();
    let name = store.names().await.unwrap().remove(0);
    store.remove(&name).await.unwrap();
    assert_eq!(store.letter(&name).await.unwrap(), None);
    assert_eq!(store.read(&name).await.unwrap(), None);
    store.remove(&name).await.unwrap();
    let never = Name { key: Key::parse("Patient/never").unwrap(), ..name };
    assert_eq!(store.read(&never).await.unwrap(), None);
    if replaces {
        assert_eq!(store.names_of(&never.key).await.unwrap(), []);
    }
    drop(keep);
}

macro_rules! conformance {
    ($fresh:path) => {
        mod conforms {
            #[allow(unused_imports)]
            use super::*;

            #[tokio::test]
            async fn what_is_kept_is_read() {
                crate::deadletter::store_tests::what_is_kept_is_read($fresh().await).await;
            }

            #[tokio::test]
            async fn the_same_letter_is_told_once_with_what_came_last() {
                let fresh = $fresh().await;
                crate::deadletter::store_tests::the_same_letter_is_told_once_with_what_came_last(fresh).await;
            }

            #[tokio::test]
            async fn what_is_removed_is_gone_and_the_rest_is_not() {
                let fresh = $fresh().await;
                crate::deadletter::store_tests::what_is_removed_is_gone_and_the_rest_is_not(fresh).await;
            }

            #[tokio::test]
            async fn a_letter_that_another_removed_is_no_error() {
                let fresh = $fresh().await;
                crate::deadletter::store_tests::a_letter_that_another_removed_is_no_error(fresh).await;
            }
        }
    };
}
pub(super) use conformance;

mod in_moto;
