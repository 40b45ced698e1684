//! One binary for all integration tests: one link, and the helpers compile once.

// Tests fail by panicking; helpers are public to every test module and used by some.
#![allow(clippy::unwrap_used, unreachable_pub, dead_code)]

mod foreign_servers;
mod support;
