//! lakehook as a function of AWS Lambda: events in, answers out, frozen in between.

mod answers;
mod frozen;
mod metrics;
mod start;
