//! How much is kept, what counts up, what is let go of.
#![allow(clippy::unwrap_used)]

use std::time::SystemTime;

use super::super::store_tests::{MARK, letter};
use super::super::{Blobs, directory::Directory};
use super::*;

struct Fixture {
    keeper: Keeper,
    directory: tempfile::TempDir,
}

fn fixture(letters: u64, bytes: u64) -> Fixture {
    let directory = tempfile::tempdir().unwrap();
    let store = Arc::new(Directory::open(directory.path(), Blobs::default()).unwrap());
    let limits = Limits { letters, bytes, retention: Duration::from_secs(3600) };
    Fixture { keeper: Keeper::new(store, limits, Arc::new(SystemTime::now)), directory }
}

impl Fixture {
    async fn keep(&self, key: &str, version: u32, payload: &str) -> Result<Kept, KeepError> {
        let (letter, payload) = letter(key, version, payload);
        self.keeper.keep(letter, payload, Instant::now() + Duration::from_secs(60)).await
    }

    async fn letters(&self) -> Vec<Letter> {
        let mut letters = Vec::new();
        for name in self.keeper.store().names().await.unwrap() {
            letters.push(self.keeper.store().letter(&name).await.unwrap().unwrap());
        }
        letters
    }
}

#[tokio::test]
async fn the_same_version_counts_up_and_a_newer_one_takes_its_place() {
    let fixture = fixture(10, 1 << 20);
    assert_eq!(fixture.keep("Patient/p1", 1, "{}").await.unwrap().attempts, 1);
    assert_eq!(fixture.keep("Patient/p1", 1, "{}").await.unwrap().attempts, 2);
    let letters = fixture.letters().await;
    assert_eq!((letters.len(), letters[0].attempts), (1, 2));
    assert!(letters[0].first < letters[0].last);

    fixture.keep("Patient/p1", 3, "{}").await.unwrap();
    // Late: it stays beside the newer one, and harms nobody.
    fixture.keep("Patient/p1", 2, "{}").await.unwrap();
    let mut versions: Vec<_> =
        fixture.letters().await.into_iter().map(|letter| letter.version_id.unwrap().into_string()).collect();
    versions.sort();
    assert_eq!(versions, ["2", "3"]);
    assert_eq!(fixture.keeper.usage().letters, 2);
}

#[tokio::test]
async fn what_is_kept_is_bounded_and_repetitions_still_fit() {
    let fixture = fixture(2, 1 << 20);
    fixture.keep("Patient/p1", 1, "{}").await.unwrap();
    fixture.keep("Patient/p2", 1, "{}").await.unwrap();
    let full = fixture.keep("Patient/p3", 1, MARK).await.unwrap_err().to_string();
    assert!(full.contains("--dead-letters-max") && !full.contains(MARK), "{full}");
    assert_eq!(fixture.keep("Patient/p2", 1, "{}").await.unwrap().attempts, 2);
    assert_eq!(fixture.letters().await.len(), 2);

    // Another process made room.
    let name = fixture.keeper.store().names().await.unwrap().remove(0);
    fixture.keeper.store().remove(&name).await.unwrap();
    tokio::time::sleep(RECOUNT).await;
    fixture.keep("Patient/p3", 1, "{}").await.unwrap();
}

#[tokio::test]
async fn bytes_are_bounded_too() {
    let fixture = fixture(10, 10_000);
    fixture.keep("Patient/p1", 1, &"x".repeat(8_000)).await.unwrap();
    let full = fixture.keep("Patient/p2", 1, &"x".repeat(8_000)).await.unwrap_err().to_string();
    assert!(full.contains("--dead-letters-max-size"), "{full}");
}

#[tokio::test]
async fn a_store_that_fails_keeps_nothing_and_says_so() {
    let fixture = fixture(10, 10_000);
    std::fs::remove_dir_all(fixture.directory.path()).unwrap();
    std::fs::write(fixture.directory.path(), "a file in its place").unwrap();
    let error = fixture.keep("Patient/p1", 1, MARK).await.unwrap_err().to_string();
    assert!(!error.contains(MARK), "{error}");
    std::fs::remove_file(fixture.directory.path()).unwrap();
    std::fs::create_dir(fixture.directory.path()).unwrap();
    fixture.keep("Patient/p1", 1, "{}").await.unwrap();
}

#[tokio::test]
async fn a_mirrored_version_lets_go_of_what_it_overtakes_and_of_nothing_else() {
    let fixture = fixture(10, 1 << 20);
    for (key, version) in [("Patient/p1", 2), ("Patient/p2", 2)] {
        fixture.keep(key, version, "{}").await.unwrap();
    }
    let (mut delete, none) = letter("Patient/p1", 0, "");
    delete.interaction = "delete".into();
    delete.version_id = None;
    delete.id = LetterId::of(&delete.key, true, &Version::default());
    let by = Instant::now() + Duration::from_secs(60);
    fixture.keeper.keep(delete, none, by).await.unwrap();

    let key = Key::parse("Patient/p1").unwrap();
    fixture.keeper.mirrored(&key, &Version::new(Some("1"), None));
    fixture.keeper.mirrored(&key, &Version::new(Some("2"), None));
    fixture.keeper.settled().await;
    let mut left: Vec<_> = fixture
        .letters()
        .await
        .iter()
        .map(|letter| format!("{} {}", letter.interaction, letter.key))
        .collect();
    left.sort();
    assert_eq!(left, ["delete Patient/p1", "upsert Patient/p2"]);
}

/// Nothing else tells: what came later is newer.
#[tokio::test]
async fn without_versions_the_order_of_arrival_counts() {
    let fixture = fixture(10, 1 << 20);
    let (mut unversioned, payload) = letter("Patient/p1", 0, "{}");
    unversioned.version_id = None;
    unversioned.id = LetterId::of(&unversioned.key, false, &Version::default());
    let (key, by) = (unversioned.key.clone(), Instant::now() + Duration::from_secs(60));
    fixture.keeper.keep(unversioned, payload, by).await.unwrap();
    fixture.keeper.mirrored(&key, &Version::default());
    fixture.keeper.settled().await;
    assert!(fixture.keeper.store().names().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_older_than_the_retention_is_removed() {
    let fixture = fixture(10, 1 << 20);
    fixture.keep("Patient/p1", 1, "{}").await.unwrap();
    fixture.keep("Patient/p2", 1, "{}").await.unwrap();
    let old = SystemTime::now() - Duration::from_secs(7200);
    for entry in std::fs::read_dir(fixture.directory.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.to_str().unwrap().contains("p1") {
            std::fs::File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
        }
    }
    fixture.keeper.tend_once().await.unwrap();
    let left = fixture.letters().await;
    assert_eq!(left.iter().map(|letter| letter.key.to_string()).collect::<Vec<_>>(), ["Patient/p2"]);
    assert_eq!(fixture.keeper.usage().letters, 1);
}
