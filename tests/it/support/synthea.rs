//! Synthea's patients: its Bundles in the directory `LAKEHOOK_SYNTHEA`, as its FHIR exporter writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

pub fn directory() -> Option<PathBuf> {
    std::env::var_os("LAKEHOOK_SYNTHEA").map(PathBuf::from)
}

/// Every resource in transactions that HAPI takes, one after the other as they are asked for.
pub fn transactions(directory: &Path) -> impl Iterator<Item = String> + use<> {
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    // Organizations and practitioners first: the patients' Bundles refer to them.
    files.sort_by_key(|path| {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        (!name.starts_with("hospital"), !name.starts_with("practitioner"), name)
    });
    files.into_iter().flat_map(|file| in_parts(&std::fs::read_to_string(file).unwrap()))
}

/// Synthea's transaction of thousands of resources in some that HAPI does within a minute: each resource under the
/// UUID that its references name it by.
fn in_parts(bundle: &str) -> Vec<String> {
    const MOST: usize = 200;
    const UUID: usize = 36;
    let bundle: Value = serde_json::from_str(bundle).unwrap();
    let entries = bundle["entry"].as_array().unwrap();
    let uuid =
        |entry: &Value| entry["fullUrl"].as_str().unwrap().strip_prefix("urn:uuid:").unwrap().to_owned();
    let kind = |entry: &Value| entry["resource"]["resourceType"].as_str().unwrap().to_owned();
    let kinds: BTreeMap<String, String> = entries.iter().map(|entry| (uuid(entry), kind(entry))).collect();
    let mut parts = Vec::new();
    for some in entries.chunks(MOST) {
        let mut texts = Vec::new();
        for entry in some {
            let mut resource = entry["resource"].clone();
            resource["id"] = uuid(entry).into();
            let url = format!("{}/{}", kind(entry), uuid(entry));
            let text =
                json!({ "resource": resource, "request": { "method": "PUT", "url": url } }).to_string();
            let mut pieces = text.split("urn:uuid:");
            let mut text = pieces.next().unwrap().to_owned();
            for piece in pieces {
                match piece.get(..UUID).and_then(|uuid| kinds.get(uuid)) {
                    Some(kind) => text.push_str(&format!("{kind}/{piece}")),
                    None => text.push_str(&format!("urn:uuid:{piece}")),
                }
            }
            texts.push(text);
        }
        let entries = texts.join(",");
        parts.push(format!(r#"{{"resourceType":"Bundle","type":"transaction","entry":[{entries}]}}"#));
    }
    parts
}
