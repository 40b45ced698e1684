//! The client: who we are is the AWS configuration's matter, how long we wait is the order's.

use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;

/// A delivery has a deadline, and the order is asked twice within it: better refused soon than answered late.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Of one attempt, connecting included
    pub attempt: Duration,
    /// The SDK repeats what was throttled, cut or too slow; every change here can be repeated.
    pub attempts: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { attempt: Duration::from_secs(1), attempts: 2 }
    }
}

impl Bounds {
    /// Before the first repetition; it doubles. The SDK's own second would be the delivery's.
    const BACKOFF: Duration = Duration::from_millis(50);
    const LONGEST_BACKOFF: Duration = Duration::from_millis(200);

    /// No operation takes longer, whatever happens. (An operation of the store is one to three of DynamoDB's.)
    pub fn operation(&self) -> Duration {
        (self.attempt + Self::LONGEST_BACKOFF) * self.attempts.max(1)
    }
}

/// `endpoint`: PrivateLink without private DNS, an emulator. Credentials, region, FIPS and the private CA are those
/// of `config`.
pub fn client(config: &SdkConfig, endpoint: Option<&str>, bounds: Bounds) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(bounds.attempt)
        .operation_attempt_timeout(bounds.attempt)
        .operation_timeout(bounds.operation())
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(bounds.attempts.max(1))
        .with_initial_backoff(Bounds::BACKOFF)
        .with_max_backoff(Bounds::LONGEST_BACKOFF);
    let mut builder =
        aws_sdk_dynamodb::config::Builder::from(config).timeout_config(timeouts).retry_config(retries);
    if let Some(endpoint) = endpoint {
        builder = builder.endpoint_url(endpoint);
    }
    Client::from_conf(builder.build())
}
