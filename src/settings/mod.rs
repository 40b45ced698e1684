//! Settings: a flag, an environment variable (`LAKEHOOK_` and the flag in capitals) or a key of the optional
//! TOML file, in this order. One struct a concern; `build` turns them into what the rooms take, with errors
//! that name the setting, where its value came from and what to do.

mod build;
mod callers;
mod canary;
mod cdr;
mod deadletters;
mod error;
mod file;
mod filter;
mod healthlake;
mod instance;
mod kafka;
mod lambda;
mod listen;
mod log;
mod order;
mod otlp;
mod reconcile;
mod sandbox;
mod secrets;
mod subscription;
mod together;
mod units;

use clap::Args;

pub use build::{HAPI_TIMEOUT, Plan, aws, plan};
pub use callers::CallerArgs;
pub use canary::CanaryArgs;
pub use cdr::CdrArgs;
pub use deadletters::{DeadLetterArgs, DeadLetterStore};
pub use error::SettingsError;
pub use file::{File, with_file};
pub use filter::FilterArgs;
pub use healthlake::{CredentialArgs, HealthLakeArgs};
pub use instance::{AdminArgs, MirrorArgs};
pub use kafka::{KafkaArgs, SaslMechanism, SecurityProtocol};
pub use lambda::{LambdaArgs, on_lambda};
pub use listen::{DeliveryArgs, LifecycleArgs, ListenArgs, Validation};
pub use log::LogArgs;
pub use order::{OnDamage, OrderArgs, OrderStore};
pub use otlp::{OtlpArgs, collector};
pub use reconcile::{DecimalsArg, ReconcileArgs};
pub use sandbox::SandboxArgs;
pub use subscription::{Subscribing, SubscriptionArgs, subscribing, wish};
pub use units::{bytes, duration};

/// Everything that `serve` and `check` take.
#[derive(Args, Clone, Debug)]
pub struct Settings {
    /// TOML file; its keys are the flags' names: `deadline = "8s"`
    #[arg(long, env = "LAKEHOOK_CONFIG", value_name = "FILE", help_heading = "General")]
    pub config: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub listen: ListenArgs,
    #[command(flatten)]
    pub callers: CallerArgs,
    #[command(flatten)]
    pub healthlake: HealthLakeArgs,
    #[command(flatten)]
    pub credentials: CredentialArgs,
    #[command(flatten)]
    pub delivery: DeliveryArgs,
    #[command(flatten)]
    pub filter: FilterArgs,
    #[command(flatten)]
    pub order: OrderArgs,
    #[command(flatten)]
    pub dead_letters: DeadLetterArgs,
    #[command(flatten)]
    pub cdr: CdrArgs,
    #[command(flatten)]
    pub subscription: SubscriptionArgs,
    #[command(flatten)]
    pub admin: AdminArgs,
    #[command(flatten)]
    pub reconcile: ReconcileArgs,
    #[command(flatten)]
    pub canary: CanaryArgs,
    #[command(flatten)]
    pub lifecycle: LifecycleArgs,
    #[command(flatten)]
    pub lambda: LambdaArgs,
    #[command(flatten)]
    pub log: LogArgs,
    #[command(flatten)]
    pub otlp: OtlpArgs,
    /// Run an embedded HealthLake and STS; endpoint, region and credentials are set to it
    #[arg(long, env = "LAKEHOOK_SANDBOX", help_heading = "Sandbox")]
    pub sandbox: bool,
    #[command(flatten)]
    pub sandbox_args: SandboxArgs,
}
