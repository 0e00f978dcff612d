//! Pulling capabilities of an app, and putting them back.

use cupola_domain::{
    apps::App,
    droplets::{Droplet, Runtime},
    ids::AppId,
    ladders::{Change, Rung, Sight},
    processes::{Check, HealthCheck, Process, WEB},
};
use cupola_ports::store::{self, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError,
    apps::PlacedApp,
    caller::Caller,
    processes::{CheckChange, CheckKind, ProcessChange, Scale},
};

/// An app with what its ladders are seen from.
#[derive(Clone, Debug)]
pub struct Ladders {
    pub app: App,
    pub web: Process,
    pub runtime: Option<Runtime>,
}

impl Ladders {
    pub const fn sight(&self) -> Sight<'_> {
        Sight { app: &self.app, web: &self.web, runtime: self.runtime.as_ref() }
    }
}

impl Control {
    pub async fn ladders(&self, caller: &Caller, id: AppId) -> Result<Ladders, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, id).await?;
        read(&mut *tx, &placed.app).await
    }

    /// Pulls a rung. `endpoint` is what a health check asks for.
    pub async fn pull_rung(
        &self,
        caller: &Caller,
        id: AppId,
        rung: Rung,
        endpoint: &str,
    ) -> Result<Ladders, ControlError> {
        self.change_rung(caller, id, rung, "pull", |sight| sight.pull(rung, endpoint)).await
    }

    /// Sets back what pulling the rung has set, if nobody has set it to something else since.
    pub async fn put_rung_back(
        &self,
        caller: &Caller,
        id: AppId,
        rung: Rung,
    ) -> Result<Ladders, ControlError> {
        self.change_rung(caller, id, rung, "put_back", |sight| sight.put_back(rung)).await
    }

    async fn change_rung(
        &self,
        caller: &Caller,
        id: AppId,
        rung: Rung,
        verb: &str,
        plan: impl FnOnce(Sight<'_>) -> Result<(cupola_domain::ladders::Pulled, Change), String>,
    ) -> Result<Ladders, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        let mut ladders = read(&mut *tx, &placed.app).await?;
        let (pulled, change) = plan(ladders.sight()).map_err(|why| {
            ControlError::Unprocessable(format!("`{}` cannot be changed: {why}.", rung.name()))
        })?;
        self.carry_out(&mut *tx, caller, &placed, &mut ladders.web, change).await?;
        placed.app.pulled = pulled;
        self.update_app_row(&mut *tx, &mut placed.app).await?;
        let data = json!({ "request": { verb: rung.name() } });
        self.record(&mut *tx, caller.party(), placed.event("audit.app.update", data)).await?;
        tx.commit().await?;
        self.tell(id, format!("Updated app with guid {id} ({verb}: {})", rung.name()));
        ladders.app = placed.app;
        Ok(ladders)
    }

    async fn carry_out(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        web: &mut Process,
        change: Change,
    ) -> Result<(), ControlError> {
        match change {
            Change::None => Ok(()),
            Change::Instances(instances) => {
                self.require_flag_or_admin(tx, caller, "app_scaling").await?;
                let scale = Scale { instances: Some(i64::from(instances)), ..Scale::default() };
                self.scale_row(tx, caller, placed, web, scale).await
            }
            Change::HealthCheck(check) => {
                let change =
                    ProcessChange { health_check: to_set(check), ..ProcessChange::default() };
                self.change_process(tx, caller, placed, web, change).await
            }
        }
    }
}

/// Everything of a check, as a client would say it.
fn to_set(check: HealthCheck) -> CheckChange {
    let (kind, endpoint) = match check.check {
        Check::Port => (CheckKind::Port, None),
        Check::Process => (CheckKind::Process, None),
        Check::Http { endpoint } => (CheckKind::Http, Some(Some(endpoint))),
    };
    CheckChange {
        kind: Some(kind),
        endpoint,
        start_timeout_s: Some(check.start_timeout_s),
        invocation_timeout_s: Some(check.invocation_timeout_s),
        interval_s: Some(check.interval_s),
    }
}

async fn read(tx: &mut (impl ReadTx + ?Sized), app: &App) -> Result<Ladders, ControlError> {
    let query = Query::by("app_id", app.id.to_string()).and_by("kind", WEB);
    let web = store::first::<Process>(tx, &query).await?;
    let web = web.ok_or_else(|| {
        ControlError::unprocessable("The app has no web process, and ladders are about that.")
    })?;
    let droplet = match app.current_droplet {
        Some(id) => store::get::<Droplet>(tx, id).await?,
        None => None,
    };
    // The last buildpack is the one that says how the app is started.
    let mut used = droplet.into_iter().flat_map(|droplet| droplet.contents.buildpacks).rev();
    let runtime = used.find_map(|buildpack| buildpack.runtime);
    Ok(Ladders { app: app.clone(), web, runtime })
}
