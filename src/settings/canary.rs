//! How canaries are flown: for `canary`, and for those of a running instance.

use std::time::Duration;

use clap::Args;

use super::units::duration;
use crate::delivery::Key;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Canary")]
pub struct CanaryArgs {
    /// serve: write a small resource at the CDR this often, and measure how long it takes to HealthLake [default: never]
    #[arg(long, env = "LAKEHOOK_CANARY_EVERY", value_name = "TIME", value_parser = duration)]
    pub canary_every: Option<Duration>,
    /// Which resource it is; one that is there must have an identifier of the system urn:lakehook:canary
    #[arg(long, env = "LAKEHOOK_CANARY_RESOURCE", value_name = "TYPE/ID", default_value = "Device/lakehook-canary", value_parser = key)]
    pub canary_resource: Key,
    /// It is lost when HealthLake does not have it after so long
    #[arg(long, env = "LAKEHOOK_CANARY_TIMEOUT", value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub canary_timeout: Duration,
}

fn key(text: &str) -> Result<Key, String> {
    Key::parse(text).map_err(|error| format!("{error}; write it as Device/lakehook-canary"))
}
