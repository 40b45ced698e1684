//! How commands and a running instance find each other.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

/// Of `serve`: who else may command it.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Control")]
pub struct AdminArgs {
    /// Token with which commands hand deliveries to the running instance; with a data dir one is made at each start
    #[arg(long, env = "LAKEHOOK_ADMIN_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub admin_token: Option<SecretString>,
    /// File with such tokens, one a line
    #[arg(long, env = "LAKEHOOK_ADMIN_TOKEN_FILE", value_name = "FILE")]
    pub admin_token_file: Option<PathBuf>,
}

/// Of the commands that write.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Control")]
pub struct MirrorArgs {
    /// Admin address of the running instance, as http://127.0.0.1:8081 [default: found in the data dir]
    #[arg(long, env = "LAKEHOOK_INSTANCE", value_name = "URL")]
    pub instance: Option<String>,
    /// Forward from here with an order memory of its own: only while nothing else writes to the data store
    #[arg(long)]
    pub alone: bool,
}
