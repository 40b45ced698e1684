//! For one resource the mirror may lag; it may not go back. Deliveries of one resource are forwarded one
//! after the other, and one that is older than what was forwarded is not sent.
//!
//! `rules` say what may be sent, `walk` is the way of one delivery through claim, write and memory; both are plain.
//! `queue` is the order within a process, a `store` what is remembered, and the order among processes.

mod claims;
mod compact;
pub mod dynamodb;
pub mod file_store;
pub mod lease;
pub mod memory_store;
#[cfg(test)]
mod model;
pub mod queue;
mod recent;
pub mod record;
pub mod rules;
mod steps;
pub mod store;
#[cfg(test)]
pub(crate) mod store_tests;
mod version;
pub mod walk;

pub(crate) use version::compare;
