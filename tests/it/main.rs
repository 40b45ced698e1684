//! One binary for all integration tests: one link, and the helpers compile once.

// Tests fail by panicking; helpers are public to every test module and used by some.
#![allow(clippy::unwrap_used, dead_code)]

mod backfill;
mod backfill_hapi;
mod backfill_import;
mod backfill_live;
mod callers;
mod canary;
mod captures;
mod cli;
mod console;
mod consume;
mod contract_in;
mod contract_in_bundles;
mod contract_out;
mod contract_through;
mod credentials;
mod dead_letters;
mod dependencies;
mod dynamodb;
mod explain;
mod filter;
mod foreign_servers;
mod fuzz_seeds;
mod hapi_cdr;
mod hapi_mirror;
mod hapi_subscribe;
mod hostile;
mod lambda;
mod lifecycle;
mod load;
mod order;
mod order_log;
mod order_storm;
mod privacy;
mod reconcile;
mod resend;
mod support;
mod traces;
mod validate_cli;
mod validation;
