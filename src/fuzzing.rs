//! What has to hold of any bytes at all. Fuzz targets call it, and a test over their seeds does; it is no part of the
//! interface.

use bytes::Bytes;

use crate::delivery::{Delivery, is_id, is_resource_type};
use crate::receive::{Content, Item, Media, Notification, Target, post, target};
use crate::validate::{Mode, Refusal, Validator};

const DEPTH: u32 = 64;

fn explained(refusal: &Refusal) {
    assert!((1..=20).contains(&refusal.issues.len()), "{refusal:?}");
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
}

/// The stricter a mode the less it takes, whatever it takes is JSON, and what the pass takes fhirbolt takes.
pub fn json(bytes: &[u8]) {
    let mut stricter = false;
    for mode in [Mode::Strict, Mode::Structure, Mode::Off] {
        let validator = Validator::new(mode, DEPTH);
        match validator.json(bytes) {
            Ok(_) => {
                assert!(is_json(bytes), "{mode:?} took what is no JSON");
                assert!(
                    mode != Mode::Strict || validator.pass(bytes),
                    "fhirbolt alone decided for the better"
                );
                stricter = true;
            }
            Err(refusal) => {
                explained(&refusal);
                assert!(!stricter, "{mode:?} refuses what a stricter mode takes: {refusal:?}");
                // serde_json's own bound on levels is a little lower for arrays of primitives.
                let bound = refusal.issues[0].code == "too-costly";
                assert!(
                    mode != Mode::Strict || bound || !validator.pass(bytes),
                    "only fhirbolt refuses: {refusal:?}"
                );
            }
        }
    }
}

/// What comes out of XML is JSON, whatever else is wrong with it.
pub fn xml(bytes: &[u8]) {
    let validator = Validator::new(Mode::Strict, DEPTH);
    match validator.xml_to_json(bytes) {
        Ok(json) => {
            assert!(is_json(&json), "{}", String::from_utf8_lossy(&json));
            if let Err(refusal) = validator.json(&json) {
                explained(&refusal);
                assert!(!refusal.malformed, "{refusal:?}");
            }
        }
        Err(refusal) => explained(&refusal),
    }
}

/// What a path names is there to be read in it, and can be a part of a signed URL as it stands.
pub fn url(bytes: &[u8]) {
    let Ok(path) = std::str::from_utf8(bytes) else { return };
    match target(path) {
        Ok(Target::Base) => assert!(path.trim_matches('/').is_empty()),
        Ok(Target::Type(name)) => assert!(is_resource_type(&name) && path.trim_matches('/') == &*name),
        Ok(Target::Resource(key)) => {
            assert!(is_resource_type(key.resource_type()) && is_id(key.id()));
            assert_eq!(path.trim_matches('/'), key.to_string());
        }
        Err(_) => {}
    }
}

/// A POST, as JSON and, where it could be that, as XML: what it asks for is a part of what was sent.
pub fn bundle(bytes: &[u8]) {
    let validator = Validator::new(Mode::Strict, DEPTH);
    let sent = Bytes::copy_from_slice(bytes);
    for media in [Media::FhirJson, Media::MaybeXml] {
        let content = Content { media, content_type: None, version_id: None, bytes: sent.clone() };
        let deliveries = match post(&Target::Base, content, &validator) {
            Ok(Notification::One(delivery)) => vec![delivery],
            Ok(Notification::Bundle(_, items)) => items
                .into_iter()
                .filter_map(|item| match item {
                    Item::Deliver(delivery) => Some(delivery),
                    Item::Acknowledge => None,
                })
                .collect(),
            Ok(Notification::Unreadable(_)) | Err(_) => continue,
        };
        for delivery in deliveries {
            match delivery {
                Delivery::Upsert { addressed, json, verbatim } => {
                    assert!(is_json(&json));
                    assert!(!verbatim || json == sent, "not as it came");
                    assert!(addressed.id.is_none_or(|id| is_id(&id)));
                    if let Err(refusal) = validator.json(&json) {
                        explained(&refusal);
                    }
                }
                Delivery::Delete { key } | Delivery::Changed { key } => assert!(is_id(key.id())),
            }
        }
    }
}
