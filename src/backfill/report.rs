//! What was refused for good: one line a resource, for whoever mends it. Keys and codes, never content.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::mirror::Told;
use crate::verdict::Issue;

/// One line of the report.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Refused {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version_id: Option<String>,
    pub verdict: String,
    /// It is kept as a dead letter, too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dead_letter: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub healthlake_status: Option<u16>,
    /// FHIR's IssueTypes
    pub codes: Vec<String>,
    /// Of an import: the input file, and HealthLake's number of the line in it
    #[serde(skip_serializing_if = "Option::is_none")]
    pub file: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line_id: Option<u64>,
}

impl Refused {
    pub fn of(key: &str, told: &Told) -> Self {
        Self {
            key: Some(key.to_owned()),
            version_id: told.version.version_id.as_deref().map(str::to_owned),
            verdict: told.refused.clone().unwrap_or_else(|| told.verdict.clone()),
            dead_letter: told.refused.is_some(),
            healthlake_status: told.healthlake_status,
            codes: codes(&told.issues),
            ..Self::default()
        }
    }
}

/// IssueTypes, each once. What is none of these is HealthLake's text, and stays out.
pub fn codes(issues: &[Issue]) -> Vec<String> {
    let mut codes: Vec<String> = Vec::new();
    for issue in issues {
        if is_code(&issue.code) && !codes.contains(&issue.code) {
            codes.push(issue.code.clone());
        }
    }
    codes
}

pub fn is_code(text: &str) -> bool {
    (1..=32).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-')
}

/// Appended to; made when there is something to say.
pub struct Report {
    path: PathBuf,
    file: Option<File>,
}

impl Report {
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    /// What an earlier backfill left, where a new one begins.
    pub fn clear(&mut self) -> std::io::Result<()> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    pub fn add(&mut self, refused: &Refused) -> std::io::Result<()> {
        if self.file.is_none() {
            let mut options = OpenOptions::new();
            self.file = Some(options.append(true).create(true).mode(0o600).open(&self.path)?);
        }
        let mut line = serde_json::to_vec(refused)?;
        line.push(b'\n');
        match &mut self.file {
            Some(file) => file.write_all(&line),
            None => Ok(()),
        }
    }

    /// On disk when it returns: before the cursor moves past what it tells of.
    pub fn sync(&self) -> std::io::Result<()> {
        self.file.as_ref().map_or(Ok(()), File::sync_data)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }
}
