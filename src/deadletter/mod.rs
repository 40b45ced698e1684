//! Dead letters: deliveries that were refused for good, kept durably before the CDR is told that all is well.
//!
//! A [`Letter`] says what was refused and why, its payload is what came. The three stores (`directory`, `s3`, `sqs`)
//! keep both as one blob (`blob`), sealed where a key is set (`seal`). `keeper` is what `forward` knows of it all: it
//! bounds how much is kept, and lets go of what a newer version has overtaken.

mod aws;
mod blob;
pub mod directory;
mod keeper;
mod letter;
pub mod s3;
mod seal;
pub mod sqs;
mod store;
#[cfg(test)]
mod store_tests;

pub use aws::client_bounds;
pub use blob::Blobs;
pub use keeper::{KeepError, Keeper, Kept, Limits};
pub use letter::{Letter, LetterId, Name, Payload, Stored};
pub use seal::{SealError, SealKeys};
pub use store::{Answer, Checked, DeadLetters, StoreError, Usage};
