//! How the two sides are compared: for `reconcile`, and for the sweeps of a running instance.

use std::time::Duration;

use clap::Args;

use super::units::duration;
use crate::reconcile::Decimals;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Reconcile")]
pub struct ReconcileArgs {
    /// serve: compare what changed this often [default: never]
    #[arg(long, env = "LAKEHOOK_RECONCILE_EVERY", value_name = "TIME", value_parser = duration)]
    pub reconcile_every: Option<Duration>,
    /// serve: compare everything this often
    #[arg(long, env = "LAKEHOOK_RECONCILE_EVERYTHING_EVERY", value_name = "TIME", default_value = "7days", value_parser = duration)]
    pub reconcile_everything_every: Duration,
    /// serve: repair what differs, not only tell
    #[arg(long, env = "LAKEHOOK_RECONCILE_REPAIR")]
    pub reconcile_repair: bool,
    /// Resource types to compare [default: all that both sides serve]
    #[arg(long, env = "LAKEHOOK_RECONCILE_TYPES", value_name = "TYPES", value_delimiter = ',')]
    pub reconcile_types: Vec<String>,
    /// A difference counts when it is older: longer than the CDR waits and a delivery takes
    #[arg(long, env = "LAKEHOOK_RECONCILE_SETTLE", value_name = "TIME", default_value = "30s", value_parser = duration)]
    pub reconcile_settle: Duration,
    /// How far the clocks may differ and searches may lag
    #[arg(long, env = "LAKEHOOK_RECONCILE_OVERLAP", value_name = "TIME", default_value = "10m", value_parser = duration)]
    pub reconcile_overlap: Duration,
    /// Requests a second at most, to each side; 0: no bound
    #[arg(long, env = "LAKEHOOK_RECONCILE_RATE", value_name = "N", default_value = "20")]
    pub reconcile_rate: u32,
    /// Whether 1.0 and 1.00 differ
    #[arg(
        long,
        env = "LAKEHOOK_RECONCILE_DECIMALS",
        value_name = "HOW",
        value_enum,
        default_value = "digits"
    )]
    pub reconcile_decimals: DecimalsArg,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum DecimalsArg {
    /// By their digits, as FHIR says
    Digits,
    /// By their value: for a data store that spells decimals anew
    Value,
}

impl From<DecimalsArg> for Decimals {
    fn from(how: DecimalsArg) -> Self {
        match how {
            DecimalsArg::Digits => Self::Digits,
            DecimalsArg::Value => Self::Value,
        }
    }
}
