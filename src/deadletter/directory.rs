//! Dead letters as files of one directory: `Type_id_letter.letter`, for lakehook's user only. A file is written under
//! another name, brought to the disk and renamed; so a letter is there whole, or not at all.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::blob::{Blobs, HEAD};
use super::{Answer, Checked, DeadLetters, Letter, LetterId, Name, Payload, StoreError, Stored, Usage};
use crate::delivery::Key;

const SUFFIX: &str = ".letter";
/// A file that a crash left half written is removed after so long.
const HALF_WRITTEN: Duration = Duration::from_secs(3600);

#[derive(Clone)]
pub struct Directory(Arc<Inner>);

struct Inner {
    path: PathBuf,
    blobs: Blobs,
}

impl Directory {
    /// Makes it where it is not there.
    pub fn open(path: &Path, blobs: Blobs) -> Result<Self, String> {
        let error = |error: io::Error| format!("{}: {error}", path.display());
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(error)?;
        fs::read_dir(path).map_err(error)?;
        Ok(Self::at(path, blobs))
    }

    /// Where it need not be there: nothing is made.
    pub fn at(path: &Path, blobs: Blobs) -> Self {
        Self(Arc::new(Inner { path: path.to_owned(), blobs }))
    }

    fn run<'a, T: Send + 'static>(
        &'a self,
        work: impl FnOnce(&Inner) -> Result<T, StoreError> + Send + 'static,
    ) -> Answer<'a, T> {
        let inner = self.0.clone();
        Box::pin(async move {
            let work = tokio::task::spawn_blocking(move || work(&inner));
            work.await.unwrap_or_else(|_| Err(StoreError::Failed("its task ended".to_owned())))
        })
    }
}

impl Inner {
    fn failed(&self, what: &str, error: &io::Error) -> StoreError {
        StoreError::Failed(format!("{}: {what}: {error}", self.path.display()))
    }

    fn write(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let half = self.path.join(format!(".{}.new", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&half)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&half, self.path.join(name))?;
            // The rename is on the disk once the directory is.
            File::open(&self.path)?.sync_all()
        })();
        if written.is_err() {
            let _ = fs::remove_file(&half);
        }
        written
    }

    /// Files whose names begin with `prefix`; what is no letter's name is not ours.
    fn names(&self, prefix: &str) -> Result<Vec<Name>, StoreError> {
        let failed = |error: io::Error| self.failed("can't be listed", &error);
        let entries = match fs::read_dir(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(failed)?,
        };
        let mut names = Vec::new();
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let file = entry.file_name();
            let Some((key, id)) = file.to_str().filter(|f| f.starts_with(prefix)).and_then(parse) else {
                if file.to_str().is_some_and(|file| file.starts_with('.') && file.ends_with(".new")) {
                    sweep(&entry);
                }
                continue;
            };
            // Gone meanwhile: somebody removed it.
            let Ok(metadata) = entry.metadata() else { continue };
            let at = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            names.push(Name { key, id, bytes: metadata.len(), at });
        }
        Ok(names)
    }

    /// At the most so many bytes of a letter's file; None where it is gone.
    fn bytes(&self, name: &Name, most: u64) -> Result<Option<Vec<u8>>, StoreError> {
        let mut bytes = Vec::new();
        let read = File::open(self.path.join(file_name(&name.key, &name.id)))
            .and_then(|file| file.take(most).read_to_end(&mut bytes));
        match read {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("a letter can't be read", &error)),
        }
    }
}

fn sweep(entry: &fs::DirEntry) {
    let age = entry.metadata().and_then(|metadata| metadata.modified()).ok();
    if age.and_then(|at| at.elapsed().ok()).is_some_and(|age| age > HALF_WRITTEN) {
        let _ = fs::remove_file(entry.path());
    }
}

fn file_name(key: &Key, id: &LetterId) -> String {
    format!("{}_{}_{id}{SUFFIX}", key.resource_type(), key.id())
}

fn parse(file: &str) -> Option<(Key, LetterId)> {
    let mut parts = file.strip_suffix(SUFFIX)?.split('_');
    let (resource_type, id, letter) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() {
        return None;
    }
    Some((Key::new(resource_type, id).ok()?, LetterId::parse(letter)?))
}

impl DeadLetters for Directory {
    fn keep<'a>(&'a self, letter: &'a Letter, payload: Payload) -> Answer<'a, ()> {
        let letter = letter.clone();
        self.run(move |inner| {
            let blob = inner.blobs.write(&letter, &payload)?;
            let name = file_name(&letter.key, &letter.id);
            inner.write(&name, &blob).map_err(|error| inner.failed("a letter can't be written", &error))
        })
    }

    fn names(&self) -> Answer<'_, Vec<Name>> {
        self.run(|inner| inner.names(""))
    }

    fn names_of<'a>(&'a self, key: &'a Key) -> Answer<'a, Vec<Name>> {
        let prefix = format!("{}_{}_", key.resource_type(), key.id());
        self.run(move |inner| inner.names(&prefix))
    }

    fn letter<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Letter>> {
        let name = name.clone();
        self.run(move |inner| {
            let bytes = inner.bytes(&name, HEAD as u64)?;
            bytes.map(|bytes| inner.blobs.letter(&name.id, &bytes)).transpose()
        })
    }

    fn read<'a>(&'a self, name: &'a Name) -> Answer<'a, Option<Stored>> {
        let name = name.clone();
        self.run(move |inner| {
            let bytes = inner.bytes(&name, u64::MAX)?;
            bytes.map(|bytes| inner.blobs.read(&name.id, &bytes)).transpose()
        })
    }

    fn remove<'a>(&'a self, name: &'a Name) -> Answer<'a, bool> {
        let file = file_name(&name.key, &name.id);
        self.run(move |inner| match fs::remove_file(inner.path.join(file)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(inner.failed("a letter can't be removed", &error)),
        })
    }

    fn usage(&self) -> Answer<'_, Usage> {
        self.run(|inner| {
            let names = inner.names("")?;
            let bytes = names.iter().map(|name| name.bytes).sum();
            Ok(Usage { letters: names.len() as u64, bytes: Some(bytes) })
        })
    }

    fn check(&self) -> Answer<'_, Checked> {
        Box::pin(async {
            let usage = self.usage().await?;
            let sealed = if self.0.blobs.keys.is_some() { ", encrypted" } else { "" };
            let found = format!("{}: {} letters{sealed}", self.place(), usage.letters);
            Ok(Checked { found, advice: None })
        })
    }

    fn kind(&self) -> &'static str {
        "dir"
    }

    fn place(&self) -> String {
        self.0.path.display().to_string()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::store_tests::{Fresh, MARK, conformance, letter};
    use super::*;

    conformance!(fresh);

    async fn fresh() -> Fresh {
        let directory = tempfile::tempdir().unwrap();
        let store = Directory::open(&directory.path().join("letters"), Blobs::default()).unwrap();
        Fresh { store: Arc::new(store), replaces: true, keep: Box::new(directory) }
    }

    #[tokio::test]
    async fn files_are_for_their_user_only() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let store = Directory::open(&path, Blobs::default()).unwrap();
        let (letter, payload) = letter("Patient/p1", 1, MARK);
        store.keep(&letter, payload).await.unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(&path), 0o700);
        let files: Vec<_> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert_eq!(files.len(), 1, "nothing half written is left: {files:?}");
        assert_eq!(mode(&files[0]), 0o600);
    }

    #[tokio::test]
    async fn what_is_no_letter_is_left_alone_and_what_is_half_written_is_none() {
        let directory = tempfile::tempdir().unwrap();
        let store = Directory::open(directory.path(), Blobs::default()).unwrap();
        for file in [".abc.new", "notes.txt", "Patient_p1_zz.letter", "a_b_c_0123456789abcdef.letter"] {
            fs::write(directory.path().join(file), "x").unwrap();
        }
        let half = File::options().write(true).open(directory.path().join(".abc.new")).unwrap();
        assert_eq!(store.names().await.unwrap(), []);
        assert!(directory.path().join(".abc.new").exists(), "somebody may be at it");
        half.set_modified(SystemTime::now() - HALF_WRITTEN * 2).unwrap();
        store.names().await.unwrap();
        assert!(!directory.path().join(".abc.new").exists());
        assert!(directory.path().join("notes.txt").exists());
    }

    #[tokio::test]
    async fn a_directory_that_is_gone_is_an_error_that_names_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letters");
        let store = Directory::open(&path, Blobs::default()).unwrap();
        fs::remove_dir(&path).unwrap();
        let (letter, payload) = letter("Patient/p1", 1, MARK);
        let error = store.keep(&letter, payload).await.unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()) && !error.contains(MARK), "{error}");
    }

    /// Every write to it fails with "no space left on device".
    #[tokio::test]
    async fn a_full_disk_is_an_error_and_leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
            .arg(directory.path())
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            return; // Not root, or a container without the right to mount: the wire tests fill the store instead.
        }
        let store = Directory::open(directory.path(), Blobs::default()).unwrap();
        let (letter, payload) = letter("Patient/p1", 1, &"x".repeat(200_000));
        let failed = store.keep(&letter, payload).await;
        let left: Vec<_> = fs::read_dir(directory.path()).unwrap().collect();
        let unmounted = std::process::Command::new("umount").arg(directory.path()).status().unwrap();
        assert!(unmounted.success());
        let error = failed.unwrap_err().to_string();
        assert!(error.contains("can't be written"), "{error}");
        assert!(left.is_empty(), "{left:?}");
    }
}
