//! Why the file can't be opened, and what to do.

use std::path::{Path, PathBuf};

/// What every refusal to read the file ends with.
const ADVICE: &str = "Move it away and start again: losing this memory loses no delivery, it costs only the check against \
     what was forwarded before";

#[derive(Debug, thiserror::Error)]
pub enum FileStoreError {
    #[error("the order file {} is in use by another process: only one can forward with it", path.display())]
    InUse { path: PathBuf },
    #[error("the order file {} is damaged: {reason}. {ADVICE}", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{} is not an order file: {reason}. If it is not something else's, {}", path.display(), advice())]
    Foreign { path: PathBuf, reason: String },
    #[error(
        "the order file {} was written by a newer version (format {found}, this one reads up to {known}): run that \
         version. {ADVICE}",
        path.display()
    )]
    Newer { path: PathBuf, found: u64, known: u64 },
    #[error("the order file {} can't be opened: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

fn advice() -> String {
    ADVICE.replacen('M', "m", 1)
}

impl FileStoreError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        |source| Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn damaged(path: &Path, reason: impl ToString) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn foreign(path: &Path, reason: impl ToString) -> Self {
        Self::Foreign { path: path.to_owned(), reason: reason.to_string() }
    }

    pub(super) fn from_redb(path: &Path, error: redb::Error) -> Self {
        match error {
            redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch => {
                Self::InUse { path: path.to_owned() }
            }
            // A file that ends too early, or whose head is not redb's, comes as such an error.
            redb::Error::Io(source)
                if !matches!(
                    source.kind(),
                    std::io::ErrorKind::InvalidData | std::io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Io { path: path.to_owned(), source }
            }
            error @ redb::Error::PreviousIo => {
                Self::Io { path: path.to_owned(), source: std::io::Error::other(error.to_string()) }
            }
            error @ (redb::Error::TableDoesNotExist(_) | redb::Error::TableTypeMismatch { .. }) => {
                Self::foreign(path, error)
            }
            error => Self::damaged(path, error),
        }
    }
}
