//! Whole runs over two servers in memory: damage of every kind, storms, breaks, and what it costs.

#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod runs;
mod storm;
mod world;
