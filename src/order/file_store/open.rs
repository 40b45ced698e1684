//! Opening the file: created for this user only, locked, every page checked, marked as in use.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, StorageBackend, backends};

use super::error::FileStoreError;
use super::shared::unpanicked;
use super::stored::*;
use super::{FileOptions, OnDamage};

/// Of redb's own pages, beside our cache of records
const PAGE_CACHE: usize = 32 << 20;

/// Files smaller than this are never compacted: it is not worth the writes.
const COMPACT_FROM: u64 = 16 << 20;

/// How every redb file begins.
const MAGIC: &[u8] = b"redb\x1a\n\xa9\r\n";

pub(super) struct Opened {
    pub database: Database,
    pub run: u64,
    pub suspicion: Suspicion,
    pub len: u64,
    pub set_aside: Option<PathBuf>,
}

pub(super) fn open_or_create(path: &Path, options: &FileOptions) -> Result<Opened, FileStoreError> {
    if !path.try_exists().map_err(FileStoreError::io(path))? {
        create(path, options, Suspicion::default())?;
    }
    match open(path, options) {
        Err(FileStoreError::Damaged { reason, .. }) if options.on_damage == OnDamage::SetAside => {
            let aside = set_aside(path, options)?;
            tracing::warn!(file = %path.display(), aside = %aside.display(), reason, "the order file is damaged: started anew");
            // Nobody knows what was in flight.
            create(
                path,
                options,
                Suspicion { run: 1, until: options.started + options.settle, repeats: options.repeats },
            )?;
            Ok(Opened { set_aside: Some(aside), ..open(path, options)? })
        }
        outcome => outcome,
    }
}

fn open(path: &Path, options: &FileOptions) -> Result<Opened, FileStoreError> {
    let mut database = check(path, options)?;
    compact(path, &mut database)?;
    let (run, suspicion, len) =
        unpanicked(|| begin(&database, options)).map_err(|error| FileStoreError::from_redb(path, error))?;
    Ok(Opened { database, run, suspicion, len, set_aside: None })
}

/// Opens without changing what the file says: at the start, and again after a failure.
pub(super) fn check(path: &Path, options: &FileOptions) -> Result<Database, FileStoreError> {
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(FileStoreError::io(path))?;
    let mut head = [0; MAGIC.len()];
    match file.read_exact(&mut head) {
        Ok(()) if head == MAGIC => {}
        Ok(()) if head == [0; MAGIC.len()] => {
            return Err(FileStoreError::damaged(path, "it begins with zeros"));
        }
        Ok(()) => return Err(FileStoreError::foreign(path, "it begins like another kind of file")),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Err(FileStoreError::damaged(path, "it is cut short"));
        }
        Err(error) => return Err(FileStoreError::io(path)(error)),
    }
    let opened = unpanicked(|| {
        let backend = backend(file, options)?;
        let builder = &mut Database::builder();
        let database = builder
            .set_cache_size(PAGE_CACHE)
            .set_check_integrity_on_open(true)
            .create_with_backend(backend)?;
        let transaction = database.begin_read()?;
        let format = transaction.open_table(META)?.get(FORMAT)?.map(|format| format.value());
        transaction.open_table(RECORDS)?;
        drop(transaction);
        Ok((database, format))
    });
    match opened.map_err(|error| FileStoreError::from_redb(path, error))? {
        (database, Some(KNOWN_FORMAT)) => Ok(database),
        (_, Some(found)) => Err(FileStoreError::Newer { path: path.to_owned(), found, known: KNOWN_FORMAT }),
        (_, None) => Err(FileStoreError::foreign(path, "it does not say its format")),
    }
}

#[cfg(not(test))]
fn backend(file: File, _: &FileOptions) -> Result<impl StorageBackend + use<>, redb::DatabaseError> {
    backends::FileBackend::new(file)
}

#[cfg(test)]
fn backend(file: File, options: &FileOptions) -> Result<impl StorageBackend + use<>, redb::DatabaseError> {
    Ok(super::tests::Faulty::new(backends::FileBackend::new(file)?, options.faults.clone()))
}

/// Counts the run, finds out how the last one ended, and says that something may be in flight from here on.
fn begin(database: &Database, options: &FileOptions) -> Result<(u64, Suspicion, u64), redb::Error> {
    let transaction = database.begin_write()?;
    let (run, suspicion, len);
    {
        let mut meta = transaction.open_table(META)?;
        let get = |name| Ok::<_, redb::Error>(meta.get(name)?.map_or(0, |number| number.value()));
        run = get(RUN)? + 1;
        let repeats = options.repeats;
        let left = Suspicion { run: get(SUSPECT_RUN)?, until: get(SUSPECT_UNTIL)?, repeats };
        suspicion = match get(CLEAN)? {
            0 => Suspicion {
                run,
                until: options.started.saturating_add(options.settle).max(left.until),
                repeats,
            },
            _ if left.until > 0 && left.until.saturating_add(repeats) > options.started => left,
            _ => Suspicion::default(),
        };
        meta.insert(RUN, run)?;
        meta.insert(CLEAN, 0)?;
        meta.insert(SUSPECT_RUN, suspicion.run)?;
        meta.insert(SUSPECT_UNTIL, suspicion.until)?;
        len = transaction.open_table(RECORDS)?.len()?;
    }
    transaction.commit()?;
    Ok((run, suspicion, len))
}

fn compact(path: &Path, database: &mut Database) -> Result<(), FileStoreError> {
    let size = || fs::metadata(path).map_or(0, |file| file.len());
    let before = size();
    if before < COMPACT_FROM {
        return Ok(());
    }
    unpanicked(|| {
        let transaction = database.begin_write()?;
        let stats = transaction.stats()?;
        let used = stats.stored_bytes() + stats.metadata_bytes();
        transaction.abort()?;
        if used < before / 3 {
            database.compact()?;
            tracing::info!(file = %path.display(), before, after = size(), "the order file is compacted");
        }
        Ok(())
    })
    .map_err(|error| FileStoreError::from_redb(path, error))
}

/// Made under another name and linked into place when it is whole: a crash leaves no half a file.
fn create(path: &Path, options: &FileOptions, suspicion: Suspicion) -> Result<(), FileStoreError> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let io = || FileStoreError::io(path);
    private_directory(directory).map_err(io())?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".new-{:016x}", fastrand::u64(..)));
    let new = path.with_file_name(name);
    let made = private_file(&new).map_err(io()).and_then(|file| {
        unpanicked(|| write_new(file, options, suspicion))
            .map_err(|error| FileStoreError::from_redb(path, error))
    });
    // Never over another's: of two processes that start at once, one creates it, and one then finds it in use.
    let placed = made.and_then(|()| match fs::hard_link(&new, path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        // Not every file system has links.
        Err(_) => fs::rename(&new, path).map_err(io()),
        Ok(()) => Ok(()),
    });
    let _ = fs::remove_file(&new);
    placed?;
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(io())
}

fn write_new(file: File, options: &FileOptions, suspicion: Suspicion) -> Result<(), redb::Error> {
    let database = Database::builder().create_with_backend(backend(file, options)?)?;
    let transaction = database.begin_write()?;
    transaction.open_table(RECORDS)?;
    {
        let mut meta = transaction.open_table(META)?;
        meta.insert(FORMAT, KNOWN_FORMAT)?;
        meta.insert(CLEAN, 1)?;
        meta.insert(SUSPECT_RUN, suspicion.run)?;
        meta.insert(SUSPECT_UNTIL, suspicion.until)?;
    }
    transaction.commit()?;
    Ok(database.close()?)
}

fn set_aside(path: &Path, options: &FileOptions) -> Result<PathBuf, FileStoreError> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".damaged-{}", options.started));
    let aside = path.with_file_name(name);
    fs::rename(path, &aside).map_err(FileStoreError::io(path))?;
    Ok(aside)
}

fn private_directory(directory: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.recursive(true).create(directory)
}

fn private_file(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.read(true).write(true).create_new(true).open(path)
}
