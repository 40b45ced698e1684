use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::world::*;
use crate::delivery::Key;
use crate::reconcile::{Extent, Kind, Repair, Scope};

const SETTLE: Duration = Duration::from_millis(30);

fn keys(n: usize) -> impl Iterator<Item = String> {
    (0..n).map(|n| format!("{}/r{n}", ["Observation", "Patient", "Task"][n % 3]))
}

/// Damages some at random; gives what each then is.
fn damage(world: &World, random: &mut fastrand::Rng, n: usize) -> BTreeMap<String, Kind> {
    let all: Vec<String> = world.cdr.alive().into_keys().collect();
    let mut damaged = BTreeMap::new();
    while damaged.len() < n {
        let key = &all[random.usize(..all.len())];
        if damaged.contains_key(key) {
            continue;
        }
        let kind = match random.u8(..7) {
            0 => {
                world.healthlake.lose(key);
                Kind::Missing
            }
            1 => {
                world.healthlake.delete(key);
                Kind::Missing
            }
            // Its delete was lost.
            2 => {
                world.cdr.delete(key);
                Kind::Extra
            }
            // Resurrected: a late write after the delete.
            3 => {
                world.cdr.delete(key);
                world.healthlake.delete(key);
                world.healthlake.put(key, body(key, 1));
                Kind::Extra
            }
            4 => {
                world.cdr.put(key, body(key, random.u64(1000..)));
                Kind::Stale
            }
            // A late write of an older version, after the newer one.
            5 => {
                let old = world.cdr.get(key).unwrap();
                world.cdr.put(key, body(key, random.u64(1000..)));
                world.forward(key);
                world.healthlake.put(key, old);
                Kind::Stale
            }
            _ => {
                world.healthlake.put(key, body(key, 99));
                Kind::Altered
            }
        };
        damaged.insert(key.clone(), kind);
    }
    damaged
}

#[tokio::test]
async fn all_damage_is_found_none_that_is_not_and_repaired_to_equality() {
    let seed = std::env::var("LAKEHOOK_TEST_SEED").map_or_else(|_| fastrand::u64(..), |s| s.parse().unwrap());
    eprintln!("LAKEHOOK_TEST_SEED={seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let folder = tempfile::tempdir().unwrap();
    let (world, index) = (World::of(keys(900), 240), index(&folder));
    for (round, extent) in [Extent::Everything, Extent::Changes, Extent::Changes].into_iter().enumerate() {
        let damaged = damage(&world, &mut random, 40);
        let expected: BTreeMap<String, Kind> = damaged.clone();

        let (report, findings) = world.run(&index, SETTLE, false, types()).await;
        let report = report.unwrap();
        let found: BTreeMap<String, Kind> =
            findings.iter().map(|finding| (finding.key.to_string(), finding.kind)).collect();
        assert_eq!(found, expected, "round {round}");
        assert_eq!((report.extent, report.open(), report.undecided), (extent, 40, 0));
        for finding in findings.iter().filter(|finding| finding.kind == Kind::Stale) {
            let newest: u64 = finding.cdr_version.as_deref().unwrap().parse().unwrap();
            assert_eq!(finding.holds_version, Some(newest - 1), "{finding:?}");
        }

        let before = world.healthlake.writes();
        let (report, findings) = world.run(&index, SETTLE, true, types()).await;
        let report = report.unwrap();
        assert_eq!((report.differences(), report.open()), (40, 0));
        assert!(findings.iter().all(|finding| finding.repair == Some(Repair::Repaired)));
        assert_eq!(world.healthlake.alive(), world.cdr.alive(), "round {round}");
        assert_eq!(world.healthlake.writes() - before, 40, "one write for each, none for what is equal");

        let before = world.healthlake.writes();
        let (report, findings) = world.run(&index, SETTLE, true, types()).await;
        assert!(findings.is_empty() && report.unwrap().differences() == 0);
        assert_eq!(world.healthlake.writes(), before);
    }
}

#[tokio::test]
async fn a_later_run_costs_what_changed_and_not_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let (world, index) = (World::of((0..20_000).map(|n| format!("Patient/p{n}")), 1000), index(&folder));
    let requests = || world.cdr.requests() + world.healthlake.requests();
    let scope = || Scope::Types { types: vec!["Patient".into()], everything: false };

    let (report, _) = world.run(&index, SETTLE, false, scope()).await;
    assert_eq!((report.unwrap().differences(), requests()), (0, 400), "a request for each hundred");

    let before = requests();
    world.run(&index, SETTLE, false, scope()).await.0.unwrap();
    assert_eq!(requests() - before, 4, "a list of what changed and a count, for each side");

    // Deletions leave no trace in what was updated.
    world.healthlake.lose("Patient/p777");
    world.healthlake.lose("Patient/p12345");
    world.cdr.delete("Patient/p15000");
    let before = requests();
    let (report, findings) = world.run(&index, SETTLE, true, scope()).await;
    let cost = requests() - before;
    let found: Vec<_> = findings.iter().map(|finding| (finding.key.to_string(), finding.kind)).collect();
    let expected =
        [("Patient/p12345", Kind::Missing), ("Patient/p15000", Kind::Extra), ("Patient/p777", Kind::Missing)];
    assert_eq!(found, expected.map(|(key, kind)| (key.to_owned(), kind)));
    assert_eq!(report.unwrap().open(), 0);
    // Eight halvings of 20,000 to a page, for each; then reads of three keys.
    assert!(cost < 60, "{cost} requests");
}

#[tokio::test]
async fn what_is_being_indexed_is_left_out_of_searches_and_not_missing() {
    let folder = tempfile::tempdir().unwrap();
    let (world, index) = (World::of(keys(300), 24), index(&folder));
    world.healthlake.lag.store(60_000, Ordering::Relaxed);
    for key in keys(300).step_by(10) {
        world.cdr.put(&key, body(&key, 2));
        world.forward(&key);
    }
    for _ in 0..3 {
        let before = world.healthlake.writes();
        let (report, findings) = world.run(&index, SETTLE, true, types()).await;
        assert!(findings.is_empty(), "{findings:?}");
        assert_eq!((report.unwrap().undecided, world.healthlake.writes()), (0, before));
    }
}

#[tokio::test]
async fn a_run_that_broke_goes_on_where_it_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let world = World::of((0..5000).map(|n| format!("Patient/p{n:04}")), 24);
    let scope = || Scope::Types { types: vec!["Patient".into()], everything: false };
    world.healthlake.lose("Patient/p0010");
    world.healthlake.fails_from.store(31, Ordering::Relaxed);
    {
        let index = index(&folder);
        assert!(world.run(&index, SETTLE, false, scope()).await.0.is_err());
    }
    world.healthlake.fails_from.store(0, Ordering::Relaxed);
    world.healthlake.lose("Patient/p0020");
    let before = (world.cdr.requests(), world.healthlake.lists.load(Ordering::Relaxed));
    let index = index(&folder);
    let (report, findings) = world.run(&index, SETTLE, false, scope()).await;
    let found: Vec<_> = findings.iter().map(|finding| finding.key.to_string()).collect();
    // The second was lost after its page had been read, so the counts tell.
    assert_eq!(found, ["Patient/p0010", "Patient/p0020"], "{report:?}");
    assert!(world.cdr.requests() - before.0 < 20, "the CDR's 50 pages are not read again");
    assert!(world.healthlake.lists.load(Ordering::Relaxed) - before.1 < 30, "nor HealthLake's first 30");
}

#[tokio::test]
async fn types_that_healthlake_does_not_support_are_named_and_no_difference() {
    let folder = tempfile::tempdir().unwrap();
    let (world, index) = (World::of(keys(30), 24), index(&folder));
    world.healthlake.unsupported.lock().unwrap().insert("Task".into());
    let (report, findings) = world.run(&index, SETTLE, false, types()).await;
    let report = report.unwrap();
    assert!(findings.is_empty());
    assert_eq!(report.not_compared.keys().collect::<Vec<_>>(), ["Task"]);
    assert!(report.table().contains("HealthLake does not support them: Task"), "{}", report.table());
}

#[tokio::test]
async fn named_resources_and_a_time_bound_what_is_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let (world, index_of_ids) = (World::of(keys(300), 24), index(&folder));
    world.healthlake.lose("Patient/r1");
    world.healthlake.lose("Patient/r4");
    world.cdr.put("Task/r2", body("Task/r2", 2));
    let ids = ["Patient/r1", "Patient/r7", "Patient/none"].map(|key| Key::parse(key).unwrap()).to_vec();
    let (report, findings) = world.run(&index_of_ids, SETTLE, false, Scope::Ids(ids)).await;
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].key.to_string(), report.unwrap().extent), ("Patient/r1".into(), Extent::Ids));
    assert_eq!(world.healthlake.lists.load(Ordering::Relaxed), 0);

    let folder = tempfile::tempdir().unwrap();
    let Scope::Types { types, .. } = types() else { unreachable!() };
    let since = crate::reconcile::now() - 60_000;
    let (_, findings) = world.run(&index(&folder), SETTLE, false, Scope::Since { types, since }).await;
    assert_eq!(findings.iter().map(|finding| finding.key.to_string()).collect::<Vec<_>>(), ["Task/r2"]);
}

/// What the filter keeps out is expected to be absent: in sweeps of everything and of changes, by list and by read.
#[tokio::test]
async fn what_is_filtered_is_expected_to_be_absent() {
    let folder = tempfile::tempdir().unwrap();
    let mut world = World::of(keys(30), 24);
    let denied = crate::filter::Label::parse("R").unwrap();
    let filter = crate::filter::Filter { deny_labels: vec![denied], ..Default::default() };
    world.cdr.filter = std::sync::Arc::new(filter);
    let (restricted, index) = (|n: u64| labelled(body("Patient/r1", n)), index(&folder));

    // There from before, and never there.
    world.cdr.put("Patient/r1", restricted(2));
    world.cdr.put("Patient/new", restricted(1).replace("r1", "new"));
    let (report, found) = world.run(&index, SETTLE, true, types()).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].key.to_string().as_str(), found[0].kind), ("Patient/r1", Kind::Extra));
    assert_eq!((found[0].repair, report.unwrap().open()), (Some(Repair::Repaired), 0));
    assert_eq!(world.healthlake.get("Patient/r1"), None);

    // Nothing to do, and nothing to list anew.
    let (report, found) = world.run(&index, SETTLE, true, types()).await;
    assert_eq!((found.len(), report.unwrap().extent), (0, Extent::Changes));

    // It came back by a late write, then the label goes, and another gets one.
    world.healthlake.put("Patient/r1", body("Patient/r1", 1));
    world.cdr.put("Patient/new", body("Patient/new", 2));
    world.cdr.put("Patient/r4", labelled(body("Patient/r4", 5)));
    let (report, found) = world.run(&index, SETTLE, true, types()).await;
    let found: Vec<_> = found.iter().map(|finding| (finding.key.to_string(), finding.kind)).collect();
    let expected = [("Patient/new", Kind::Missing), ("Patient/r1", Kind::Extra), ("Patient/r4", Kind::Extra)];
    assert_eq!(found, expected.map(|(key, kind)| (key.to_owned(), kind)));
    assert_eq!(report.unwrap().open(), 0);
    assert_eq!(world.healthlake.get("Patient/new"), Some(body("Patient/new", 2)));
    assert!(world.healthlake.alive().keys().all(|key| key != "Patient/r1" && key != "Patient/r4"));

    // `--everything` agrees.
    let everything = Scope::Types { types: vec!["Patient".into()], everything: true };
    let (report, found) = world.run(&index, SETTLE, false, everything).await;
    assert_eq!((found.len(), report.unwrap().extent), (0, Extent::Everything));
}

fn labelled(json: String) -> String {
    json.replacen('{', r#"{"meta":{"security":[{"code":"R"}]},"#, 1)
}

#[tokio::test]
async fn what_a_repair_does_not_help_is_sent_once_and_told_each_time() {
    let folder = tempfile::tempdir().unwrap();
    let (world, index) = (World::of(keys(30), 24), index(&folder));
    // A content that the mirror will never make equal: its own delivery alters it.
    struct Alters(World);
    impl crate::mirror::Mirror for Alters {
        fn forward(&self, delivery: crate::delivery::Delivery) -> crate::mirror::Telling<'_> {
            let told = crate::mirror::Mirror::forward(&self.0, delivery);
            self.0.healthlake.put("Patient/r1", body("Patient/r1", 77));
            told
        }
        fn way(&self) -> String {
            "a test".into()
        }
    }
    world.healthlake.put("Patient/r1", body("Patient/r1", 76));
    let alters = Alters(world.clone());
    let mut writes = Vec::new();
    for _ in 0..3 {
        let run = crate::reconcile::Run {
            cdr: &world.cdr,
            healthlake: &world.healthlake,
            index: &index,
            options: crate::reconcile::Options { settle: SETTLE, ..Default::default() },
            mirror: Some(&alters),
            heard: &|_, _, _| {},
            exports: [None, None],
            decimals: crate::reconcile::Decimals::Digits,
            filter: &world.cdr.filter,
        };
        let mut found = Vec::new();
        run.run(types(), BTreeMap::new(), &mut |finding| found.push(finding)).await.unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].repair, Some(Repair::Persisting));
        writes.push(world.healthlake.versions("Patient/r1"));
    }
    assert!(writes.windows(2).all(|pair| pair[0] == pair[1]), "{writes:?}");
}
