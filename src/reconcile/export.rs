//! Bulk exports: folders of NDJSON, a resource a line, as `$export` and HealthLake's export jobs write them. Read line
//! by line into the index; in which order they come does not matter.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;

use super::canonical::Decimals;
use super::cdr::judged;
use super::index::{Index, IndexError, Which};
use super::side::{At, Held, at};
use crate::filter::Filter;

/// Lines of one type that are written at once.
const BATCH: usize = 2000;
/// Longer lines are no resource that HealthLake takes (bytes).
const LONGEST: u64 = 200 << 20;

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    #[error("{0} holds no .ndjson or .ndjson.gz file")]
    Empty(PathBuf),
    /// Says nothing of what stands there.
    #[error("{0}, line {1}: no FHIR resource with a type and an id")]
    Line(PathBuf, u64),
    #[error(transparent)]
    Index(#[from] IndexError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    resource_type: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    meta: Meta,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    version_id: Option<String>,
    last_updated: Option<String>,
}

/// `filter`: of what is read, what the mirror does not have to hold; HealthLake's side has none. Reads every file of the folder and of those in it, gzip too.
pub fn load(
    index: &Index,
    which: Which,
    folder: &Path,
    decimals: Decimals,
    filter: &Filter,
    sweep: u32,
    seen: At,
) -> Result<(), ExportError> {
    let (mut of, mut batch) = (String::new(), Vec::new());
    each_resource(folder, decimals, filter, &mut |kind, id, held| {
        if filter.by_type(kind).is_some() {
            return Ok(());
        }
        if kind != of || batch.len() == BATCH {
            index.add(which, &of, &batch, seen, sweep, false)?;
            batch.clear();
            kind.clone_into(&mut of);
        }
        batch.push((id.to_owned(), held));
        Ok(())
    })?;
    Ok(index.add(which, &of, &batch, seen, sweep, false)?)
}

/// Type, id and version of each resource in a file, or in a folder's files.
pub fn each_resource(
    path: &Path,
    decimals: Decimals,
    filter: &Filter,
    work: &mut dyn FnMut(&str, &str, Held) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    for path in files(path)? {
        each_line(&path, |number, line| {
            let bad = || ExportError::Line(path.clone(), number);
            let head: Head = serde_json::from_slice(line).map_err(|_| bad())?;
            if !crate::delivery::is_id(&head.id) || !crate::delivery::is_resource_type(&head.resource_type) {
                return Err(bad());
            }
            let held = Held {
                version: head.meta.version_id.unwrap_or_default(),
                updated: at(head.meta.last_updated.as_deref()),
                digest: judged(line, decimals, filter).map_err(|_| bad())?,
            };
            work(&head.resource_type, &head.id, held)
        })?;
    }
    Ok(())
}

/// The types in a folder.
pub fn kinds(folder: &Path) -> Result<BTreeSet<String>, ExportError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Typed {
        resource_type: String,
    }
    let mut kinds = BTreeSet::new();
    for path in files(folder)? {
        each_line(&path, |number, line| {
            let typed: Typed =
                serde_json::from_slice(line).map_err(|_| ExportError::Line(path.clone(), number))?;
            if !kinds.contains(&typed.resource_type) {
                kinds.insert(typed.resource_type);
            }
            Ok(())
        })?;
    }
    Ok(kinds)
}

fn files(folder: &Path) -> Result<Vec<PathBuf>, ExportError> {
    if folder.is_file() {
        return Ok(vec![folder.to_owned()]);
    }
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let io = |error| ExportError::Io(at.clone(), error);
        for entry in std::fs::read_dir(&at).map_err(io)? {
            let entry = entry.map_err(io)?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(io)?);
            let name = entry.file_name().to_string_lossy().into_owned();
            if kind.is_dir() {
                folders.push(path);
            } else if name.ends_with(".ndjson") || name.ends_with(".ndjson.gz") {
                files.push(path);
            }
        }
    }
    files.sort();
    if files.is_empty() { Err(ExportError::Empty(folder.to_owned())) } else { Ok(files) }
}

fn each_line(
    path: &Path,
    mut work: impl FnMut(u64, &[u8]) -> Result<(), ExportError>,
) -> Result<(), ExportError> {
    let io = |error| ExportError::Io(path.to_owned(), error);
    let file = File::open(path).map_err(io)?;
    let gzip = path.extension().is_some_and(|extension| extension == "gz");
    let file: Box<dyn Read> = if gzip { Box::new(MultiGzDecoder::new(file)) } else { Box::new(file) };
    let mut reader = BufReader::with_capacity(1 << 16, file);
    let (mut line, mut number) = (Vec::new(), 0);
    loop {
        line.clear();
        if (&mut reader).take(LONGEST).read_until(b'\n', &mut line).map_err(io)? == 0 {
            return Ok(());
        }
        number += 1;
        let line = line.trim_ascii();
        if !line.is_empty() {
            work(number, line)?;
        }
    }
}
