//! What the filter keeps out at the CDR is expected to be absent at HealthLake.

use std::time::Duration;

use super::{denying, observation};
use crate::reconcile::cdr::{RESTRICTED, TestCdr};
use crate::support::app::{Builder, TestApp};

fn settings(builder: Builder, cdr: &TestCdr, data: &std::path::Path) -> Builder {
    builder
        .sandbox(|config| config.search_lag = Duration::ZERO)
        .env("LAKEHOOK_FILTER_DENY_TYPES", "Observation")
        .env("LAKEHOOK_DATA_DIR", data.display())
        .env("LAKEHOOK_CDR_URL", cdr.url())
        .env("LAKEHOOK_RECONCILE_SETTLE", "1s")
        .env("LAKEHOOK_RECONCILE_OVERLAP", "5s")
        .env("LAKEHOOK_RECONCILE_RATE", "0")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn absent_is_equal_and_present_is_extra_and_repaired() {
    let (cdr, data) = (TestCdr::start().await, tempfile::tempdir().unwrap());
    let app = settings(denying(), &cdr, data.path()).start().await;
    let unfiltered = TestApp::builder().start_beside(&app).await;
    for n in 0..3 {
        let key = format!("Patient/p{n}");
        cdr.put(&key, 1);
        assert_eq!(app.put(&format!("/{key}"), cdr.json(&key).unwrap()).await.status, 201);
    }
    // Kept out: one that was delivered, and one that never was.
    cdr.put("Patient/p0", RESTRICTED);
    assert_eq!(app.put("/Patient/p0", cdr.json("Patient/p0").unwrap()).await.verdict(), "filtered");
    cdr.put("Patient/never", RESTRICTED);
    cdr.put("Observation/o1", 1);
    let ran = app.command(&["reconcile"]).await;
    assert!(ran.code == 0 && ran.out.ends_with("equal\n"), "{ran:?}");
    let asked = cdr.requests();
    assert!(!asked.iter().any(|request| request.contains("Observation")), "{asked:?}");

    // There all the same: by a late write, from before the filter, or by somebody else.
    let old = cdr.json("Patient/p1").unwrap().replace("p1", "p0");
    assert_eq!(unfiltered.put("/Patient/p0", old).await.status, 201);
    assert_eq!(unfiltered.put("/Observation/o1", observation("o1", 1)).await.status, 201);
    cdr.put("Patient/p1", RESTRICTED + 1);
    let ran = app.command(&["reconcile"]).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.ends_with("different: 3\n"), "{ran:?}");
    let ran = app.command(&["reconcile", "--repair"]).await;
    assert!(ran.code == 0 && ran.out.ends_with("equal, after repair\n"), "{ran:?}");
    assert_eq!(app.alive(), ["Patient/p2"]);
    let ran = app.command(&["reconcile", "--everything"]).await;
    assert!(ran.code == 0 && ran.out.ends_with("equal\n"), "{ran:?}");

    // Under other rules what was learned before is not built upon.
    let none = ["--filter-deny-security-labels", "nothing-has-it"];
    let state = data.path().join("reconcile.redb");
    let ran = app.command(&[&["reconcile", "--state", state.to_str().unwrap()][..], &none].concat()).await;
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.out.ends_with("different: 3\n") && ran.out.contains("every resource"), "{ran:?}");
}

/// Both sides from bulk exports.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exports_are_judged_as_lists_are() {
    let (cdr, data) = (TestCdr::start().await, tempfile::tempdir().unwrap());
    let app = settings(denying(), &cdr, data.path()).start().await;
    cdr.put("Patient/a", 1);
    cdr.put("Patient/b", RESTRICTED);
    cdr.put("Observation/o", 1);
    app.put("/Patient/a", cdr.json("Patient/a").unwrap()).await;
    let folder = |name: &str, keys: &[&str]| {
        let folder = data.path().join(name);
        std::fs::create_dir(&folder).unwrap();
        let lines: Vec<String> = keys.iter().map(|key| cdr.json(key).unwrap()).collect();
        std::fs::write(folder.join("all.ndjson"), lines.join("\n")).unwrap();
        folder.to_str().unwrap().to_owned()
    };
    let ours = folder("ours", &["Patient/a", "Patient/b", "Observation/o"]);
    let theirs = folder("theirs", &["Patient/a"]);
    let ran = app.command(&["reconcile", "--cdr-export", &ours, "--healthlake-export", &theirs]).await;
    assert!(ran.code == 0 && ran.out.ends_with("equal\n"), "{ran:?}");
}
