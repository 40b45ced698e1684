//! A CDR's failed channel on Kafka: reads its messages, and forwards what the CDR has now of the resources they are
//! about. A message is committed once its verdict is final; until then it comes again.
//!
//! `message` finds the resource, `ledger` knows which offsets may be committed, `desk` deals the work out to the
//! `worker`s, and `member` ties them to the consumer group. Only `brokers` and `member` know the Kafka client.

mod brokers;
mod desk;
mod ledger;
mod member;
mod message;
mod poison;
mod worker;

pub use brokers::{Brokers, Sasl, Tls};
pub use desk::{Counts, Desk, list};
pub use member::{Member, Task};
pub use message::{Poison, key};
pub use poison::{Keep, Keeping, Letter, MESSAGE, OnPoison};
pub use worker::Worker;
