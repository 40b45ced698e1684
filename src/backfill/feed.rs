//! NDJSON for HealthLake's import: a resource a line, a type a file, files small enough for every data store. Files
//! are written in a directory of this machine and go to their place once the cursor is past what they hold, so that
//! a run that is killed goes on where it was.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::cursor::Exported;
use super::places::{Place, PlaceError};

#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{0}: has NDJSON files of another backfill; name an empty directory")]
    NotEmpty(PathBuf),
    #[error("{0}: the cursor says that it holds more than it does; begin anew with --restart")]
    Lost(PathBuf),
    #[error("{0}")]
    Place(#[from] PlaceError),
}

/// Files being written.
pub struct Feed {
    directory: PathBuf,
    place: Place,
    /// A file of this many bytes is closed.
    most: u64,
    /// Files begun so far: the last one's number
    number: u64,
    open: Option<Open>,
    /// Closed since the last commit, or in an earlier run, and not yet in their place
    closed: Vec<String>,
}

struct Open {
    name: String,
    resource_type: String,
    file: BufWriter<File>,
    length: u64,
}

impl Feed {
    /// Goes on from what the cursor knows, or begins where it knows of nothing; `directory` is where files are written, which may be their place.
    pub fn open(
        directory: &Path,
        place: Place,
        most: u64,
        exported: Option<&Exported>,
    ) -> Result<Self, FeedError> {
        let fresh = exported.is_none();
        let exported = exported.cloned().unwrap_or_default();
        let failed = |source| FeedError::Io { path: directory.to_owned(), source };
        std::fs::create_dir_all(directory).map_err(failed)?;
        let mut feed = Self {
            directory: directory.to_owned(),
            place,
            most: most.max(1),
            number: exported.number,
            open: None,
            closed: Vec::new(),
        };
        for name in feed.names().map_err(failed)? {
            if fresh {
                return Err(FeedError::NotEmpty(directory.to_owned()));
            }
            match (number(&name), &exported.open) {
                (_, Some((open, length))) if *open == name => feed.reopen(&name, *length)?,
                // Begun after the cursor was saved: its windows are read again.
                (Some(at), _) if at > exported.number => feed.remove(&name).map_err(failed)?,
                // Closed, and the run ended before it was in its place.
                _ => feed.closed.push(name),
            }
        }
        match &exported.open {
            Some((name, length)) if feed.open.is_none() && *length > 0 => {
                Err(FeedError::Lost(feed.directory.join(name)))
            }
            _ => Ok(feed),
        }
    }

    fn names(&self) -> std::io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.directory)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if number(&name).is_some() {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn reopen(&mut self, name: &str, length: u64) -> Result<(), FeedError> {
        let path = self.directory.join(name);
        let failed = |source| FeedError::Io { path: path.clone(), source };
        let mut file = OpenOptions::new().write(true).open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.len() < length {
            return Err(FeedError::Lost(path));
        }
        // What was written after the cursor was saved is written again.
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        let resource_type = name.split('-').next().unwrap_or_default().to_owned();
        self.open = Some(Open { name: name.to_owned(), resource_type, file: BufWriter::new(file), length });
        Ok(())
    }

    fn remove(&self, name: &str) -> std::io::Result<()> {
        std::fs::remove_file(self.directory.join(name))
    }

    /// One resource as FHIR JSON; a line break between its tokens becomes a space, nothing else changes.
    pub fn write(&mut self, resource_type: &str, json: &[u8]) -> Result<(), FeedError> {
        if self.open.as_ref().is_some_and(|open| {
            open.resource_type != resource_type || open.length + json.len() as u64 + 1 > self.most
        }) {
            self.close()?;
        }
        let open = match &mut self.open {
            Some(open) => open,
            None => {
                self.number += 1;
                let name = format!("{resource_type}-{:06}.ndjson", self.number);
                let path = self.directory.join(&name);
                let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
                let file = file.map_err(|source| FeedError::Io { path, source })?;
                let resource_type = resource_type.to_owned();
                self.open.insert(Open { name, resource_type, file: BufWriter::new(file), length: 0 })
            }
        };
        let written = write_line(&mut open.file, json);
        open.length += json.len() as u64 + 1;
        written.map_err(|source| FeedError::Io { path: self.directory.join(&open.name), source })
    }

    /// No more comes for the file that is open.
    pub fn close(&mut self) -> Result<(), FeedError> {
        if let Some(mut open) = self.open.take() {
            let path = self.directory.join(&open.name);
            let synced = open.file.flush().and_then(|()| open.file.get_ref().sync_data());
            synced.map_err(|source| FeedError::Io { path, source })?;
            self.closed.push(open.name);
        }
        Ok(())
    }

    /// All that was written is on disk when it returns, and what the cursor should say of it.
    pub fn sync(&mut self) -> Result<Exported, FeedError> {
        let mut exported = Exported { number: self.number, ..Exported::default() };
        if let Some(open) = &mut self.open {
            let path = self.directory.join(&open.name);
            let synced = open.file.flush().and_then(|()| open.file.get_ref().sync_data());
            synced.map_err(|source| FeedError::Io { path, source })?;
            exported.open = Some((open.name.clone(), open.length));
        }
        Ok(exported)
    }

    /// After the cursor was saved: what is closed goes to its place. May be repeated.
    pub async fn deliver(&mut self) -> Result<(), FeedError> {
        for name in std::mem::take(&mut self.closed) {
            let path = self.directory.join(&name);
            if self.place.put(&name, &path).await? {
                self.remove(&name).map_err(|source| FeedError::Io { path, source })?;
            }
        }
        Ok(())
    }
}

fn write_line(file: &mut impl Write, json: &[u8]) -> std::io::Result<()> {
    // A string holds no raw line break, so these stand between tokens.
    for (at, part) in json.split(|byte| matches!(byte, b'\n' | b'\r')).enumerate() {
        if at > 0 {
            file.write_all(b" ")?;
        }
        file.write_all(part)?;
    }
    file.write_all(b"\n")
}

/// Of `Patient-000001.ndjson`
fn number(name: &str) -> Option<u64> {
    let (resource_type, number) = name.strip_suffix(".ndjson")?.split_once('-')?;
    (crate::delivery::is_resource_type(resource_type) && number.len() >= 6).then(|| number.parse().ok())?
}

#[cfg(test)]
#[path = "feed_tests.rs"]
mod tests;
