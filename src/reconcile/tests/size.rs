//! Memory does not grow with the store. The small size runs always; `LAKEHOOK_RECONCILE_KEYS=1000000` the large one,
//! alone in its process, since it measures the process.

use crate::reconcile::canonical::Digest;
use crate::reconcile::index::{Index, Which};
use crate::reconcile::{Held, now};

#[test]
fn an_index_of_any_size_takes_the_same_memory() {
    let keys = std::env::var("LAKEHOOK_RECONCILE_KEYS").map_or(10_000, |keys| keys.parse().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("reconcile.redb");
    let index = Index::open(&path, "a test").unwrap();
    let (start, started) = (resident(), std::time::Instant::now());
    // In the order of times, which is none of ids.
    for which in Which::BOTH {
        for page in 0..keys / 100 {
            let page: Vec<(String, Held)> = (0..100).map(|n| resource(page * 100 + n, which)).collect();
            index.add(which, "Patient", &page, now(), 1, false).unwrap();
        }
        index.keep().unwrap();
    }
    let listed = started.elapsed();
    let (compared, suspects) = index.compare("Patient", 1, now()).unwrap();
    let peak = peak();
    eprintln!(
        "{keys} keys: listed in {listed:?}, compared after {:?}; resident {start} KiB at the start, {peak} KiB at the most; file {} MiB",
        started.elapsed(),
        std::fs::metadata(&path).unwrap().len() >> 20
    );
    assert_eq!((compared, suspects), (keys, keys / 1000));
    assert_eq!(index.len(Which::HealthLake).unwrap(), keys);
    // Nothing else runs here when the large size is asked for.
    if keys >= 100_000 {
        assert!(peak < 256 << 10, "{peak} KiB");
    }
}

/// Every thousandth differs.
fn resource(n: u64, which: Which) -> (String, Held) {
    let scattered = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut digest = [0; 16];
    digest[..8].copy_from_slice(&n.to_le_bytes());
    digest[8] = u8::from(n % 1000 == 7 && which == Which::HealthLake);
    (
        format!("{scattered:016x}"),
        Held { version: "1".into(), updated: 1_700_000_000_000 + n as i64, digest: Digest(digest) },
    )
}

fn status(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or("0");
    line.split_whitespace().next().unwrap_or("0").parse().unwrap()
}

/// KiB
fn resident() -> u64 {
    status("VmRSS:")
}

fn peak() -> u64 {
    status("VmHWM:")
}
