//! Emulators of AWS's services, as the integration tests start them, for unit tests of what talks to these services.
#![allow(clippy::unwrap_used, dead_code)]

#[path = "../tests/it/support/dynalite.rs"]
pub mod dynalite;
#[path = "../tests/it/support/moto.rs"]
pub mod moto;
#[path = "../tests/it/support/process.rs"]
mod process;
