//! Crashes, outages, and members that share a group.

use super::*;

#[tokio::test]
async fn nothing_is_lost_when_it_is_killed_or_healthlake_is_away() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::from_millis(20)).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 2).await;
    let key = |n: i64| format!("Patient/p{n}");
    for n in 0..300 {
        cdr.has(&key(n), 3);
    }
    broker.send("failed", (0..300).map(|n| ((n % 2) as i32, message(&key(n))))).await;

    // kill -9 in mid-stream: what is committed by then is at HealthLake, and not everything is.
    let mut run = app.spawn(&arguments(&broker, "failed", &[]));
    let committed = loop {
        let committed = broker.committed("lakehook").await;
        if committed.values().sum::<i64>() > 0 {
            break committed;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    run.signal("-KILL");
    assert_eq!(run.ended().await, None);
    let before: BTreeSet<String> = app.alive().into_iter().collect();
    for (partition, next) in committed {
        for offset in 0..next {
            assert!(
                before.contains(&key(2 * offset + i64::from(partition))),
                "committed before it was there"
            );
        }
    }
    assert!(before.len() < 300, "killed too late to tell anything");

    // The next one waits for the dead member's session, and goes on where the commits ended.
    let ran = once(&app, &broker, "failed", &[]).await;
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 150), (1, 150)]));
    assert_eq!(app.alive().len(), 300);

    // HealthLake is away for longer than the group waits for a silent member: nothing is committed, none is lost.
    app.fault(r#"{"status":503}"#);
    let mut run = app.spawn(&arguments(&broker, "failed", &["--patience", "1s"]));
    run.says(&["partitions assigned", "0, 1"]).await;
    for n in 0..10 {
        cdr.has(&key(n), 4);
    }
    broker.send("failed", (0..10).map(|n| ((n % 2) as i32, message(&key(n))))).await;
    run.says(&["not settled yet"]).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert_eq!(broker.committed("lakehook").await, BTreeMap::from([(0, 150), (1, 150)]));
    app.sandbox.clear_faults();
    broker.until_committed("lakehook", &[155, 155]).await;
    for n in 0..10 {
        assert_eq!(app.stored(&key(n)).unwrap()["name"][0]["given"][0], "v4");
    }

    // SIGTERM ends in order: what is in flight is settled and committed.
    run.signal("-TERM");
    assert_eq!(run.ended().await, Some(0), "{}", run.log());
    let log = run.log();
    assert_eq!(log.matches("partitions assigned").count(), 1, "it stayed a member: {log}");
    assert!(!log.contains("partitions lost") && log.contains("10 messages done with"), "{log}");
    nothing_told(&log);
    broker.stop().await;
}

#[tokio::test]
async fn the_members_of_a_group_share_the_partitions() {
    let broker = Broker::start().await;
    let (cdr, url) = Cdr::start(Duration::from_millis(5)).await;
    let directory = tempfile::tempdir().unwrap();
    let app = app(&url, &directory).await;
    broker.create("failed", 4).await;
    let send = async |from: i64, to: i64| {
        for n in from..to {
            cdr.has(&format!("Patient/p{n}"), 1);
        }
        let messages = (from..to).map(|n| ((n % 4) as i32, message(&format!("Patient/p{n}"))));
        broker.send("failed", messages).await;
    };
    let mut first = app.spawn(&arguments(&broker, "failed", &[]));
    first.says(&["partitions assigned", "0, 1, 2, 3"]).await;
    send(0, 40).await;
    broker.until_committed("lakehook", &[10; 4]).await;

    // Another comes: it gets two partitions, and the first one keeps the others.
    let mut second = app.spawn(&arguments(&broker, "failed", &[]));
    second.says(&["partitions assigned", ", "]).await;
    send(40, 80).await;
    broker.until_committed("lakehook", &[20; 4]).await;

    // The first one goes in order: the second has them all at once, without waiting for a session to end.
    first.signal("-INT");
    assert_eq!(first.ended().await, Some(0), "{}", first.log());
    send(80, 120).await;
    broker.until_committed("lakehook", &[30; 4]).await;
    second.signal("-TERM");
    assert_eq!(second.ended().await, Some(0), "{}", second.log());
    assert_eq!(app.alive().len(), 120);
    let done = |log: &str| -> u64 {
        let line = log.lines().find_map(|line| line.split_once(" messages done with")).expect("a summary");
        line.0.parse().unwrap()
    };
    let (by_first, by_second) = (done(&first.log()), done(&second.log()));
    assert!(by_first >= 60 && by_second >= 60 && by_first + by_second >= 120, "{by_first} {by_second}");
    broker.stop().await;
}
