//! How far a backfill is: all before it is settled, or refused and reported. A file that is replaced whole, or an
//! item of the order table.

use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::CursorTable;

/// Changed where an older program could not go on from it.
const FORMAT: u32 = 1;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Cursor {
    pub format: u32,
    /// Of this backfill, anew at each start from the beginning
    pub id: String,
    /// What it reads and where to, so that nobody goes on with another one's cursor
    pub what: What,
    pub started: Timestamp,
    pub types: Vec<TypeState>,
    pub position: Position,
    /// Types that HealthLake does not take
    pub not_supported: Vec<String>,
    #[serde(default)]
    pub counted: Counted,
    /// Of a backfill into files
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exported: Option<Exported>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct What {
    /// FHIR base URL
    pub cdr: String,
    /// HealthLake's endpoint, or where files go
    pub to: String,
    /// As given; empty: all
    pub types: Vec<String>,
    pub since: Option<Timestamp>,
    /// What is kept out, a rule each: files written under other rules are no part of it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TypeState {
    pub name: String,
    /// When the backfill began
    pub count: u64,
    /// The CDR does not search it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
}

/// Everything before it is done: the types before `at`, and of that type what was updated before `from`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Index into `types`
    pub at: usize,
    pub from: Option<Timestamp>,
}

/// Resources in the windows before the position
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Counted {
    /// HealthLake has them, or something newer.
    pub settled: u64,
    pub refused: u64,
    /// Of types that HealthLake does not take
    pub skipped: u64,
    /// Kept out by the filter, by their labels mostly: types that are kept out are not read.
    pub filtered: u64,
}

impl Counted {
    pub fn all(&self) -> u64 {
        self.settled + self.refused + self.skipped + self.filtered
    }

    pub fn add(&mut self, more: Self) {
        self.settled += more.settled;
        self.refused += more.refused;
        self.skipped += more.skipped;
        self.filtered += more.filtered;
    }
}

/// Files written so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Exported {
    /// The file that is open: its name, and how much of it the position covers (bytes)
    pub open: Option<(String, u64)>,
    /// Files begun so far: the last one's number
    pub number: u64,
    /// All files are in their place.
    pub complete: bool,
    pub job: Option<JobState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobState {
    pub id: String,
}

#[derive(Debug, thiserror::Error)]
pub enum CursorError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0}: is no cursor of a backfill; name another file, or begin anew with --restart")]
    NotOurs(String),
    #[error(
        "{at}: belongs to a backfill {of}; end that one first, name another --cursor, or begin anew with --restart"
    )]
    Other { at: String, of: String },
    #[error("{0}: another backfill uses it at this moment")]
    InUse(PathBuf),
    #[error("the order table: {0}")]
    Table(String),
}

impl Cursor {
    pub fn new(what: What, types: Vec<TypeState>) -> Self {
        Self {
            format: FORMAT,
            id: uuid::Uuid::new_v4().to_string(),
            what,
            started: Timestamp::now(),
            types,
            position: Position::default(),
            not_supported: Vec::new(),
            counted: Counted::default(),
            exported: None,
        }
    }

    pub fn total(&self) -> u64 {
        self.types.iter().map(|state| state.count).sum()
    }

    /// Read whole: what is left is for an import.
    pub fn is_read(&self) -> bool {
        self.position.at >= self.types.len()
    }

    pub fn unreadable(&self) -> Vec<&str> {
        self.types.iter().filter(|state| state.unreadable).map(|state| state.name.as_str()).collect()
    }

    pub(super) fn parse(json: &[u8], at: &str, what: &What) -> Result<Self, CursorError> {
        let not_ours = |_| CursorError::NotOurs(at.to_owned());
        let cursor: Self = serde_json::from_slice(json).map_err(not_ours)?;
        if cursor.format != FORMAT {
            return Err(CursorError::NotOurs(at.to_owned()));
        }
        if cursor.what != *what {
            return Err(CursorError::Other { at: at.to_owned(), of: cursor.what.to_string() });
        }
        Ok(cursor)
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cdr, to, types, since, filter } = self;
        write!(f, "from {cdr} to {to}")?;
        if !types.is_empty() {
            write!(f, " of {}", types.join(", "))?;
        }
        if let Some(since) = since {
            write!(f, " since {since}")?;
        }
        if !filter.is_empty() {
            write!(f, " but for what the filter keeps out ({})", filter.join("; "))?;
        }
        Ok(())
    }
}

/// Where a cursor is kept.
pub enum CursorStore {
    File(CursorFile),
    Table(CursorTable),
}

impl CursorStore {
    /// The cursor of an earlier run of the same backfill.
    pub async fn load(&self, what: &What) -> Result<Option<Cursor>, CursorError> {
        match self {
            Self::File(file) => file.load(what),
            Self::Table(table) => table.load(what).await,
        }
    }

    /// On disk, or in the table, when it returns.
    pub async fn save(&self, cursor: &Cursor) -> Result<(), CursorError> {
        match self {
            Self::File(file) => file.save(cursor),
            Self::Table(table) => table.save(cursor).await,
        }
    }

    pub async fn remove(&self) -> Result<(), CursorError> {
        match self {
            Self::File(file) => file.remove(),
            Self::Table(table) => table.remove().await,
        }
    }
}

impl std::fmt::Display for CursorStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(file) => write!(f, "{}", file.path.display()),
            Self::Table(table) => write!(f, "{table}"),
        }
    }
}

/// Locked as long as it lives, against a second backfill with the same cursor.
pub struct CursorFile {
    path: PathBuf,
    _lock: File,
}

impl CursorFile {
    pub fn open(path: &Path) -> Result<Self, CursorError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| CursorError::Io { path, source }
        };
        if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
            std::fs::create_dir_all(directory).map_err(failed(directory))?;
        }
        let beside = beside(path, ".lock");
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(&beside);
        let lock = lock.map_err(failed(&beside))?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { path: path.to_owned(), _lock: lock }),
            Err(std::fs::TryLockError::WouldBlock) => Err(CursorError::InUse(path.to_owned())),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(&beside)(source)),
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn load(&self, what: &What) -> Result<Option<Cursor>, CursorError> {
        match std::fs::read(&self.path) {
            Ok(json) => Cursor::parse(&json, &self.path.display().to_string(), what).map(Some),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(self.failed(source)),
        }
    }

    fn save(&self, cursor: &Cursor) -> Result<(), CursorError> {
        self.replace(cursor).map_err(|source| self.failed(source))
    }

    fn replace(&self, cursor: &Cursor) -> std::io::Result<()> {
        let new = beside(&self.path, ".new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
        file.write_all(&serde_json::to_vec_pretty(cursor)?)?;
        file.sync_data()?;
        std::fs::rename(&new, &self.path)?;
        match self.path.parent() {
            Some(directory) if !directory.as_os_str().is_empty() => File::open(directory)?.sync_all(),
            _ => File::open(".")?.sync_all(),
        }
    }

    fn remove(&self) -> Result<(), CursorError> {
        match std::fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(self.failed(error)),
            _ => Ok(()),
        }
    }

    fn failed(&self, source: std::io::Error) -> CursorError {
        CursorError::Io { path: self.path.clone(), source }
    }
}

impl Drop for CursorFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(beside(&self.path, ".lock"));
    }
}

/// A file beside another one.
pub fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
