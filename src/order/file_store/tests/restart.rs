//! What another opening finds.

use super::*;

fn suspected(etag: Option<Etag>, started: Millis) -> Pending {
    Pending { write: Write::Current, if_match: etag, until: started + SETTLE }
}

#[tokio::test]
async fn a_closed_file_is_clean_and_remembers_all() {
    let (directory, keys) = Directory::with(100).await;
    let store = directory.open();
    assert_eq!((store.suspect_until(), store.len()), (None, Some(100)));
    for (number, key) in (1..).zip(&keys) {
        assert_eq!(remembered(&store, key, now()).await, forwarded(number));
    }
    assert_eq!(remembered(&store, &fresh_key(), now()).await, Record::default());
}

#[tokio::test]
async fn after_a_crash_everything_is_suspect_until_it_is_settled_or_can_no_longer_land() {
    let directory = Directory::new();
    let (with_etag, without, unknown) = (fresh_key(), fresh_key(), fresh_key());
    let no_etag = Record { etag: None, ..forwarded(4) };
    let store = directory.open();
    settled(&store, &with_etag, now(), forwarded(3)).await;
    settled(&store, &without, now(), no_etag.clone()).await;
    drop(store);

    let options = options();
    let started = options.started;
    let store = FileStore::open(&directory.path(), options).unwrap();
    assert_eq!(store.suspect_until(), Some(started + SETTLE));
    for at in [started, started + SETTLE - 1] {
        for (key, record) in
            [(&with_etag, forwarded(3)), (&without, no_etag.clone()), (&unknown, Record::default())]
        {
            let pending = vec![suspected(record.etag, started)];
            assert_eq!(remembered(&store, key, at).await, Record { pending, ..record });
        }
    }
    settled(&store, &with_etag, started, forwarded(5)).await;
    settled(&store, &unknown, started, forwarded(1)).await;
    assert_eq!(remembered(&store, &with_etag, started).await, forwarded(5));
    assert_eq!(remembered(&store, &unknown, started).await, forwarded(1));
    assert_eq!(remembered(&store, &without, started + SETTLE).await, no_etag);
    assert_eq!(remembered(&store, &fresh_key(), started + SETTLE).await, Record::default());
}

#[tokio::test]
async fn a_clean_restart_soon_after_a_crash_stays_suspicious() {
    let directory = Directory::new();
    let (old, new) = (fresh_key(), fresh_key());
    let store = directory.open();
    settled(&store, &old, now(), forwarded(3)).await;
    drop(store);
    let crashed = options();
    let started = crashed.started;
    let store = FileStore::open(&directory.path(), crashed).unwrap();
    settled(&store, &new, started, forwarded(1)).await;
    store.close().await.unwrap();
    drop(store);

    let later = FileOptions { started: started + 1_000, ..options() };
    let store = FileStore::open(&directory.path(), later).unwrap();
    let pending = vec![suspected(Some(Etag(3)), started)];
    assert_eq!(remembered(&store, &old, started).await, Record { pending, ..forwarded(3) });
    assert_eq!(remembered(&store, &new, started).await, forwarded(1));
}

/// Found by seed 3206038315 of the simulation, 2026-11-24: what was under way at the crash can't land any more, and an
/// older version of it was repeated before it.
#[tokio::test]
async fn what_was_under_way_at_a_crash_is_in_doubt_for_as_long_as_its_sender_repeats() {
    let (directory, old, new) = (Directory::new(), fresh_key(), fresh_key());
    let store = directory.open();
    settled(&store, &old, now(), forwarded(1)).await;
    drop(store);
    let crashed = FileOptions { repeats: 60_000, ..options() };
    let started = crashed.started;
    let store = FileStore::open(&directory.path(), crashed).unwrap();
    for key in [&old, &new] {
        for at in [started, started + SETTLE, started + SETTLE + 59_000] {
            let pending = remembered(&store, key, at).await.pending;
            assert_eq!(pending.iter().map(|pending| &pending.write).collect::<Vec<_>>(), [&Write::Current]);
            assert_eq!(pending[0].until, started + SETTLE, "it lands no later");
        }
        assert!(remembered(&store, key, started + SETTLE + 60_000).await.pending.is_empty());
    }
    // Settled once, it is known again.
    settled(&store, &new, started + SETTLE, forwarded(2)).await;
    assert!(remembered(&store, &new, started + SETTLE + 1).await.pending.is_empty());
}

#[tokio::test]
async fn claims_held_or_left_behind_at_the_close_are_written_down() {
    let directory = Directory::new();
    let (held, left) = (fresh_key(), fresh_key());
    let now = now();
    let store = directory.open();
    settled(&store, &held, now, forwarded(3)).await;
    claimed(&store, &held, request(fresh_owner(), now, Write::Delete)).await;
    claimed(&store, &left, request(fresh_owner(), now - 10_000, Write::Delete)).await;
    remembered(&store, &left, now).await;
    store.close().await.unwrap();
    drop(store);

    let store = directory.open();
    let pending = Pending { write: Write::Delete, if_match: Some(Etag(3)), until: now + 15_000 };
    assert_eq!(remembered(&store, &held, now).await, Record { pending: vec![pending], ..forwarded(3) });
    let pending = Pending { write: Write::Delete, if_match: None, until: now + 5_000 };
    assert_eq!(remembered(&store, &left, now).await.pending, [pending]);
}

#[tokio::test]
async fn a_closed_store_says_so() {
    let (_directory, keys) = Directory::with(1).await;
    let directory = Directory::new();
    let store = directory.open();
    let owner = fresh_owner();
    claimed(&store, &keys[0], request(owner, now(), Write::Delete)).await;
    store.close().await.unwrap();
    store.close().await.unwrap();
    assert!(store.claim(&keys[0], request(owner, now(), Write::Delete)).await.is_err());
    assert_ne!(Store::settle(&store, &keys[0], owner, forwarded(1)).await, Ok(Settled::Yes));
    store.release(&keys[0], owner).await.unwrap();
    // Closed, not only marked: another can have it.
    directory.open();
}

#[tokio::test]
async fn a_settle_that_nobody_waits_for_is_written_all_the_same() {
    let directory = Directory::new();
    let store = directory.open();
    let (key, owner) = (fresh_key(), fresh_owner());
    claimed(&store, &key, request(owner, now(), Write::Delete)).await;
    let settle = Store::settle(&store, &key, owner, forwarded(2));
    assert!(futures_util::future::FutureExt::now_or_never(settle).is_none_or(|settled| settled.is_ok()));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(remembered(&directory.open(), &key, now()).await, forwarded(2));
}

#[tokio::test]
async fn a_second_opener_is_told() {
    let directory = Directory::new();
    let store = directory.open();
    let Err(error) = FileStore::open(&directory.path(), options()) else { panic!("opened twice") };
    assert!(matches!(error, FileStoreError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("order.redb is in use by another process"), "{error}");
    // Not even to be rebuilt.
    let rebuild = FileOptions { on_damage: OnDamage::SetAside, ..options() };
    assert!(matches!(FileStore::open(&directory.path(), rebuild), Err(FileStoreError::InUse { .. })));
    drop(store);
    directory.open();
}

#[cfg(unix)]
#[tokio::test]
async fn the_file_and_its_directory_are_the_user_s_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = Directory::new();
    let path = directory.0.path().join("data/deeper/order.redb");
    let _store = FileStore::open(&path, options()).unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
    // Nothing is left of how it was made.
    assert_eq!(path.parent().unwrap().read_dir().unwrap().count(), 1);
}
