//! The order store in DynamoDB, before moto and dynalite: what one gets wrong the other gets right.

pub mod bench;
mod concurrency;
mod deploy;
mod failures;
mod relay;
mod semantics;
