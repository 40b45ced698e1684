//! The dead-letter store that the settings ask for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::deadletter::directory::Directory;
use crate::deadletter::s3::{self, S3};
use crate::deadletter::sqs::{self, Sqs};
use crate::deadletter::{Blobs, DeadLetters, Keeper, SealKeys};
use crate::healthlake::Resolved;
use crate::settings::{DeadLetterStore, Plan, Settings};

/// Below --data-dir
const DIRECTORY: &str = "dead-letters";

/// For whatever forwards: a directory is made where it is not there. None where none are kept.
pub(in crate::cli) fn keeper(plan: &Plan, resolved: &Resolved) -> Result<Option<Keeper>, String> {
    let (settings, which, keys) = (&plan.settings, &plan.dead_letters, plan.dead_letter_keys.clone());
    if *which == DeadLetterStore::Dir {
        let opened = Directory::open(&directory(settings), Blobs { keys: keys.clone(), gzip: false });
        opened.map_err(|error| format!("--dead-letters: {error}"))?;
    }
    let limits = settings.dead_letters.limits();
    let store = store(settings, which, keys, Some(resolved));
    Ok(store.map(|store| Keeper::new(store, limits, Plan::clock())))
}

/// Nothing is made or asked. `resolved` is needed for S3 and SQS.
pub(in crate::cli) fn store(
    settings: &Settings,
    which: &DeadLetterStore,
    keys: Option<SealKeys>,
    resolved: Option<&Resolved>,
) -> Option<Arc<dyn DeadLetters>> {
    let args = &settings.dead_letters;
    let endpoint = args.dead_letters_endpoint.as_deref();
    let blobs = Blobs { keys, gzip: false };
    match which {
        DeadLetterStore::Off => None,
        DeadLetterStore::Dir => Some(Arc::new(Directory::at(&directory(settings), blobs))),
        DeadLetterStore::S3 { bucket, prefix } => Some(Arc::new(S3 {
            client: s3::client(resolved?.sdk_config(), endpoint),
            bucket: bucket.clone(),
            prefix: prefix.clone(),
            kms_key: args.dead_letters_kms_key.clone(),
            blobs,
        })),
        DeadLetterStore::Sqs { url } => {
            Some(Arc::new(Sqs::new(sqs::client(resolved?.sdk_config(), endpoint), url.clone(), blobs)))
        }
    }
}

fn directory(settings: &Settings) -> PathBuf {
    settings.order.data_dir.as_deref().unwrap_or(Path::new(".")).join(DIRECTORY)
}
