//! What tests start and talk to.

pub mod app;
pub mod dynalite;
pub mod hapi;
pub mod moto;
pub mod process;
pub mod tls;
pub mod upstream;
