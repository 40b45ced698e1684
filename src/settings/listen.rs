//! Where deliveries come in, how much at once, how the process ends.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::units::{bytes, duration};
use crate::validate::Mode;

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Listening")]
pub struct ListenArgs {
    /// Address for deliveries and health checks
    #[arg(long, env = "LAKEHOOK_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// channel.endpoint is http(s)://host:port and this path
    #[arg(long, env = "LAKEHOOK_BASE_PATH", value_name = "PATH", default_value = "/fhir")]
    pub base_path: String,
    /// Address for metrics, health in detail and the log filter
    #[arg(long, env = "LAKEHOOK_ADMIN_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8081")]
    pub admin_listen: SocketAddr,
    /// PEM certificate chain: serve TLS; read again when it changes
    #[arg(long, env = "LAKEHOOK_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,
    /// PEM private key of --tls-cert
    #[arg(long, env = "LAKEHOOK_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
    /// PEM CA: a client certificate that it signed authenticates the CDR (mutual TLS)
    #[arg(long, env = "LAKEHOOK_TLS_CLIENT_CA", value_name = "FILE")]
    pub tls_client_ca: Option<PathBuf>,
    /// Idle connections are kept this long: longer than the balancer's idle time limit
    #[arg(long, env = "LAKEHOOK_KEEP_ALIVE", value_name = "TIME", default_value = "75s", value_parser = duration)]
    pub keep_alive: Duration,
    /// From the first byte of a request to the end of its head, and for a TLS handshake
    #[arg(long, env = "LAKEHOOK_HEAD_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub head_timeout: Duration,
    /// For a request's body to arrive
    #[arg(long, env = "LAKEHOOK_BODY_TIMEOUT", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub body_timeout: Duration,
    /// Open connections; for more, the one idle for longest is ended
    #[arg(long, env = "LAKEHOOK_MAX_CONNECTIONS", value_name = "N", default_value = "8192")]
    pub max_connections: NonZeroUsize,
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Deliveries")]
pub struct DeliveryArgs {
    /// One delivery, all in; below the CDR's own time limit (HAPI: 10s)
    #[arg(long, env = "LAKEHOOK_DEADLINE", value_name = "TIME", default_value = "8s", value_parser = duration)]
    pub deadline: Duration,
    /// Largest body, after gunzip too; HealthLake's own limit is 5 MB
    #[arg(long, env = "LAKEHOOK_MAX_BODY", value_name = "SIZE", default_value = "5 MiB", value_parser = bytes)]
    pub max_body: usize,
    /// Deliveries at once; more are answered 503
    #[arg(long, env = "LAKEHOOK_MAX_IN_FLIGHT", value_name = "N", default_value = "256")]
    pub max_in_flight: NonZeroUsize,
    /// Bytes of bodies at once; more are answered 503
    #[arg(long, env = "LAKEHOOK_MAX_BYTES_IN_FLIGHT", value_name = "SIZE", default_value = "256 MiB", value_parser = bytes)]
    pub max_bytes_in_flight: usize,
    /// What is asked of a resource
    #[arg(long, env = "LAKEHOOK_VALIDATION", value_name = "MODE", value_enum, default_value = "strict")]
    pub validation: Validation,
    /// How deeply elements may nest
    #[arg(long, env = "LAKEHOOK_MAX_DEPTH", value_name = "N", default_value = "64", value_parser = clap::value_parser!(u32).range(2..=64))]
    pub max_depth: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Validation {
    /// Structure, and the grammar of every primitive
    Strict,
    /// Names, shapes and cardinalities
    Structure,
    /// What parses and agrees with its URL
    Off,
}

impl From<Validation> for Mode {
    fn from(validation: Validation) -> Self {
        match validation {
            Validation::Strict => Self::Strict,
            Validation::Structure => Self::Structure,
            Validation::Off => Self::Off,
        }
    }
}

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Ending")]
pub struct LifecycleArgs {
    /// After SIGTERM health says 503 and deliveries are still taken for this long, so that the balancer notices
    #[arg(long, env = "LAKEHOOK_DRAIN_DELAY", value_name = "TIME", default_value = "5s", value_parser = duration)]
    pub drain_delay: Duration,
    /// Then deliveries in flight may take this long to end
    #[arg(long, env = "LAKEHOOK_DRAIN_TIMEOUT", value_name = "TIME", default_value = "15s", value_parser = duration)]
    pub drain_timeout: Duration,
}
