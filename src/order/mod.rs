//! For one resource the mirror may lag; it may not go back. Deliveries of one resource are forwarded one
//! after the other, and one that is older than what was forwarded is not sent.

mod claims;
mod compact;
pub mod dynamodb;
pub mod file_store;
mod memory;
pub mod memory_store;
mod recent;
pub mod record;
pub mod store;
#[cfg(test)]
pub(crate) mod store_tests;
mod version;

pub use memory::{Claim, Memory};
pub use version::{State, is_superseded};
