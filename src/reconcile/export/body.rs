//! A file of an export as it comes.

use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::ExportError;
use crate::backfill::{Object, PlaceError, S3};
use crate::cdr::Download;

const CHUNK: usize = 64 << 10;
/// A download that is cut goes on where it was, so often in a row.
const ATTEMPTS: u32 = 5;

pub enum Body {
    File(PathBuf, File),
    /// Where it is, how much of it came, and how often in a row it was cut
    Object {
        s3: S3,
        object: Box<Object>,
        cuts: u32,
    },
    OfCdr(String, Download),
}

impl Body {
    pub async fn file(path: &Path) -> Result<Self, ExportError> {
        let file = File::open(path).await.map_err(|error| ExportError::Io(path.to_owned(), error))?;
        Ok(Self::File(path.to_owned(), file))
    }

    pub async fn object(s3: &S3, key: String) -> Result<Self, PlaceError> {
        let object = Box::new(s3.open(&key).await?);
        Ok(Self::Object { s3: s3.clone(), object, cuts: 0 })
    }

    /// None behind the last.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ExportError> {
        match self {
            Self::File(path, file) => {
                let mut chunk = BytesMut::with_capacity(CHUNK);
                let read = file.read_buf(&mut chunk).await;
                let read = read.map_err(|error| ExportError::Io(path.clone(), error))?;
                Ok((read > 0).then(|| chunk.freeze()))
            }
            Self::Object { s3, object, cuts } => loop {
                match object.chunk().await {
                    Ok(chunk) => {
                        *cuts = 0;
                        return Ok(chunk);
                    }
                    Err(error) if *cuts >= ATTEMPTS => return Err(error.into()),
                    Err(error) => {
                        *cuts += 1;
                        tracing::warn!(%error, "the object was cut; its rest is asked for");
                        s3.reopen(object).await?;
                    }
                }
            },
            Self::OfCdr(name, download) => {
                download.chunk().await.map_err(|error| ExportError::Cdr(name.clone(), error))
            }
        }
    }
}
