//! What is different on AWS Lambda: instances come and go with the load, and each is frozen between its deliveries.

use std::time::Duration;

use clap::Args;

use super::{DeadLetterStore, OrderStore, Settings, SettingsError};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "AWS Lambda")]
pub struct LambdaArgs {
    /// Remember the order in memory or in a file all the same, each instance of the function for itself
    #[arg(long, env = "LAKEHOOK_LAMBDA_ALLOW_UNSHARED_ORDER")]
    pub lambda_allow_unshared_order: bool,
    /// A client certificate that API Gateway has verified (mutual TLS of its custom domain) authenticates the CDR
    #[arg(long, env = "LAKEHOOK_LAMBDA_CLIENT_CERTIFICATE")]
    pub lambda_client_certificate: bool,
}

/// Lambda names its runtime API to the function's process, and nobody else has such a variable.
pub fn on_lambda() -> bool {
    std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some_and(|address| !address.is_empty())
}

/// API Gateway gives up after 29 s, and what it then says to the CDR is not what became of the delivery.
const LONGEST: Duration = Duration::from_secs(28);
/// For the answer on its way
const SPARE: Duration = Duration::from_millis(500);

/// What can't work there is refused, and not found out later.
pub(super) fn check(settings: &Settings) -> Result<(), SettingsError> {
    let store = match settings.order.store()? {
        OrderStore::Memory => Some("memory"),
        OrderStore::File => Some("file"),
        OrderStore::DynamoDb { .. } => None,
    };
    if let Some(store) = store.filter(|_| !settings.lambda.lambda_allow_unshared_order) {
        return Err(SettingsError::new(
            "order-store",
            format!(
                "is {store}: on AWS Lambda several instances run at once and each is gone at any time, so none knows what the others forwarded; set dynamodb:TABLE (LAKEHOOK_ORDER_STORE), or say --lambda-allow-unshared-order (LAKEHOOK_LAMBDA_ALLOW_UNSHARED_ORDER=true) where a lost order does no harm"
            ),
        ));
    }
    if settings.dead_letters.store(settings.order.data_dir.is_some())? == DeadLetterStore::Dir {
        return Err(SettingsError::new(
            "dead-letters",
            "is dir: on AWS Lambda a file is gone with the instance that wrote it; set s3://BUCKET, sqs:QUEUE-URL or off",
        ));
    }
    if settings.delivery.deadline > LONGEST {
        return Err(SettingsError::new(
            "deadline",
            "is above 28s: API Gateway gives up after 29s, and the CDR would not hear what became of the delivery",
        ));
    }
    let (listen, subscription, reconcile) = (&settings.listen, &settings.subscription, &settings.reconcile);
    let elsewhere = [
        (
            "manage-subscription",
            subscription.manage_subscription,
            "needs a process that runs between deliveries, which AWS Lambda freezes: `lakehook subscribe` makes the Subscription, from anywhere",
        ),
        (
            "reconcile-every",
            reconcile.reconcile_every.is_some(),
            "needs a process that runs between deliveries, which AWS Lambda freezes: run `lakehook reconcile` on a schedule elsewhere",
        ),
        (
            "tls-cert",
            listen.tls_cert.is_some(),
            "is for a listener, and on AWS Lambda there is none: TLS ends at the Function URL or API Gateway",
        ),
        ("sandbox", settings.sandbox, "is for a machine of your own, not for AWS Lambda"),
    ];
    match elsewhere.into_iter().find(|(_, given, _)| *given) {
        Some((setting, _, problem)) => Err(SettingsError::new(setting, problem)),
        None => Ok(()),
    }
}

impl Settings {
    /// Kept of an invocation's time for what comes behind a delivery's deadline: its outcome is written down, with two
    /// attempts at the table, and its answer sent.
    pub fn lambda_margin(&self) -> Duration {
        self.order.order_dynamodb_timeout * 2 + SPARE
    }
}
