//! The CDR as a server that can be asked.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "The CDR's own API")]
pub struct CdrArgs {
    /// FHIR base URL of the CDR, for what only it can tell: the content of an id-only notification
    #[arg(long, env = "LAKEHOOK_CDR_URL", value_name = "URL")]
    pub cdr_url: Option<String>,
    /// Bearer token for it
    #[arg(long, env = "LAKEHOOK_CDR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub cdr_token: Option<SecretString>,
    /// File with the bearer token for it
    #[arg(long, env = "LAKEHOOK_CDR_TOKEN_FILE", value_name = "FILE")]
    pub cdr_token_file: Option<PathBuf>,
    /// Basic authentication for it
    #[arg(long, env = "LAKEHOOK_CDR_BASIC", value_name = "USER:PASSWORD", hide_env_values = true)]
    pub cdr_basic: Option<SecretString>,
}
