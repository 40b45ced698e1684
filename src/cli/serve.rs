//! `lakehook serve`: settings, telemetry, bind, serve, drain, exit code.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::engine::{Engine, announce, app};
use super::reconcile_serve::Sweeps;
use super::{FAILED, Sources, USAGE, canary, fail, print, say};
use crate::operate::telemetry::LogControl;
use crate::operate::{
    Keeper, Lifecycle, Metrics, Signal, Signals, admin, connections, telemetry, watch_files,
};
use crate::receive;
use crate::sandbox::Sandbox;
use crate::settings::{Plan, Settings, on_lambda, plan as build, wish};

pub(super) async fn run(settings: Settings, sources: &Sources) -> ExitCode {
    let metrics = Arc::new(Metrics::default());
    // Lambda freezes the process with its answer: what was only gathered then would stay unwritten, and unsent.
    let traces = match on_lambda() {
        true => Ok(None),
        false => super::traces(&settings, metrics.traces.clone(), sources),
    };
    let traces = match traces {
        Ok(traces) => traces,
        Err(code) => return code,
    };
    let (filter, lines) = (&settings.log.log, settings.log.lines());
    let log = match on_lambda() {
        true => telemetry::start(filter, lines),
        false => telemetry::start_gathered(filter, lines, traces.as_ref()),
    };
    let log = match log {
        Ok(log) => log,
        Err(error) => return fail(USAGE, &format!("--log: {error}")),
    };
    let (plan, sandbox) = match prepare(settings, sources).await {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let served = match on_lambda() {
        true => super::lambda::serve(plan).await,
        false => serve(plan, sandbox, log, metrics).await,
    };
    if let Some(traces) = traces {
        traces.close().await;
    }
    telemetry::end();
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(text) => fail(FAILED, &text),
    }
}

/// The settings made into a plan, with the sandbox's listener where there is one.
pub(super) async fn prepare(
    mut settings: Settings,
    sources: &Sources,
) -> Result<(Plan, Option<TcpListener>), ExitCode> {
    let sandbox = bind_sandbox(&mut settings).await.map_err(|text| fail(FAILED, &text))?;
    let plan = build(settings).map_err(|error| fail(USAGE, &sources.locate(error).to_string()))?;
    Ok((plan, sandbox))
}

/// Its address is a part of the endpoint, so it comes first.
async fn bind_sandbox(settings: &mut Settings) -> Result<Option<TcpListener>, String> {
    if !settings.sandbox {
        return Ok(None);
    }
    let listener = bind("--sandbox-listen", settings.sandbox_args.sandbox_listen).await?;
    settings.sandbox_args.sandbox_listen = listener.local_addr().map_err(|error| error.to_string())?;
    Ok(Some(listener))
}

async fn bind(flag: &str, address: SocketAddr) -> Result<TcpListener, String> {
    listen(address).map_err(|error| bind_error(flag, address, &error))
}

/// Connections that the kernel may hold until they are accepted. With the usual 128 it drops those of a burst, and honest
/// ones in it try again after a second, or three, or seven.
const BACKLOG: u32 = 4_096;

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Why an address can't be had, and what to do.
pub(super) fn bind_error(flag: &str, address: SocketAddr, error: &std::io::Error) -> String {
    let advice = match error.kind() {
        ErrorKind::AddrInUse => {
            "another process has it: stop that one, or choose another port (0: any free one)"
        }
        ErrorKind::PermissionDenied => "ports below 1024 need a privilege: choose a higher one",
        ErrorKind::AddrNotAvailable => "this machine has no such address: 0.0.0.0 is all of its addresses",
        _ => return format!("{flag} {address}: {error}"),
    };
    format!("{flag} {address}: {error}; {advice}")
}

async fn serve(
    plan: Plan,
    sandbox: Option<TcpListener>,
    log: LogControl,
    metrics: Arc<Metrics>,
) -> Result<(), String> {
    let mut signals = Signals::new().map_err(|error| error.to_string())?;
    let listener = bind("--listen", plan.settings.listen.listen).await?;
    let admin_listener = bind("--admin-listen", plan.settings.listen.admin_listen).await?;
    let address = listener.local_addr().map_err(|error| error.to_string())?;
    let admin_address = admin_listener.local_addr().map_err(|error| error.to_string())?;
    let sandbox = start_sandbox(&plan, sandbox);

    let sweeps = Sweeps::of(&plan)?;
    let engine = Engine::open(&plan).await?;
    let (control, running) = announce(&plan, admin_address)?;
    let keeper = keeper(&plan, address, &metrics)?;
    let tending = engine.forward.dead_letters.clone().map(|keeper| tokio::spawn(keeper.tend()));
    let lifecycle = Lifecycle::default();
    let mut listening = plan.listening();
    let upstream = plan.settings.delivery.max_in_flight.get();
    listening.max_connections = connections(listening.max_connections, upstream);
    let banner = Banner::of(&plan, address);
    let drain_delay = plan.settings.lifecycle.drain_delay;
    let watched = vec![plan.callers.clone(), control.callers.clone()];
    let watching = tokio::spawn(watch_files(watched, plan.tls.clone()));
    let app = app(&plan, &engine, metrics, lifecycle.clone());
    let admission = app.admission.clone();
    let (canary, flying) = canary::start(&plan, &engine, &app.metrics, &app.recent).unzip();
    let reconcile = sweeps.as_ref().map(|sweeps| sweeps.status.clone());
    let sweeping = sweeps.map(|sweeps| sweeps.start(&engine, app.metrics.clone()));
    let admin = serve_admin(
        admin_listener,
        admin::Admin {
            app: app.clone(),
            log: Some(log),
            control: Some(control),
            sessions: Arc::default(),
            subscriptions: keeper.as_ref().map(|keeper| keeper.state.clone()),
            reconcile,
            canary,
        },
    );

    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async move {
        let _ = stopped.await;
    };
    let drain = listening.drain;
    let server = tokio::spawn(receive::serve(listener, receive::router(app), listening, stopped));
    tracing::info!(
        listen = %address,
        admin = %admin_address,
        healthlake = plan.endpoint.as_str(),
        region = engine.resolved.region,
        role = plan.source.role.as_ref().map(|role| role.arn.as_str()),
        version = env!("CARGO_PKG_VERSION"),
        "serving"
    );
    banner.show();
    // Only now: a topic's handshake comes while the Subscription is made.
    let keeping = keeper.map(|keeper| tokio::spawn(keeper.run()));

    let first = signals.next().await;
    lifecycle.drain();
    tracing::info!(?first, "draining: health says 503; a second signal ends at once");
    let ended = async {
        if first == Signal::Terminate {
            sleep(drain_delay).await;
        }
        lifecycle.stop();
        let _ = stop.send(());
        let _ = server.await;
        // Deliveries whose callers hung up run to their end too.
        timeout(drain, admission.drained()).await.is_ok()
    };
    for task in [sweeping, flying].into_iter().flatten() {
        task.abort();
    }
    let outcome = tokio::select! {
        clean = ended => if clean { Ok(()) } else {
            Err(format!("{} deliveries were still in flight when the drain's time was up", admission.in_flight()))
        },
        _ = signals.next() => Err("ended by a second signal".to_owned()),
    };
    engine.close().await;
    drop(running);
    tracing::info!(clean = outcome.is_ok(), "stopped");
    for task in [Some(watching), Some(admin), tending, sandbox, keeping].into_iter().flatten() {
        task.abort();
    }
    outcome
}

/// Looks after the Subscriptions at the CDR, where that is wanted.
fn keeper(plan: &Plan, address: SocketAddr, metrics: &Arc<Metrics>) -> Result<Option<Keeper>, String> {
    let args = &plan.settings.subscription;
    let (true, Some(cdr)) = (args.manage_subscription, &plan.cdr) else { return Ok(None) };
    let wish = wish(&plan.settings, plan.token.as_deref(), address).map_err(|error| error.to_string())?;
    Ok(Some(Keeper {
        cdr: cdr.clone(),
        wish,
        every: args.subscription_check_every,
        metrics: metrics.clone(),
        state: Arc::default(),
        clock: Plan::clock(),
    }))
}

pub(super) fn start_sandbox(plan: &Plan, listener: Option<TcpListener>) -> Option<JoinHandle<()>> {
    let (config, listener) = (plan.sandbox.clone()?, listener?);
    Some(tokio::spawn(async move {
        if let Err(error) = Sandbox::new(config).serve(listener, std::future::pending()).await {
            tracing::error!(%error, "the sandbox ended");
        }
    }))
}

fn serve_admin(listener: TcpListener, admin: admin::Admin) -> JoinHandle<()> {
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, admin::router(admin).into_make_service()).await {
            tracing::error!(%error, "the admin address ended");
        }
    })
}

/// What is said once deliveries are taken: one line for scripts, more for a newcomer.
struct Banner {
    endpoint: String,
    token: Option<String>,
    sandbox: Option<String>,
    authenticated: bool,
}

impl Banner {
    fn of(plan: &Plan, address: SocketAddr) -> Self {
        let scheme = if plan.tls.is_some() { "https" } else { "http" };
        Self {
            endpoint: format!("{scheme}://{address}{}", plan.base_path),
            token: plan.token.clone(),
            authenticated: plan.settings.callers.any_secret(),
            sandbox: plan
                .sandbox
                .as_ref()
                .map(|_| format!("http://{}", plan.settings.sandbox_args.sandbox_listen)),
        }
    }

    fn show(&self) {
        if let Some(sandbox) = &self.sandbox {
            let Self { endpoint, token, .. } = self;
            let (header, note) = match token {
                Some(token) => (
                    format!("    -H 'Authorization: Bearer {token}' \\\n"),
                    format!("  token              {token}\n"),
                ),
                None if self.authenticated => {
                    ("    -H \"Authorization: Bearer $TOKEN\" \\\n".into(), String::new())
                }
                None => (String::new(), String::new()),
            };
            say(&format!(
                "\n  channel.endpoint   {endpoint}\n{note}  sandbox            {sandbox}\n\n\
                 Deliver a Patient as a CDR would, then look into the sandbox:\n\n  \
                 curl -i -X PUT {endpoint}/Patient/p1 \\\n{header}    \
                 -H 'Content-Type: application/fhir+json' \\\n    \
                 -d '{{\"resourceType\":\"Patient\",\"id\":\"p1\",\"meta\":{{\"versionId\":\"1\"}},\"name\":[{{\"family\":\"Example\"}}]}}'\n\n  \
                 curl {sandbox}/_sandbox/resources\n"
            ));
        }
        print(&format!("ready {}", self.endpoint));
    }
}
