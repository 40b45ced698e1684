//! The one `Forward`, built from the settings: for `serve`, and for every command that writes.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use aws_config::SdkConfig;
use secrecy::{ExposeSecret, SecretString};
use tokio::task::JoinHandle;

use crate::afterwork::Afterwork;
use crate::forward::Forward;
use crate::healthlake::{HealthLake, Manager, Resolved};
use crate::mirror::{Announced, Found, Instance, Local, Mirror, NoAnswer, RunningFile, Source, reachable};
use crate::operate::{Control, Lifecycle, Metrics};
use crate::order::queue::Queue;
use crate::receive::{Admission, App, Callers};
use crate::settings::{MirrorArgs, OrderStore, Plan, Settings};

/// All that forwards, and what keeps it alive.
pub(super) struct Engine {
    pub forward: Arc<Forward>,
    pub resolved: Resolved,
    renewing: JoinHandle<()>,
}

/// The client, and the task that renews its credentials.
pub(super) struct Client {
    pub resolved: Resolved,
    pub healthlake: HealthLake,
    pub renewing: JoinHandle<()>,
}

pub(super) async fn client(plan: &Plan) -> Result<Client, String> {
    let resolved = plan.source.resolve().await.map_err(|error| error.to_string())?;
    let credentials = Manager::new(resolved.provider.clone(), Plan::clock());
    let renewing = tokio::spawn(credentials.clone().run());
    let options = plan.options(resolved.region.clone());
    let healthlake = HealthLake::new(plan.endpoint.clone(), credentials, Plan::clock(), options)
        .map_err(|error| error.to_string())?;
    Ok(Client { resolved, healthlake, renewing })
}

/// HealthLake's control plane is called as its data plane is: with the role's credentials.
pub(super) fn control_plane(resolved: &Resolved) -> SdkConfig {
    let config = resolved.sdk_config().clone().into_builder();
    config.credentials_provider(resolved.provider.clone()).build()
}

impl Engine {
    pub(super) async fn open(plan: &Plan) -> Result<Self, String> {
        let Client { resolved, healthlake, renewing } = client(plan).await?;
        let order = &plan.settings.order;
        let store = super::order::open(order, &resolved, plan.cdr.is_some()).await?;
        let dead_letters = super::deadletters::keeper(plan, &resolved)?;
        let forward = Arc::new(Forward {
            validator: plan.validator.clone(),
            filter: plan.filter.clone(),
            queue: Queue::new(order.order_queue.get()),
            store,
            protocol: order.protocol(plan.cdr.is_some()),
            healthlake,
            cdr: plan.cdr.clone(),
            dead_letters,
            clock: Plan::clock(),
            afterwork: Afterwork::default(),
        });
        Ok(Self { forward, resolved, renewing })
    }

    /// Leaves the renewal of credentials to the deliveries: where the process is frozen between them, nothing can be
    /// done in the background.
    pub(super) fn renew_with_deliveries(&self) {
        self.renewing.abort();
    }

    /// What was forwarded is on disk when this returns.
    pub(super) async fn close(self) {
        if let Err(error) = self.forward.store.close().await {
            tracing::error!(%error, "the order store did not close");
        }
        self.renewing.abort();
    }
}

/// All that a live delivery meets.
pub(super) fn app(plan: &Plan, engine: &Engine, metrics: Arc<Metrics>, lifecycle: Lifecycle) -> Arc<App> {
    let delivery = &plan.settings.delivery;
    Arc::new(App {
        base_path: plan.base_path.clone(),
        callers: plan.callers.clone(),
        forward: engine.forward.clone(),
        admission: Admission::new(delivery.max_in_flight.get(), delivery.max_bytes_in_flight),
        limits: plan.limits(),
        lifecycle,
        metrics,
        recent: Arc::default(),
    })
}

/// Lets commands find this instance, and in.
pub(super) fn announce(plan: &Plan, admin: SocketAddr) -> Result<(Control, Option<RunningFile>), String> {
    let mut secrets = plan.commanders.clone();
    let mut file = None;
    if let Some(directory) = &plan.settings.order.data_dir {
        let token = uuid::Uuid::new_v4().simple().to_string();
        let announced = Announced { admin: reachable(admin), token: token.clone(), pid: std::process::id() };
        let written = RunningFile::write(directory, &announced);
        file = Some(written.map_err(|error| format!("--data-dir: {}: {error}", directory.display()))?);
        secrets.tokens.values.push(SecretString::from(token));
    }
    let callers = Callers::new(secrets).map_err(|error| format!("--admin-token-file: {error}"))?;
    Ok((Control::new(callers, plan.settings.delivery.max_in_flight.get()), file))
}

/// The way of a command to HealthLake.
pub(super) struct Way {
    pub mirror: Arc<dyn Mirror>,
    engine: Option<Engine>,
}

impl Way {
    /// The running instance where there is one that holds the order memory; else this process.
    pub(super) async fn open(plan: &Plan, args: &MirrorArgs, source: Source) -> Result<Self, String> {
        if !args.alone
            && let Some(instance) = find(&plan.settings, args, source).await?
        {
            return Ok(Self { mirror: Arc::new(instance), engine: None });
        }
        let engine = Engine::open(plan).await?;
        let local = Local::new(engine.forward.clone(), source, plan.settings.delivery.deadline);
        Ok(Self { mirror: Arc::new(local), engine: Some(engine) })
    }

    pub(super) async fn close(self) {
        drop(self.mirror);
        if let Some(engine) = self.engine {
            engine.close().await;
        }
    }
}

pub(super) async fn find(
    settings: &Settings,
    args: &MirrorArgs,
    source: Source,
) -> Result<Option<Instance>, String> {
    let deadline = settings.delivery.deadline;
    let instance = |admin: &str, token: &SecretString| {
        Instance::new(admin, token, source, deadline).map_err(|error| error.to_string())
    };
    if let Some(admin) = &args.instance {
        let token = token(settings)?.ok_or(
            "--instance needs its token: set --admin-token-file (LAKEHOOK_ADMIN_TOKEN_FILE) as the instance has it",
        )?;
        let instance = instance(admin, &token)?;
        return match instance.probe().await {
            Ok(Found::Running) => Ok(Some(instance)),
            Ok(Found::Nobody) => Err(format!("--instance: {}", NoAnswer::Unreachable(admin.clone()))),
            Err(error) => Err(format!("--instance: {error}")),
        };
    }
    let store = settings.order.store().map_err(|error| error.to_string())?;
    if let Some(directory) = &settings.order.data_dir
        && let Some(found) = announced(directory)?
    {
        let instance = instance(&found.admin, &SecretString::from(found.token))?;
        match instance.probe().await {
            Ok(Found::Running) => return Ok(Some(instance)),
            // It was killed: its order file is free.
            Ok(Found::Nobody) => {}
            Err(error) => return Err(format!("--data-dir: {error}")),
        }
    }
    match store {
        OrderStore::Memory => Err(
            "the order memory is in the running instance: name its --data-dir, or its admin address with --instance; --alone forwards from here, only while nothing else writes to the data store".into(),
        ),
        OrderStore::File | OrderStore::DynamoDb { .. } => Ok(None),
    }
}

pub(super) fn announced(directory: &Path) -> Result<Option<Announced>, String> {
    RunningFile::read(directory)
        .map_err(|error| format!("--data-dir: {}: instance.json: {error}", directory.display()))
}

pub(super) fn token(settings: &Settings) -> Result<Option<SecretString>, String> {
    let args = &settings.admin;
    if let Some(token) = &args.admin_token {
        return Ok(Some(SecretString::from(token.expose_secret())));
    }
    let Some(path) = &args.admin_token_file else { return Ok(None) };
    let text = std::fs::read_to_string(path)
        .map_err(|error| format!("--admin-token-file: {}: {error}", path.display()))?;
    Ok(text.lines().map(str::trim).find(|line| !line.is_empty()).map(SecretString::from))
}
