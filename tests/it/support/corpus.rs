//! Larger corpora that are not ours to ship.

use std::path::PathBuf;

/// A part of the corpus, or `None` with a note; in CI it has to be there. The validator's own tests
/// include this file.
pub fn corpus(part: &str) -> Option<PathBuf> {
    let root = std::env::var_os("LAKEHOOK_CORPUS")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus"), PathBuf::from);
    let part = root.join(part);
    if part.is_dir() {
        return Some(part);
    }
    assert!(std::env::var_os("CI").is_none(), "no corpus at {}: set LAKEHOOK_CORPUS", part.display());
    note(&format!("skipped: no corpus at {}", part.display()));
    None
}

#[allow(clippy::print_stderr)]
pub fn note(text: &str) {
    eprintln!("{text}");
}
