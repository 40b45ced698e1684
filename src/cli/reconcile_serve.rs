//! The sweeps of a running instance.

use std::sync::Arc;

use tokio::task::JoinHandle;

use super::engine::Engine;
use super::reconcile::{Sides, State, decimals, options_of};
use crate::cdr::Cdr;
use crate::mirror::{Local, Mirror, Source};
use crate::operate::Metrics;
use crate::order::lease::Lease;
use crate::reconcile::{Continuous, Every, Run, Scope, Status};
use crate::settings::{Plan, SettingsError};

/// What it takes, read from the settings before anything is started.
pub(super) struct Sweeps {
    cdr: Arc<Cdr>,
    state: State,
    every: Every,
    args: crate::settings::ReconcileArgs,
    deadline: std::time::Duration,
    pub status: Status,
}

impl Sweeps {
    /// None where nobody asked for it.
    pub(super) fn of(plan: &Plan) -> Result<Option<Self>, String> {
        let args = &plan.settings.reconcile;
        let Some(changes) = args.reconcile_every else { return Ok(None) };
        let error = |problem: &str| SettingsError::new("reconcile-every", problem).to_string();
        let Some(cdr) = plan.cdr.clone() else {
            return Err(error("needs --cdr-url: what HealthLake has is compared with what the CDR has"));
        };
        if changes.is_zero() {
            return Err(error("is no time; 15m suits most"));
        }
        let state = match &plan.settings.order.data_dir {
            Some(folder) => {
                let path = folder.join("reconcile.redb");
                State::at(&path, plan, &cdr).map_err(|error| format!("{}: {error}", path.display()))?
            }
            // Every start begins with a sweep of everything then.
            None => State::temporary(plan, &cdr)?,
        };
        let every = Every { changes, everything: args.reconcile_everything_every };
        let (args, deadline) = (args.clone(), plan.settings.delivery.deadline);
        Ok(Some(Self { cdr, state, every, args, deadline, status: Status::default() }))
    }

    pub(super) fn start(self, engine: &Engine, metrics: Arc<Metrics>) -> JoinHandle<()> {
        let forward = engine.forward.clone();
        let lease = Lease::of(&forward.store, "reconcile");
        let continuous = Continuous { every: self.every, status: self.status.clone(), lease };
        let local = Local::new(forward.clone(), Source::Reconcile, self.deadline).counted(metrics);
        let mirror: Option<Arc<dyn Mirror>> = self.args.reconcile_repair.then(|| Arc::new(local) as _);
        let this = Arc::new(self);
        tokio::spawn(continuous.run(move |everything| {
            let (this, forward, mirror) = (this.clone(), forward.clone(), mirror.clone());
            async move {
                let sides = Sides::new(&this.cdr, &forward.healthlake, &forward.filter, &this.args);
                let (types, left_out) =
                    sides.types(&this.args.reconcile_types).await.map_err(|error| error.to_string())?;
                let run = Run {
                    cdr: &sides.cdr,
                    healthlake: &sides.healthlake,
                    index: &this.state.index,
                    options: options_of(&this.args),
                    mirror: mirror.as_deref(),
                    heard: &|_, _, _| {},
                    exports: [None, None],
                    decimals: decimals(&this.args),
                    filter: &forward.filter,
                };
                let status = this.status.clone();
                let scope = Scope::Types { types, everything };
                let report = run.run(scope, left_out, &mut |finding| status.found(&finding)).await;
                let report = report.map_err(|error| error.to_string())?;
                let (open, oldest) =
                    this.state.index.open_differences().map_err(|error| error.to_string())?;
                Ok((report, open, oldest))
            }
        }))
    }
}
