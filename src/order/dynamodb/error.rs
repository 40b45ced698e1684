//! What goes into the log of a failed request: the operation, AWS's code and request id. A message only where it is
//! known to quote no item: a validation's message may.

use std::error::Error;

use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId;

use crate::order::store::StoreError;

/// Their messages name the caller, the action and the table.
const TELLING: [&str; 5] = [
    "AccessDeniedException",
    "ResourceNotFoundException",
    "UnrecognizedClientException",
    "ProvisionedThroughputExceededException",
    "ThrottlingException",
];

pub fn store_error<E>(operation: &str, error: &SdkError<E>) -> StoreError
where
    E: ProvideErrorMetadata + Error + 'static,
    SdkError<E>: RequestId,
{
    StoreError(format!("DynamoDB {operation}: {}", describe(error)))
}

pub fn describe<E>(error: &SdkError<E>) -> String
where
    E: ProvideErrorMetadata + Error + 'static,
    SdkError<E>: RequestId,
{
    let mut text = match error {
        SdkError::ServiceError(service) => {
            let error = service.err();
            match (error.code(), error.message()) {
                (Some(code), Some(message)) if TELLING.contains(&code) => format!("{code}: {message}"),
                (Some(code), _) => code.to_owned(),
                (None, _) => format!("an answer that is not DynamoDB's, status {}", service.raw().status()),
            }
        }
        SdkError::TimeoutError(_) => "no answer in time".to_owned(),
        // Not the causes: they hold what was received.
        SdkError::ResponseError(_) => "an answer that is not DynamoDB's".to_owned(),
        // Sent nowhere, or into the void: the network's causes, or those of missing credentials.
        other => crate::healthlake::describe(other),
    };
    if let Some(id) = error.request_id() {
        text.push_str(&format!(" (request {id})"));
    }
    text
}
