//! The embedded HealthLake and STS.

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;

use super::SettingsError;
use super::units::duration;
use crate::sandbox::{Config, Fault};

#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Sandbox")]
pub struct SandboxArgs {
    /// The sandbox's address, loopback only
    #[arg(long, env = "LAKEHOOK_SANDBOX_LISTEN", value_name = "ADDR", default_value = "127.0.0.1:8180")]
    pub sandbox_listen: SocketAddr,
    /// A fault from the start, as JSON: {"status":503,"rate":0.1}; repeatable
    #[arg(long, env = "LAKEHOOK_SANDBOX_FAULT", value_name = "JSON")]
    pub sandbox_fault: Vec<String>,
    /// An updated resource is left out of searches for this long (HealthLake: about 20s)
    #[arg(long, env = "LAKEHOOK_SANDBOX_SEARCH_LAG", value_name = "TIME", default_value = "0s", value_parser = duration)]
    pub sandbox_search_lag: Duration,
    /// Write capacity, in units of 1 KB a second; above it writes are throttled [default: no limit]
    #[arg(long, env = "LAKEHOOK_SANDBOX_WRITE_UNITS", value_name = "N")]
    pub sandbox_write_units: Option<u32>,
    /// Lifetime of the credentials that its STS issues [default: what is asked for]
    #[arg(long, env = "LAKEHOOK_SANDBOX_SESSION_LIFETIME", value_name = "TIME", value_parser = duration)]
    pub sandbox_session_lifetime: Option<Duration>,
}

impl SandboxArgs {
    pub fn config(&self) -> Result<Config, SettingsError> {
        if !self.sandbox_listen.ip().is_loopback() {
            return Err(SettingsError::new(
                "sandbox-listen",
                format!("{} is not loopback; the sandbox is for tests on one machine", self.sandbox_listen),
            ));
        }
        let faults = self.sandbox_fault.iter().map(|json| fault(json)).collect::<Result<Vec<_>, _>>()?;
        Ok(Config {
            faults,
            search_lag: self.sandbox_search_lag,
            write_units_per_second: self.sandbox_write_units,
            session_lifetime: self.sandbox_session_lifetime,
            ..Config::default()
        })
    }
}

fn fault(json: &str) -> Result<Fault, SettingsError> {
    let error = |problem: String| SettingsError::new("sandbox-fault", problem);
    let fault: Fault = serde_json::from_str(json).map_err(|problem| error(problem.to_string()))?;
    fault.check().map_err(error)?;
    Ok(fault)
}
