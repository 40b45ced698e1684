#![allow(clippy::unwrap_used)]

use std::sync::atomic::AtomicUsize;

use aws_credential_types::provider::error::CredentialsError as ProviderError;
use aws_credential_types::provider::future;

use super::*;

/// Counts how often it is asked; each answer lives for `lifetime`; fails while `down`.
#[derive(Debug)]
struct Provider {
    asked: AtomicUsize,
    lifetime: Duration,
    down: std::sync::atomic::AtomicBool,
}

#[derive(Clone, Debug)]
struct Shared(Arc<Provider>);

impl ProvideCredentials for Shared {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        future::ProvideCredentials::new(async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let n = self.0.asked.fetch_add(1, Ordering::SeqCst);
            if self.0.down.load(Ordering::SeqCst) {
                return Err(ProviderError::provider_error("STS is down"));
            }
            let expires = now() + self.0.lifetime;
            Ok(Credentials::new(
                format!("ASIA{n}"),
                "secret-mark",
                Some("token-mark".into()),
                Some(expires),
                "test",
            ))
        })
    }
}

/// The wall clock moves with tokio's, so that paused time moves both.
fn now() -> SystemTime {
    static START: std::sync::LazyLock<(SystemTime, std::time::Instant)> =
        std::sync::LazyLock::new(|| (SystemTime::now(), std::time::Instant::now()));
    START.0 + Instant::now().into_std().saturating_duration_since(START.1)
}

fn manager(lifetime: Duration) -> (Arc<Manager>, Arc<Provider>) {
    let provider = Arc::new(Provider { asked: AtomicUsize::new(0), lifetime, down: false.into() });
    let shared = SharedCredentialsProvider::new(Shared(provider.clone()));
    (Manager::new(shared, Arc::new(now)), provider)
}

#[tokio::test(start_paused = true)]
async fn many_deliveries_at_once_ask_once() {
    let (manager, provider) = manager(Duration::from_secs(900));
    let all = futures_util::future::join_all((0..200).map(|_| manager.current())).await;
    assert!(all.iter().all(Result::is_ok));
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_under_load_is_followed_by_one_refresh() {
    let (manager, provider) = manager(Duration::from_secs(900));
    let held = manager.current().await.unwrap();
    tokio::time::sleep(FORCED_REFRESH_PAUSE).await;
    let all = futures_util::future::join_all((0..200).map(|_| manager.renewed(held.generation))).await;
    assert!(all.iter().all(|renewed| renewed.as_ref().unwrap().generation == 1));
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
    // Refused again at once: STS is left alone.
    manager.renewed(1).await.unwrap();
    assert_eq!(provider.asked.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_refresh_is_shared_by_those_who_waited() {
    let (manager, provider) = manager(Duration::from_secs(900));
    provider.down.store(true, Ordering::SeqCst);
    let all = futures_util::future::join_all((0..50).map(|_| manager.current())).await;
    assert!(all.iter().all(Result::is_err));
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn renewal_comes_well_before_expiry_and_no_delivery_waits() {
    let (manager, provider) = manager(Duration::from_secs(1000));
    let task = tokio::spawn(manager.clone().run());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
    for _ in 0..60 {
        tokio::time::sleep(Duration::from_secs(50)).await;
        let before = Instant::now();
        let held = manager.current().await.unwrap();
        assert_eq!(before, Instant::now(), "waited");
        let left = held.expires_at.unwrap().duration_since(now()).unwrap();
        assert!(left > Duration::from_secs(200), "{left:?} left");
    }
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn when_sts_is_down_the_current_ones_serve_until_they_expire() {
    let (manager, provider) = manager(Duration::from_secs(1000));
    let task = tokio::spawn(manager.clone().run());
    tokio::time::sleep(Duration::from_secs(1)).await;
    provider.down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(900)).await;
    manager.current().await.unwrap();
    tokio::time::sleep(Duration::from_secs(200)).await;
    let error = manager.current().await.unwrap_err();
    assert!(error.to_string().contains("STS is down"), "{error}");
    let tries = provider.asked.load(Ordering::SeqCst);
    assert!((10..100).contains(&tries), "{tries} tries in 1,100 s");
    provider.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(manager.holds_valid());
    task.abort();
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_gives_up_does_not_stop_the_refresh() {
    let (manager, provider) = manager(Duration::from_secs(900));
    let _ = tokio::time::timeout(Duration::from_millis(10), manager.current()).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(manager.holds_valid());
    assert_eq!(provider.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn debug_shows_no_secret() {
    let (manager, _) = manager(Duration::from_secs(900));
    let text = format!("{:?}", manager.current().await.unwrap());
    assert!(!text.contains("secret-mark") && !text.contains("token-mark"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_frozen_in_between_renews_with_its_deliveries() {
    let (manager, provider) = manager(Duration::from_secs(3600));
    let asked = || provider.asked.load(Ordering::SeqCst);
    // Nothing is held yet: that is for the delivery that needs it.
    manager.renew_if_due().await;
    assert_eq!(asked(), 0);
    manager.current().await.unwrap();
    manager.renew_if_due().await;
    assert_eq!(asked(), 1, "they are young");
    tokio::time::sleep(Duration::from_secs(2000)).await;
    tokio::join!(manager.renew_if_due(), manager.renew_if_due());
    assert_eq!(asked(), 2, "past half of their lifetime, once for all who ask");

    provider.down.store(true, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(2000)).await;
    manager.renew_if_due().await;
    assert_eq!(asked(), 3);
    assert!(manager.holds_valid(), "what is still valid serves on");
    tokio::time::sleep(Duration::from_secs(10)).await;
    manager.renew_if_due().await;
    assert_eq!(asked(), 3, "STS is not asked by every delivery while it is down");
    provider.down.store(false, Ordering::SeqCst);
    tokio::time::sleep(Duration::from_secs(30)).await;
    manager.renew_if_due().await;
    assert_eq!(asked(), 4);
}
