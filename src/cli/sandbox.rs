//! `lakehook sandbox`

use std::process::ExitCode;

use tokio::net::TcpListener;

use super::serve::bind_error;
use super::{FAILED, Sources, USAGE, fail, print};
use crate::operate::{Signals, telemetry};
use crate::sandbox::Sandbox;
use crate::settings::{LogArgs, SandboxArgs};

pub(super) async fn run(args: &SandboxArgs, log: &LogArgs, sources: &Sources) -> ExitCode {
    let config = match args.config() {
        Ok(config) => config,
        Err(error) => return fail(USAGE, &sources.locate(error).to_string()),
    };
    if let Err(error) = telemetry::start(&log.log, log.lines()) {
        return fail(USAGE, &format!("--log: {error}"));
    }
    let listener = match TcpListener::bind(args.sandbox_listen).await {
        Ok(listener) => listener,
        Err(error) => return fail(FAILED, &bind_error("--sandbox-listen", args.sandbox_listen, &error)),
    };
    let (Ok(address), Ok(mut signals)) = (listener.local_addr(), Signals::new()) else {
        return fail(FAILED, "the sandbox's address or the signals can't be had");
    };
    let sandbox = Sandbox::new(config);
    let config = sandbox.config();
    print(&format!(
        "ready {endpoint}\n\
         export LAKEHOOK_HEALTHLAKE_ENDPOINT={endpoint}\n\
         export LAKEHOOK_STS_ENDPOINT=http://{address}\n\
         export AWS_REGION={region} AWS_ACCESS_KEY_ID={key} AWS_SECRET_ACCESS_KEY={secret}",
        endpoint = sandbox.endpoint(address),
        region = config.region,
        key = config.access_key_id,
        secret = config.secret_access_key,
    ));
    let stop = async move {
        signals.next().await;
    };
    match sandbox.serve(listener, stop).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(FAILED, &error.to_string()),
    }
}
