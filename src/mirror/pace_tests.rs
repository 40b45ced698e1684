//! The budget against a HealthLake that throttles as AWS describes it, under paused time.

#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use proptest::prelude::*;

use super::*;

/// A quota of write units per second, a second's worth at once. Live deliveries take theirs without asking.
struct Quota {
    per_second: f64,
    state: Mutex<(f64, Instant)>,
}

impl Quota {
    fn new(per_second: f64) -> Arc<Self> {
        Arc::new(Self { per_second, state: Mutex::new((per_second, Instant::now())) })
    }

    fn write(&self, units: u32) -> bool {
        let (mut state, now) = (self.state.lock().unwrap(), Instant::now());
        let passed = (now - state.1).as_secs_f64();
        *state = ((state.0 + passed * self.per_second).min(self.per_second), now);
        let passes = state.0 >= f64::from(units);
        if passes {
            state.0 -= f64::from(units);
        }
        passes
    }
}

#[derive(Debug, Default)]
struct Seen {
    /// Units
    written: AtomicU64,
    throttled: AtomicU64,
    live_written: AtomicU64,
    live_throttled: AtomicU64,
}

const WORKERS: usize = 12;
const LATENCY: Duration = Duration::from_millis(20);
/// Left for the budget to find the quota
const SETTLING: Duration = Duration::from_secs(60);
const MEASURED: Duration = Duration::from_secs(60);

/// A backfill at full load beside `live` units per second of live deliveries; counts only what is after settling.
fn run(quota: f64, live: f64, largest: u32, seed: u64) -> Seen {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async move {
        let (healthlake, seen, pace) =
            (Quota::new(quota), Arc::new(Seen::default()), Arc::new(Pace::new(Limits::default())));
        let counting = Arc::new(AtomicBool::new(false));
        let count = |at: &AtomicU64, n: u32, counting: &AtomicBool| {
            if counting.load(Ordering::Relaxed) {
                at.fetch_add(n.into(), Ordering::Relaxed);
            }
        };
        let mut tasks = tokio::task::JoinSet::new();
        for worker in 0..WORKERS as u64 {
            let (healthlake, seen, pace, counting) =
                (healthlake.clone(), seen.clone(), pace.clone(), counting.clone());
            let mut random = fastrand::Rng::with_seed(seed ^ worker);
            tasks.spawn(async move {
                loop {
                    let units = random.u32(1..=largest);
                    let sent = pace.take(units).await;
                    let passes = healthlake.write(units);
                    sleep(LATENCY).await;
                    if passes {
                        count(&seen.written, units, &counting);
                        pace.took(sent);
                    } else {
                        count(&seen.throttled, units, &counting);
                        pace.throttled(sent, None);
                    }
                }
            });
        }
        if live > 0.0 {
            let (healthlake, seen, counting) = (healthlake.clone(), seen.clone(), counting.clone());
            tasks.spawn(async move {
                loop {
                    sleep(Duration::from_secs_f64(1.0 / live)).await;
                    let at = if healthlake.write(1) { &seen.live_written } else { &seen.live_throttled };
                    count(at, 1, &counting);
                }
            });
        }
        sleep(SETTLING).await;
        counting.store(true, Ordering::Relaxed);
        sleep(MEASURED).await;
        tasks.abort_all();
        while tasks.join_next().await.is_some() {}
        Arc::into_inner(seen).unwrap()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    #[test]
    fn it_finds_what_live_deliveries_leave_and_they_stay_first(
        quota in 60f64..300.0,
        live_share in 0f64..0.7,
        largest in 1u32..6,
        seed: u64,
    ) {
        let live = quota * live_share;
        let seen = run(quota, live, largest, seed);
        let get = |at: &AtomicU64| at.load(Ordering::Relaxed) as f64;
        let written = get(&seen.written);
        let live = get(&seen.live_written) + get(&seen.live_throttled);
        let free = quota * MEASURED.as_secs_f64() - live;
        prop_assert!(written > free * 0.6, "{written} of {free} units: {seen:?}");
        prop_assert!(written < free + 2.0 * quota, "{written} of {free} units: {seen:?}");
        prop_assert!(get(&seen.throttled) < written * 0.1, "{seen:?}");
        prop_assert!(get(&seen.live_throttled) <= live * 0.05 + 1.0, "live suffers: {seen:?}");
    }

    #[test]
    fn the_rate_stays_within_its_limits_whatever_happens(
        start in 0f64..5_000.0,
        most in 1f64..5_000.0,
        events in prop::collection::vec((0u8..4, 1u32..500, 0u64..2_000), 1..200),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.unwrap().block_on(async {
            let pace = Pace::new(Limits { start, most: Some(most) });
            for (event, units, pause) in events {
                let sent = pace.take(units).await;
                sleep(Duration::from_millis(pause)).await;
                match event {
                    0 => pace.took(sent),
                    1 => pace.throttled(sent, (pause % 2 == 0).then(|| Duration::from_millis(pause * 10))),
                    2 => pace.failed(sent),
                    _ => pace.unused(sent),
                }
                let rate = pace.rate();
                prop_assert!((LEAST..=most.max(LEAST)).contains(&rate), "{rate}");
            }
            Ok(())
        })?;
    }
}

#[tokio::test(start_paused = true)]
async fn alone_it_uses_a_large_quota_within_a_minute() {
    let pace = Pace::new(Limits::default());
    let (quota, started) = (Quota::new(3_000.0), Instant::now());
    while started.elapsed() < Duration::from_secs(60) {
        let sent = pace.take(3).await;
        if quota.write(3) { pace.took(sent) } else { pace.throttled(sent, None) }
    }
    assert!(pace.rate() > 1_400.0, "{}", pace.rate());
}

#[tokio::test(start_paused = true)]
async fn retry_after_holds_everyone() {
    let pace = Pace::new(Limits { start: 1_000.0, most: None });
    let sent = pace.take(1).await;
    pace.throttled(sent, Some(Duration::from_secs(7)));
    let started = Instant::now();
    pace.take(1).await;
    assert!(started.elapsed() >= Duration::from_secs(7), "{:?}", started.elapsed());
    // One that names a day is looked into after a minute.
    let sent = pace.take(1).await;
    pace.throttled(sent, Some(Duration::from_secs(86_400)));
    let started = Instant::now();
    pace.take(1).await;
    assert!(started.elapsed() < Duration::from_secs(65), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn one_burst_of_throttling_lowers_the_rate_once() {
    let pace = Pace::new(Limits { start: 1_000.0, most: None });
    let mut together = Vec::new();
    for _ in 0..50 {
        together.push(pace.take(1).await);
    }
    sleep(Duration::from_millis(20)).await;
    for sent in together {
        pace.throttled(sent, None);
    }
    assert!((pace.rate() - 500.0).abs() < 1.0, "{}", pace.rate());
    let sent = pace.take(1).await;
    pace.throttled(sent, None);
    assert!((pace.rate() - 350.0).abs() < 1.0, "{}", pace.rate());
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_asked_about_less_and_less() {
    let pace = Pace::new(Limits { start: 1_000.0, most: None });
    let started = Instant::now();
    let mut asked = 0;
    while started.elapsed() < Duration::from_secs(300) {
        let sent = pace.take(1).await;
        pace.failed(sent);
        asked += 1;
    }
    assert!((10..30).contains(&asked), "{asked}");
    // The first that is taken again ends it.
    let sent = pace.take(1).await;
    pace.took(sent);
    let started = Instant::now();
    for _ in 0..10 {
        pace.take(1).await;
    }
    assert!(started.elapsed() < Duration::from_secs(1), "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn large_payloads_are_paid_off() {
    let pace = Pace::new(Limits { start: 100.0, most: Some(100.0) });
    let started = Instant::now();
    for _ in 0..10 {
        pace.take(50).await;
    }
    let took = started.elapsed().as_secs_f64();
    assert!((4.0..5.0).contains(&took), "nine of ten halves of a second: {took}");
}

#[test]
fn a_kilobyte_begun_is_a_unit() {
    assert_eq!([0, 1, 1024, 1025, 4096].map(units), [1, 1, 1, 2, 4]);
}
