//! Who may call.

use std::path::PathBuf;

use clap::Args;
use secrecy::SecretString;

use crate::receive::{Secrets, Sources};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Who may call")]
pub struct CallerArgs {
    /// Bearer token of the CDR; several, to rotate one, by repeating it or by commas
    #[arg(long, env = "LAKEHOOK_TOKEN", value_name = "TOKEN", hide_env_values = true, value_delimiter = ',')]
    pub token: Vec<SecretString>,
    /// File with bearer tokens, one a line; read again when it changes
    #[arg(long, env = "LAKEHOOK_TOKEN_FILE", value_name = "FILE", value_delimiter = ',')]
    pub token_file: Vec<PathBuf>,
    /// Basic authentication of the CDR
    #[arg(long, env = "LAKEHOOK_BASIC", value_name = "USER:PASSWORD", hide_env_values = true)]
    pub basic: Option<SecretString>,
    /// File with user:password, one a line; read again when it changes
    #[arg(long, env = "LAKEHOOK_BASIC_FILE", value_name = "FILE")]
    pub basic_file: Option<PathBuf>,
    /// Secret of Medplum's X-Signature (HMAC-SHA256 over the body)
    #[arg(long, env = "LAKEHOOK_HMAC_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub hmac_secret: Option<SecretString>,
    /// File with such secrets, one a line; read again when it changes
    #[arg(long, env = "LAKEHOOK_HMAC_SECRET_FILE", value_name = "FILE")]
    pub hmac_secret_file: Option<PathBuf>,
    /// Take deliveries from anyone, on any address
    #[arg(long, env = "LAKEHOOK_ALLOW_ANONYMOUS")]
    pub allow_anonymous: bool,
}

impl CallerArgs {
    pub fn secrets(&self, client_certificate: bool) -> Secrets {
        let one = |value: &Option<SecretString>, file: &Option<PathBuf>| Sources {
            values: value.iter().cloned().collect(),
            files: file.iter().cloned().collect(),
        };
        Secrets {
            tokens: Sources { values: self.token.clone(), files: self.token_file.clone() },
            basic: one(&self.basic, &self.basic_file),
            hmac: one(&self.hmac_secret, &self.hmac_secret_file),
            client_certificate,
            allow_anonymous: self.allow_anonymous,
        }
    }

    pub fn any_secret(&self) -> bool {
        let Self { token, token_file, basic, basic_file, hmac_secret, hmac_secret_file, .. } = self;
        !token.is_empty()
            || !token_file.is_empty()
            || basic.is_some()
            || basic_file.is_some()
            || hmac_secret.is_some()
            || hmac_secret_file.is_some()
    }
}
