//! Files that are broken, or not ours: refused by name, or set aside; never a silent loss.

use std::fs;

use super::*;

fn refusal(directory: &Directory) -> FileStoreError {
    match FileStore::open(&directory.path(), options()) {
        Ok(_) => panic!("opened"),
        Err(error) => error,
    }
}

fn assert_says_what_to_do(error: &FileStoreError) {
    let text = error.to_string();
    assert!(text.contains("order.redb") && text.to_lowercase().contains("move it away"), "{text}");
}

#[tokio::test]
async fn what_is_cut_short_empty_or_zero_is_damaged() {
    let (directory, _) = Directory::with(300).await;
    let whole = fs::read(directory.path()).unwrap();
    let cuts = [0, 1, 8, 100, 4_096, whole.len() / 2, whole.len() - 4_096, whole.len() - 1];
    for broken in cuts.map(|cut| whole[..cut].to_vec()).into_iter().chain([vec![0; whole.len()]]) {
        fs::write(directory.path(), &broken).unwrap();
        let error = refusal(&directory);
        assert!(matches!(error, FileStoreError::Damaged { .. }), "{} {error}", broken.len());
        assert_says_what_to_do(&error);
        assert_eq!(fs::read(directory.path()).unwrap().len(), broken.len(), "it was touched");
    }
}

#[tokio::test]
async fn another_s_file_is_never_touched() {
    let directory = Directory::new();
    let text = "these are somebody's notes\n".repeat(1000);
    fs::write(directory.path(), &text).unwrap();
    for on_damage in [OnDamage::Refuse, OnDamage::SetAside] {
        let opened = FileStore::open(&directory.path(), FileOptions { on_damage, ..options() });
        let Err(error) = opened else { panic!("opened") };
        assert!(matches!(error, FileStoreError::Foreign { .. }), "{error}");
        assert_says_what_to_do(&error);
        assert_eq!(fs::read_to_string(directory.path()).unwrap(), text);
    }
    fs::remove_file(directory.path()).unwrap();
    redb::Database::create(directory.path()).unwrap();
    assert!(matches!(refusal(&directory), FileStoreError::Foreign { .. }));
}

#[tokio::test]
async fn a_newer_format_is_left_to_the_newer_version() {
    let (directory, _) = Directory::with(1).await;
    let database = redb::Database::open(directory.path()).unwrap();
    let transaction = database.begin_write().unwrap();
    let newer = stored::KNOWN_FORMAT + 1;
    transaction.open_table(stored::META).unwrap().insert(stored::FORMAT, newer).unwrap();
    transaction.commit().unwrap();
    drop(database);
    assert!(matches!(refusal(&directory), FileStoreError::Newer { found, .. } if found == newer));
}

#[tokio::test]
async fn no_flipped_bit_loses_a_record_in_silence() {
    let (directory, keys) = Directory::with(300).await;
    let whole = fs::read(directory.path()).unwrap();
    let used: Vec<_> = (0..whole.len()).filter(|at| whole[*at] != 0).collect();
    let mut random = fastrand::Rng::with_seed(5);
    let (mut refused, mut whole_again) = (0, 0);
    let anywhere: Vec<_> = (0..150).map(|_| used[random.usize(..used.len())]).collect();
    for at in (0..64).chain(anywhere) {
        let mut broken = whole.clone();
        broken[at] ^= 1 << random.u8(..8);
        fs::write(directory.path(), &broken).unwrap();
        match FileStore::open(&directory.path(), options()) {
            Err(error) => {
                assert_says_what_to_do(&error);
                refused += 1;
            }
            Ok(store) => {
                for (number, key) in (1..).zip(&keys) {
                    let record = remembered(&store, key, now() + 2 * SETTLE).await;
                    assert_eq!(record, forwarded(number), "byte {at}");
                }
                whole_again += 1;
            }
        }
    }
    println!("{refused} refused, {whole_again} opened with every record");
    assert!(refused > 0);
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_on_request_and_anything_may_be_in_flight() {
    let (directory, keys) = Directory::with(10).await;
    fs::write(directory.path(), "").unwrap();
    let options = FileOptions { on_damage: OnDamage::SetAside, ..options() };
    let started = options.started;
    let store = FileStore::open(&directory.path(), options).unwrap();
    assert!(store.set_aside().unwrap().exists());
    assert_eq!((store.len(), store.suspect_until()), (Some(0), Some(started + SETTLE)));
    assert_eq!(remembered(&store, &keys[0], started).await.pending.len(), 1);
    settled(&store, &keys[0], started, forwarded(1)).await;
    store.close().await.unwrap();
    drop(store);
    let store = directory.open();
    assert_eq!(remembered(&store, &keys[0], started).await, forwarded(1));
    assert_eq!(store.set_aside(), None);
}
