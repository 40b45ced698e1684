//! The binary: everything is in the library.

use std::process::ExitCode;

#[tokio::main]
async fn main() -> ExitCode {
    lakehook::cli::run(std::env::args_os().collect()).await
}
