//! Where HealthLake is, and who we are to it.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use secrecy::SecretString;

use super::units::duration;
use crate::healthlake::ValidationLevel;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "HealthLake")]
pub struct HealthLakeArgs {
    /// Data store URL, with or without /r4; FIPS and PrivateLink host names too
    #[arg(long, env = "LAKEHOOK_HEALTHLAKE_ENDPOINT", value_name = "URL")]
    pub healthlake_endpoint: Option<String>,
    /// Allow http:// to a host that is not loopback
    #[arg(long, env = "LAKEHOOK_ALLOW_INSECURE_UPSTREAM")]
    pub allow_insecure_upstream: bool,
    /// HealthLake's own validation [its default: strict, which refuses any meta.profile that it does not know]
    #[arg(long, env = "LAKEHOOK_HEALTHLAKE_VALIDATION_LEVEL", value_name = "LEVEL", value_enum)]
    pub healthlake_validation_level: Option<ValidationLevel>,
    /// PEM certificates to trust besides the system's, for HealthLake, STS, the CDR and Kafka
    #[arg(long, env = "LAKEHOOK_CA_FILE", value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// For a connection to HealthLake to come about, TLS included
    #[arg(long, env = "LAKEHOOK_CONNECT_TIMEOUT", value_name = "TIME", default_value = "2s", value_parser = duration)]
    pub connect_timeout: Duration,
    /// Idle connections are kept this long: below HealthLake's own
    #[arg(long, env = "LAKEHOOK_POOL_IDLE_TIMEOUT", value_name = "TIME", default_value = "20s", value_parser = duration)]
    pub pool_idle_timeout: Duration,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "AWS credentials")]
pub struct CredentialArgs {
    /// Region that signatures name [default: the endpoint's host name, then the AWS chain's]
    #[arg(long, env = "LAKEHOOK_REGION", value_name = "REGION")]
    pub region: Option<String>,
    /// Role to assume through STS, with the AWS chain's credentials
    #[arg(long, env = "LAKEHOOK_ROLE_ARN", value_name = "ARN")]
    pub role_arn: Option<String>,
    /// Name of the role's session, as CloudTrail shows it
    #[arg(long, env = "LAKEHOOK_ROLE_SESSION_NAME", value_name = "NAME", default_value = "lakehook")]
    pub role_session_name: String,
    /// Lifetime of the role's session, 15m to 12h [default: STS's, 1h]
    #[arg(long, env = "LAKEHOOK_ROLE_SESSION_DURATION", value_name = "TIME", value_parser = duration)]
    pub role_session_duration: Option<Duration>,
    /// External id that the role's trust policy asks for
    #[arg(long, env = "LAKEHOOK_ROLE_EXTERNAL_ID", value_name = "ID", hide_env_values = true)]
    pub role_external_id: Option<SecretString>,
    /// STS elsewhere than at the region's usual host: PrivateLink
    #[arg(long, env = "LAKEHOOK_STS_ENDPOINT", value_name = "URL")]
    pub sts_endpoint: Option<String>,
    /// STS's FIPS host; HealthLake's is a matter of its endpoint
    #[arg(long, env = "LAKEHOOK_USE_FIPS")]
    pub use_fips: bool,
}
