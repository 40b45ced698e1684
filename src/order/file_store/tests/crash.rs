//! `kill -9` in mid-storm: what was acknowledged is there.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::*;

const FILE: &str = "LAKEHOOK_TEST_ORDER_FILE";
const KEYS: u64 = 40;

fn key(number: u64) -> Key {
    Key::new("Patient", &number.to_string()).unwrap()
}

/// The one that is killed: settles until then, and says what was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = Arc::new(FileStore::open(Path::new(&path), options()).unwrap());
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let store = store.clone();
        tasks.spawn(async move {
            for round in 0.. {
                let key = key((task * 5 + round) % KEYS);
                let owner = fresh_owner();
                let claim = store.claim(&key, request(owner, now(), Write::Current)).await.unwrap();
                let Claimed::Yes(record) = claim else {
                    tokio::task::yield_now().await;
                    continue;
                };
                let next = record.etag.map_or(1, |etag| etag.0 + 1);
                assert_eq!(store.settle(&key, owner, forwarded(next)).await, Ok(Settled::Yes));
                // In one write, so that half a line is the last one at the most.
                let mut out = std::io::stdout().lock();
                out.write_all(format!("\nacknowledged {key} {next}\n").as_bytes()).unwrap();
                out.flush().unwrap();
            }
        });
    }
    tasks.join_all().await;
}

/// Kills a child in mid-storm; the newest version that it acknowledged, by key.
fn killed_child(path: &Path, after: Duration) -> HashMap<Key, u64> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["order::file_store::tests::crash::child", "--exact", "--nocapture"])
        .env(FILE, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = child.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut newest = HashMap::new();
        let mut out = BufReader::new(out);
        let mut line = String::new();
        while out.read_line(&mut line).unwrap() > 0 {
            if let Some((key, version)) = line
                .strip_prefix("acknowledged ")
                .and_then(|rest| rest.strip_suffix('\n'))
                .and_then(|rest| rest.split_once(' '))
            {
                let newest = newest.entry(Key::parse(key).unwrap()).or_insert(0);
                *newest = version.parse::<u64>().unwrap().max(*newest);
            }
            line.clear();
        }
        newest
    });
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    reader.join().unwrap()
}

#[tokio::test]
async fn what_was_acknowledged_survives_kill_9() {
    let directory = Directory::new();
    let mut acknowledged = HashMap::new();
    let mut kills_in_a_storm = 0;
    for _ in 0..10 {
        let newest = killed_child(&directory.path(), Duration::from_millis(fastrand::u64(50..400)));
        kills_in_a_storm += u32::from(!newest.is_empty());
        acknowledged.extend(newest);
        if !directory.path().exists() {
            continue;
        }
        let options = options();
        let started = options.started;
        let store = FileStore::open(&directory.path(), options).unwrap();
        for (key, version) in &acknowledged {
            let record = remembered(&store, key, started).await;
            let found = record.etag.map_or(0, |etag| etag.0);
            assert!(found >= *version, "{key}: {version} was acknowledged, {found} is there");
            assert_eq!(record.pending.last().map(|pending| &pending.write), Some(&Write::Current));
        }
        drop(store);
    }
    println!("{kills_in_a_storm} of 10 killed in mid-storm");
    assert!(kills_in_a_storm > 0);
}
