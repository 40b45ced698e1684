//! What S3 and SQS have in common: how long we wait, and what of their errors may be told.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::RequestId;

use super::StoreError;

/// In tests an emulator answers, one request at a time, on a machine that does much else.
const ATTEMPT: Duration = Duration::from_secs(if cfg!(test) { 30 } else { 2 });

/// A refused delivery waits for its letter: better told soon that it is not kept.
pub fn client_bounds() -> (TimeoutConfig, RetryConfig) {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        // A receive of SQS may take its second of waiting.
        .operation_attempt_timeout(ATTEMPT)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(2)
        .with_initial_backoff(Duration::from_millis(50))
        .with_max_backoff(Duration::from_millis(200));
    (timeouts, retries)
}

/// The operation, AWS's code and request id. A message only where it says who may not do what.
pub fn failed<E>(operation: &str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
    SdkError<E>: RequestId,
{
    let mut text = match error {
        SdkError::ServiceError(service) => match (service.err().code(), service.err().message()) {
            (Some(code), Some(message)) if code.contains("AccessDenied") || code.contains("KMS") => {
                format!("{code}: {message}")
            }
            (Some(code), _) => code.to_owned(),
            (None, _) => format!("status {}", service.raw().status()),
        },
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        SdkError::ResponseError(_) => "an answer that makes no sense".to_owned(),
        other => crate::healthlake::describe(other),
    };
    if let Some(id) = error.request_id() {
        text.push_str(&format!(" (request {id})"));
    }
    StoreError::Failed(format!("{operation}: {text}"))
}
