//! HL7's own examples and lists of primitives, where they are at hand. They are not ours to ship.

use std::path::PathBuf;

use crate::validate::{Mode, Refusal, Validator};

/// The corpus, or `None` with a note; in CI it has to be there.
fn corpus(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LAKEHOOK_CORPUS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    let part = root.join(part);
    if part.is_dir() {
        return Some(part);
    }
    assert!(std::env::var_os("CI").is_none(), "no corpus at {}: set LAKEHOOK_CORPUS", part.display());
    note(&format!("skipped: no corpus at {}", part.display()));
    None
}

/// For who reads the output of a test.
#[allow(clippy::print_stderr)]
pub(super) fn note(text: &str) {
    eprintln!("{text}");
}

pub(super) fn files(part: &str) -> Vec<PathBuf> {
    let Some(directory) = corpus(part) else { return Vec::new() };
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn said(refusal: &Refusal) -> String {
    let issue = &refusal.issues[0];
    format!("{:?}: {}", issue.expression, issue.diagnostics)
}

#[test]
fn official_examples_pass() {
    let validator = Validator::new(Mode::Strict, 64);
    let (mut passed, mut refused) = (0, Vec::new());
    for file in files("r4-examples") {
        let bytes = std::fs::read(&file).unwrap();
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        match validator.json(&bytes) {
            Ok(facts) => {
                let value: serde_json::Value = serde_json::from_slice(&bytes).unwrap();
                assert_eq!(value["resourceType"], facts.resource_type.as_str(), "{name}");
                assert_eq!(value["id"].as_str(), facts.id.as_deref(), "{name}");
                assert_eq!(value["meta"]["versionId"].as_str(), facts.version_id.as_deref(), "{name}");
                assert_eq!(value["meta"]["lastUpdated"].as_str(), facts.last_updated.as_deref(), "{name}");
                passed += 1;
            }
            Err(refusal) => refused.push(format!("{name} {}", said(&refusal))),
        }
    }
    note(&format!("official examples: {passed} passed, {} refused", refused.len()));
    assert_eq!(refused, Vec::<String>::new());
}
