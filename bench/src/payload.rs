//! What is sent: real resources, each under an id of its own.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use clap::Args;

use crate::Result;

/// What is to be sent.
#[derive(Args)]
pub struct Resources {
    /// Folder of R4 resources as JSON; else a mix of our own
    #[arg(long, env = "LAKEHOOK_BENCH_RESOURCES")]
    resources: Option<PathBuf>,
    /// Bytes of each resource, instead of real ones
    #[arg(long)]
    size: Option<usize>,
}

pub struct Payload {
    /// `Type/id`
    pub path: String,
    pub json: Bytes,
}

/// What hospitals send all day.
const EVERYDAY: [&str; 12] = [
    "AllergyIntolerance",
    "CarePlan",
    "Condition",
    "DiagnosticReport",
    "Encounter",
    "Immunization",
    "MedicationRequest",
    "Observation",
    "Organization",
    "Patient",
    "Practitioner",
    "Procedure",
];
/// A key is written again only long after: deliveries of one resource wait for each other.
const PAYLOADS: usize = 20_000;
/// With the sender's own memory in mind (bytes)
const MOST: usize = 256 << 20;

impl Resources {
    /// Every resource of the folder, whatever its type and size.
    pub fn every_type(&self, connections: usize) -> Result<Vec<Payload>> {
        let Some(folder) = &self.resources else {
            return Err("--resources names a folder of R4 resources".into());
        };
        let originals = in_folder(folder, |_, _| true)?;
        let rounds = connections.div_ceil(originals.len().max(1)) * originals.len();
        Ok((0..rounds).map(|n| numbered(&originals[n % originals.len()], n)).collect())
    }

    pub fn payloads(&self, connections: usize) -> Result<Vec<Payload>> {
        let originals = match (self.size, &self.resources) {
            (Some(size), _) => vec![of_size(size)],
            (None, Some(folder)) => in_folder(folder, everyday)?,
            (None, None) => vec![of_size(600), of_size(1_200), of_size(2_300), of_size(8_000)],
        };
        if originals.is_empty() {
            return Err("no resource of an everyday type in the folder".into());
        }
        let mean = originals.iter().map(|(_, json)| json.len()).sum::<usize>() / originals.len();
        let count = PAYLOADS.min((MOST / mean).max(connections * 2));
        Ok((0..count).map(|n| numbered(&originals[n % originals.len()], n)).collect())
    }
}

/// So many resources of about so many bytes.
pub fn of_one_size(size: usize, count: usize) -> Vec<Payload> {
    let original = of_size(size);
    (0..count).map(|n| numbered(&original, n)).collect()
}

/// The same resource under another id.
fn numbered((resource_type, json): &(String, String), n: usize) -> Payload {
    let id = format!("bench-{n}");
    let json = match serde_json::from_str::<serde_json::Value>(json) {
        Ok(mut value) => {
            value["id"] = id.clone().into();
            value["meta"] = serde_json::json!({"versionId": "1", "lastUpdated": "2026-01-01T00:00:00.000Z"});
            value.to_string()
        }
        Err(_) => json.clone(),
    };
    Payload { path: format!("{resource_type}/{id}"), json: json.into() }
}

fn everyday(resource_type: &str, bytes: usize) -> bool {
    EVERYDAY.contains(&resource_type) && bytes < 100_000
}

/// Those of the folder's resources that are wanted, by type and bytes.
fn in_folder(folder: &Path, wanted: impl Fn(&str, usize) -> bool) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    let mut paths: Vec<_> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|e| e.path())).collect::<std::io::Result<_>>()?;
    paths.sort();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "json")) {
        let text = std::fs::read_to_string(path)?;
        let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) else { continue };
        let Some(resource_type) = value["resourceType"].as_str() else { continue };
        if wanted(resource_type, text.len()) && value["id"].is_string() {
            // Compact, as HAPI sends.
            found.push((resource_type.to_owned(), value.to_string()));
        }
    }
    Ok(found)
}

/// A Patient of about this many bytes: names, as many as it takes.
fn of_size(size: usize) -> (String, String) {
    let mut names = vec![r#"{"family":"Example"}"#.to_owned()];
    let mut length = 120;
    while length < size {
        let n = names.len();
        let name = format!(
            r#"{{"use":"official","family":"Family{n}","given":["Given{n}","Middle{n}"],"period":{{"start":"2001-02-03"}}}}"#
        );
        length += name.len() + 1;
        names.push(name);
    }
    let json = format!(
        r#"{{"resourceType":"Patient","id":"x","active":true,"gender":"female","birthDate":"1980-01-02","name":[{}]}}"#,
        names.join(",")
    );
    ("Patient".to_owned(), json)
}
