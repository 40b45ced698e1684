//! What is remembered of the order, and where.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::SettingsError;
use super::units::{bytes, duration};
use crate::order::record::millis;
use crate::order::walk::{OnStoreFailure, Protocol};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Order")]
pub struct OrderArgs {
    /// Where one instance keeps what must survive a restart: what was forwarded
    #[arg(long, env = "LAKEHOOK_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// memory, file or dynamodb:TABLE (for several instances) [default: file with a data dir, else memory]
    #[arg(long, env = "LAKEHOOK_ORDER_STORE", value_name = "STORE", value_parser = OrderStore::parse)]
    pub order_store: Option<OrderStore>,
    /// Resources not heard of for this long are forgotten by the file and by DynamoDB
    #[arg(long, env = "LAKEHOOK_ORDER_RETENTION", value_name = "TIME", default_value = "90days", value_parser = duration)]
    pub order_retention: Duration,
    /// What to do with an order file that is damaged
    #[arg(long, env = "LAKEHOOK_ORDER_ON_DAMAGE", value_name = "WHAT", value_enum, default_value = "refuse")]
    pub order_on_damage: OnDamage,
    /// DynamoDB elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_ORDER_DYNAMODB_ENDPOINT", value_name = "URL")]
    pub order_dynamodb_endpoint: Option<String>,
    /// For one attempt at DynamoDB, of two
    #[arg(long, env = "LAKEHOOK_ORDER_DYNAMODB_TIMEOUT", value_name = "TIME", default_value = "1s", value_parser = duration)]
    pub order_dynamodb_timeout: Duration,
    /// Memory for what was forwarded; what was used longest ago is forgotten first
    #[arg(long, env = "LAKEHOOK_ORDER_MEMORY", value_name = "SIZE", default_value = "64 MiB", value_parser = bytes)]
    pub order_memory: usize,
    /// What to do while the order store fails
    #[arg(
        long,
        env = "LAKEHOOK_ORDER_ON_STORE_FAILURE",
        value_name = "WHAT",
        value_enum,
        default_value = "refuse"
    )]
    pub order_on_store_failure: OnStoreFailure,
    /// A write whose answer was not heard may take effect at HealthLake this much later
    #[arg(long, env = "LAKEHOOK_ORDER_SETTLE", value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub order_settle: Duration,
    /// The CDR's clock may be ahead of this machine's by this much
    #[arg(long, env = "LAKEHOOK_ORDER_CLOCK_SKEW", value_name = "TIME", default_value = "50ms", value_parser = duration)]
    pub order_clock_skew: Duration,
    /// The CDR repeats an old delivery this long at the most (HAPI: 58s); Smile CDR: as its retry settings say
    #[arg(long, env = "LAKEHOOK_SENDER_RETRIES", value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub sender_retries: Duration,
    /// Deliveries that may wait for one resource; more are answered 429
    #[arg(long, env = "LAKEHOOK_ORDER_QUEUE", value_name = "N", default_value = "64")]
    pub order_queue: NonZeroUsize,
}

/// Where the order is remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderStore {
    Memory,
    File,
    DynamoDb { table: String },
}

impl OrderStore {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "memory" => Ok(Self::Memory),
            None if text == "file" => Ok(Self::File),
            Some(("dynamodb", table)) if !table.is_empty() => Ok(Self::DynamoDb { table: table.to_owned() }),
            _ => Err("write memory, file or dynamodb:TABLE".to_owned()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum OnDamage {
    /// Do not start: somebody should look
    Refuse,
    /// Rename it and begin a new one: no delivery is lost, the check begins anew
    SetAside,
}

impl OrderArgs {
    /// The store to use, cross-checked.
    pub fn store(&self) -> Result<OrderStore, SettingsError> {
        match (&self.order_store, &self.data_dir) {
            (Some(OrderStore::File), None) => {
                Err(SettingsError::new("order-store", "file needs a place to be: set --data-dir"))
            }
            (Some(store), _) => Ok(store.clone()),
            (None, Some(_)) => Ok(OrderStore::File),
            (None, None) => Ok(OrderStore::Memory),
        }
    }

    pub fn protocol(&self, has_cdr: bool) -> Protocol {
        Protocol {
            has_cdr,
            settle: millis(self.order_settle),
            horizon: millis(self.sender_retries),
            clock_skew: millis(self.order_clock_skew),
            belated: false,
            looks_again: false,
            on_store_failure: self.order_on_store_failure,
        }
    }
}
