//! What is remembered of the order, and where.

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::Args;

use super::units::{bytes, duration};
use crate::order::walk::{OnStoreFailure, Protocol};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Order")]
pub struct OrderArgs {
    /// Memory for what was forwarded; what was used longest ago is forgotten first
    #[arg(long, env = "LAKEHOOK_ORDER_MEMORY", value_name = "SIZE", default_value = "64 MiB", value_parser = bytes)]
    pub order_memory: usize,
    /// What to do while the order store fails
    #[arg(long, env = "LAKEHOOK_ORDER_ON_STORE_FAILURE", value_name = "WHAT", value_enum, default_value = "refuse")]
    pub order_on_store_failure: OnStoreFailure,
    /// A write whose answer was not heard may take effect at HealthLake this much later
    #[arg(long, env = "LAKEHOOK_ORDER_SETTLE", value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub order_settle: Duration,
    /// The CDR repeats an old delivery this long at the most (HAPI: 58s); Smile CDR: as its retry settings say
    #[arg(long, env = "LAKEHOOK_SENDER_RETRIES", value_name = "TIME", default_value = "2m", value_parser = duration)]
    pub sender_retries: Duration,
    /// Deliveries that may wait for one resource; more are answered 429
    #[arg(long, env = "LAKEHOOK_ORDER_QUEUE", value_name = "N", default_value = "64")]
    pub order_queue: NonZeroUsize,
}

impl OrderArgs {
    pub fn protocol(&self, has_cdr: bool) -> Protocol {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        Protocol {
            has_cdr,
            settle: millis(self.order_settle),
            horizon: millis(self.sender_retries),
            on_store_failure: self.order_on_store_failure,
        }
    }
}
