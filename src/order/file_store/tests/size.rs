//! How large it gets.

use super::*;

#[tokio::test]
async fn beyond_the_number_the_oldest_go_but_none_that_counts() {
    let directory = Directory::new();
    let options = FileOptions { max_resources: 200, ..options() };
    let now = options.started;
    let store = FileStore::open(&directory.path(), options).unwrap();
    let (held, pending, deleted, left) = (fresh_key(), fresh_key(), fresh_key(), fresh_key());
    for key in [&held, &left] {
        settled(&store, key, now, forwarded(5)).await;
    }
    let can_land = Pending { write: Write::Delete, if_match: None, until: now + 1_000_000 };
    let unsettled = Record { pending: vec![can_land], ..forwarded(5) };
    settled(&store, &pending, now, unsettled.clone()).await;
    let tombstone = Record { deleted: Some(Tombstone { at: now }), ..forwarded(5) };
    settled(&store, &deleted, now, tombstone.clone()).await;
    let owner = fresh_owner();
    claimed(&store, &held, request(owner, now, Write::Current)).await;
    claimed(&store, &left, request(fresh_owner(), now - 10_000, Write::Delete)).await;
    remembered(&store, &left, now).await;
    let keys = fill(&store, 3_000).await;
    for number in 0..200 {
        settled(&store, &keys[2_999], now, forwarded(number)).await;
    }
    assert!((100..=300).contains(&store.len().unwrap()), "{:?}", store.len());
    assert_eq!(claimed(&store, &held, request(owner, now, Write::Current)).await, forwarded(5));
    assert_eq!(remembered(&store, &pending, now).await, unsettled);
    assert_eq!(remembered(&store, &deleted, now).await, tombstone);
    assert_eq!(remembered(&store, &left, now).await.etag, Some(Etag(5)));
}

#[tokio::test]
async fn what_was_not_heard_of_for_long_goes() {
    let directory = Directory::new();
    let options = FileOptions { max_age: 1_000_000, ..options() };
    let now = options.started;
    let store = FileStore::open(&directory.path(), options).unwrap();
    let keys = fill(&store, 100).await;
    let later = now + 2_000_000;
    for number in 1..10 {
        settled(&store, &keys[0], later, forwarded(number)).await;
    }
    assert_eq!(store.len(), Some(1));
    assert_eq!(remembered(&store, &keys[1], later).await, Record::default());
    assert_eq!(remembered(&store, &keys[0], later).await, forwarded(9));
}

#[tokio::test]
async fn what_is_forgotten_gives_its_space_back() {
    let directory = Directory::new();
    let options = FileOptions { max_age: 1_000_000, ..options() };
    let (now, later) = (options.started, options.started + 2_000_000);
    let store = FileStore::open(&directory.path(), options).unwrap();
    let large = Pending { write: Write::Upsert(long_version()), if_match: None, until: now };
    let large = Record { pending: vec![large; 60], ..forwarded(1) };
    let keys: Vec<_> = (0..3_000).map(|_| fresh_key()).collect();
    futures_util::future::join_all(keys.iter().map(|key| settled(&store, key, now, large.clone()))).await;
    let size = || directory.path().metadata().unwrap().len();
    let full = size();
    // Some stay, all over the file.
    let staying = || keys.iter().step_by(50);
    for number in 0..150 {
        futures_util::future::join_all(staying().map(|key| settled(&store, key, later, forwarded(number))))
            .await;
    }
    assert_eq!(store.len(), Some(60));
    let open = size();
    store.close().await.unwrap();
    drop(store);
    let closed = size();
    let store = directory.open();
    println!("{full} bytes full, {open} still open, {closed} closed, {} opened again", size());
    assert!(size() < full / 2);
    for key in staying() {
        assert_eq!(remembered(&store, key, now).await, forwarded(149));
    }
}

fn long_version() -> crate::delivery::Version {
    crate::delivery::Version {
        version_id: Some("v".repeat(64).into()),
        last_updated: Some("x".repeat(60).into()),
    }
}
