//! lakehook keeps an AWS HealthLake data store an exact, near-real-time mirror of a FHIR R4 server.
//!
//! A delivery walks through the rooms in this order: `receive`, `validate`, `order`, `healthlake`, tied
//! together by `forward`, and leaves by `answer`.

#![forbid(unsafe_code)]

pub mod afterwork;
pub mod answer;
pub mod backfill;
pub mod canary;
pub mod cdr;
pub mod cli;
pub mod consume;
pub mod deadletter;
pub mod delivery;
#[cfg(test)]
mod emulators;
pub mod explain;
pub mod filter;
pub mod forward;
#[doc(hidden)]
pub mod fuzzing;
pub mod healthlake;
pub mod mirror;
pub mod operate;
pub mod order;
pub mod receive;
pub mod reconcile;
pub mod redrive;
pub mod sandbox;
pub mod searchset;
pub mod settings;
#[cfg(test)]
mod simulation;
pub mod trace;
pub mod validate;
pub mod verdict;
