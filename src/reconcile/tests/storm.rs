//! Updates, deletes and re-creations while it runs, each delivered some milliseconds later.

use std::time::Duration;

use tokio::time::sleep;

use super::world::*;
use crate::reconcile::Kind;

/// Longer than any delivery of the storm takes.
const SETTLE: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_storm_nothing_is_alleged_and_what_is_wrong_is_found() {
    let seed = std::env::var("LAKEHOOK_TEST_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("LAKEHOOK_TEST_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let world = World::of((0..400).map(|n| format!("Patient/p{n}")), 24);
    world.healthlake.lag.store(100, std::sync::atomic::Ordering::Relaxed);
    world.healthlake.lose("Patient/p399");
    world.healthlake.put("Patient/p398", body("Patient/p398", 99));
    let storm: Vec<_> = (0..4)
        .map(|n| {
            let (world, mut random) = (world.clone(), fastrand::Rng::with_seed(seed ^ n));
            tokio::spawn(async move {
                loop {
                    // Each has resources of its own; a few of them hot.
                    let most = if random.bool() { 3 } else { 90 };
                    let key = format!("Patient/p{}", random.u64(..most) * 4 + n);
                    if world.cdr.get(&key).is_some() && random.u8(..4) == 0 {
                        world.cdr.delete(&key);
                    } else {
                        world.cdr.put(&key, body(&key, random.u64(..1_000_000)));
                    }
                    let delay = Duration::from_millis(random.u64(1..40));
                    sleep(delay).await;
                    world.forward(&key);
                }
            })
        })
        .collect();
    let index = index(&folder);
    for round in 0..4 {
        let (report, findings) = world.run(&index, SETTLE, false, types()).await;
        let report = report.unwrap();
        let found: Vec<_> = findings.iter().map(|finding| (finding.key.to_string(), finding.kind)).collect();
        let expected = [("Patient/p398", Kind::Altered), ("Patient/p399", Kind::Missing)];
        assert_eq!(found, expected.map(|(key, kind)| (key.to_owned(), kind)), "round {round}: {report:?}");
    }
    storm.iter().for_each(tokio::task::JoinHandle::abort);
    for task in storm {
        let _ = task.await;
    }
    // What HealthLake took last has to be in its search: deleted at the CDR meanwhile, no list would tell of it, and only
    // the next run would.
    sleep(Duration::from_millis(200)).await;
    // The last deliveries were cut off: those are differences now, and no others.
    let keys: Vec<String> = world.cdr.resources.lock().unwrap().keys().cloned().collect();
    let mut different = keys;
    different.retain(|key| world.cdr.get(key) != world.healthlake.get(key));
    let (report, findings) = world.run(&index, SETTLE, true, types()).await;
    assert_eq!(findings.iter().map(|finding| finding.key.to_string()).collect::<Vec<_>>(), different);
    assert_eq!((report.unwrap().open(), world.healthlake.alive()), (0, world.cdr.alive()));
}
