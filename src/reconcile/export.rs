//! Bulk exports: NDJSON, a resource a line, as `$export` and HealthLake's export jobs write it; in folders, in S3, or
//! as the CDR hands it out. Read as it comes, into the index; in which order does not matter.

mod body;
mod job;
mod lines;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::canonical::Decimals;
use super::cdr::judged;
use super::index::{Index, IndexError, Which};
use super::side::{At, Held, at};
use crate::backfill::{PlaceError, S3};
use crate::cdr::{BulkFile, Cdr, CdrError};
use crate::filter::Filter;
use crate::searchset::Head;

use body::Body;
use lines::Lines;

pub use job::{ExportJob, ExportSettings};

/// Where an export is.
#[derive(Clone)]
pub enum Export {
    /// A file, or a folder of files and folders
    Folder(PathBuf),
    /// What is below the prefix; of one job only, where its id is given
    S3 { s3: S3, of_job: Option<String> },
    /// What the CDR made of itself
    OfCdr { cdr: Arc<Cdr>, files: Vec<BulkFile> },
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{0}: {1}")]
    Io(PathBuf, std::io::Error),
    #[error("{0} holds no .ndjson or .ndjson.gz file")]
    Empty(String),
    /// Says nothing of what stands there.
    #[error("{0}, line {1}: no FHIR resource with a type and an id")]
    Line(String, u64),
    #[error("{0}: broken gzip: {1}")]
    Gzip(String, std::io::Error),
    #[error("{0} holds exports of several jobs: name the folder of one, as {1}")]
    Several(String, String),
    #[error(transparent)]
    S3(#[from] PlaceError),
    #[error("{0}: {1}")]
    Cdr(String, CdrError),
    #[error(transparent)]
    Index(#[from] IndexError),
}

/// A file of an export.
enum Part {
    Path(PathBuf),
    Object(String),
    OfCdr(BulkFile),
}

impl Part {
    fn name(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Object(key) => key.clone(),
            Self::OfCdr(file) => file.url.to_string(),
        }
    }
}

/// Reads every file into what waits to be taken in, and says which types there were. `filter`: of what is read, what
/// the mirror does not have to hold; HealthLake's side has none.
pub async fn load(
    index: &Index,
    which: Which,
    export: &Export,
    decimals: Decimals,
    filter: &Filter,
    (sweep, seen): (u32, At),
    heard: &(dyn Fn(&str, Which, usize) + Sync),
) -> Result<BTreeSet<String>, ExportError> {
    // Of an earlier attempt
    index.forget_listed(which, None)?;
    let mut listing = index.listing(which, sweep);
    let mut kinds = BTreeSet::new();
    let mut n = 0;
    each_resource(export, decimals, filter, &mut |kind, id, held| {
        if !kinds.contains(kind) {
            kinds.insert(kind.to_owned());
        }
        if filter.by_type(kind).is_some() {
            return Ok(());
        }
        n += 1;
        if n % 1000 == 0 {
            heard(kind, which, 1000);
        }
        listing.add(kind, id, &held, seen);
        Ok(listing.page(None)?)
    })
    .await?;
    listing.end()?;
    Ok(kinds)
}

type Work<'a> = dyn FnMut(&str, &str, Held) -> Result<(), ExportError> + Send + 'a;

/// Type, id and version of each resource.
pub async fn each_resource(
    export: &Export,
    decimals: Decimals,
    filter: &Filter,
    work: &mut Work<'_>,
) -> Result<(), ExportError> {
    for part in export.parts().await? {
        let name = part.name();
        let mut each = |number: u64, line: &[u8]| {
            let bad = || ExportError::Line(name.clone(), number);
            let head = Head::of(line);
            if !crate::delivery::is_id(&head.id) || !crate::delivery::is_resource_type(&head.resource_type) {
                return Err(bad());
            }
            let held = Held {
                version: head.meta.version_id.as_deref().unwrap_or_default().to_owned(),
                updated: at(head.meta.last_updated.as_deref()),
                digest: judged(line, decimals, filter).map_err(|_| bad())?,
            };
            work(&head.resource_type, &head.id, held)
        };
        let mut lines = Lines::of(&name);
        let mut body = export.open(part).await?;
        while let Some(chunk) = body.chunk().await? {
            lines.push(&chunk, &mut each)?;
        }
        lines.end(&mut each)?;
    }
    Ok(())
}

impl Export {
    async fn parts(&self) -> Result<Vec<Part>, ExportError> {
        let parts: Vec<Part> = match self {
            Self::Folder(path) => files(path)?.into_iter().map(Part::Path).collect(),
            Self::S3 { s3, of_job } => {
                let mut keys = s3.list().await?;
                keys.retain(|key| is_ndjson(key));
                if let Some(id) = of_job {
                    // The folder's name has it; what stands before it is HealthLake's. An empty store exports no file.
                    keys.retain(|key| key.contains(id));
                    return Ok(keys.into_iter().map(Part::Object).collect());
                }
                one_job(s3, &keys)?;
                keys.into_iter().map(Part::Object).collect()
            }
            // A CDR without a resource exports no file.
            Self::OfCdr { files, .. } => return Ok(files.iter().cloned().map(Part::OfCdr).collect()),
        };
        if parts.is_empty() { Err(ExportError::Empty(self.place())) } else { Ok(parts) }
    }

    fn place(&self) -> String {
        match self {
            Self::Folder(path) => path.display().to_string(),
            Self::S3 { s3, .. } => s3.uri.to_string(),
            Self::OfCdr { cdr, .. } => cdr.base().to_owned(),
        }
    }

    async fn open(&self, part: Part) -> Result<Body, ExportError> {
        match (self, part) {
            (Self::S3 { s3, .. }, Part::Object(key)) => Ok(Body::object(s3, key).await?),
            (Self::OfCdr { cdr, .. }, Part::OfCdr(file)) => {
                let name = file.url.to_string();
                match cdr.open_bulk(&file).await {
                    Ok(download) => Ok(Body::OfCdr(name, download)),
                    Err(error) => Err(ExportError::Cdr(name, error)),
                }
            }
            (_, part) => Body::file(Path::new(&part.name())).await,
        }
    }
}

fn is_ndjson(name: &str) -> bool {
    name.ends_with(".ndjson") || name.ends_with(".ndjson.gz")
}

/// HealthLake writes each job's files into a folder `{datastoreId}-FHIR_EXPORT-{jobId}`. Two jobs' together are no
/// state that ever was.
fn one_job(s3: &S3, keys: &[String]) -> Result<(), ExportError> {
    let mut jobs = keys.iter().filter_map(|key| {
        let below = key.strip_prefix(&s3.uri.prefix)?;
        let at = below.find("-FHIR_EXPORT-")?;
        let end = below[at..].find('/')? + at;
        Some(&below[..end])
    });
    let Some(first) = jobs.next() else { return Ok(()) };
    match jobs.find(|job| *job != first) {
        None => Ok(()),
        Some(other) => Err(ExportError::Several(s3.uri.to_string(), format!("{}{other}/", s3.uri))),
    }
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
            if kind.is_dir() {
                folders.push(path);
            } else if is_ndjson(&entry.file_name().to_string_lossy()) {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}
