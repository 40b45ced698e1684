//! What tests start and talk to.

pub mod app;
pub mod cdr;
pub mod corpus;
pub mod dynalite;
pub mod emf;
pub mod exact;
pub mod hapi;
pub mod import;
pub mod kafka;
pub mod lambda;
pub mod moto;
pub mod process;
pub mod tap;
pub mod tls;
pub mod upstream;
