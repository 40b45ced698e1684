//! What tests start and talk to.

pub mod answer;
pub mod app;
pub mod builder;
pub mod cdr;
pub mod collector;
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
pub mod program;
pub mod synthea;
pub mod tap;
pub mod tls;
pub mod upstream;
