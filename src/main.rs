//! The binary: everything is in the library.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// fhirbolt's model is many small allocations: a fifth of a validation's time is the allocator's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[tokio::main]
async fn main() -> ExitCode {
    lakehook::cli::run(std::env::args_os().collect()).await
}
