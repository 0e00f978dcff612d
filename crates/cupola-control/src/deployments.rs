//! Deployments: begun, watched, continued and cancelled. The loop of instances carries them out.

pub(crate) mod cost;
pub(crate) mod transitions;

use std::collections::BTreeSet;

use cupola_domain::{
    access::Access,
    apps::AppState,
    deployments::{Before, Deployment, DeploymentState, Restores, Strategy, WebOptions},
    droplets::Droplet,
    generations::{Generation, Release, Share},
    ids::{AppId, DeploymentId, DropletId, RevisionId},
    orgs::Metadata,
    processes::{Process, WEB},
    restoring::Restoration,
    revisions::Revision,
};
use cupola_ports::store::{self, Condition, Direction, Page, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError, ListRequest, Owners, apps::PlacedApp, caller::Caller,
    orgs::MetadataChange, processes::Scale, restoring::surroundings, revisions::Origin,
    sidecars::specs,
};

/// What a client says of a new deployment.
#[derive(Clone, Debug)]
pub struct NewDeployment {
    pub app: AppId,
    pub target: Target,
    pub strategy: Strategy,
    pub max_in_flight: u32,
    pub web: WebOptions,
    pub metadata: Metadata,
    /// The body of the request, for the audit event.
    pub request: serde_json::Value,
}

/// What shall run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The app as it is set now, with this droplet, or with its current one.
    Droplet(Option<DropletId>),
    /// As it was.
    Revision(RevisionId),
}

/// Kept per app, as upstream does.
const DEPLOYMENTS_MAX: u64 = 100;

impl Control {
    pub async fn create_deployment(
        &self,
        caller: &Caller,
        new: NewDeployment,
    ) -> Result<Deployment, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.app_to_deploy(&mut *tx, &access, new.app).await?;
        let deployment = self.deploy(&mut *tx, caller, placed, new, None).await?;
        tx.commit().await?;
        let app = deployment.app_id;
        self.tell(app, format!("Creating deployment for app with guid {app}"));
        Ok(deployment)
    }

    /// Writes a deployment and what follows from it at once.
    pub(crate) async fn deploy(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        mut placed: PlacedApp,
        new: NewDeployment,
        restores: Option<Restores>,
    ) -> Result<Deployment, ControlError> {
        let web = self.web_process(tx, new.app).await?;
        self.scaled(&web, scale_of(new.web))?;
        let previous = self.supersede(tx, &placed).await?;
        self.keep_present_generation(tx, &placed).await?;
        let settings = self.before(tx, &placed).await?;
        let left = surroundings(tx, &placed.app).await?;
        let revision = self.aim(tx, caller, &mut placed, new.target).await?;
        if let Some(Restores { restoration, .. }) = &restores {
            set_processes(tx, new.app, restoration).await?;
            self.restore_bindings(tx, caller, &placed, restoration).await?;
        }
        let origin = match (&revision, &restores) {
            (None, _) => Origin::Settings,
            (Some(to), None) => Origin::Rollback(to),
            (Some(to), Some(restores)) => Origin::Restore(to, &restores.restoration),
        };
        let (generation, revision) = self.new_generation(tx, caller, &placed, origin, left).await?;
        let before = placed.app.generation;
        let mut data = self.about_release(tx, before, &generation, revision.as_ref()).await?;
        let revision = revision.map(|revision| (revision.id, revision.version));
        let release_phase = self.begin_release_phase(tx, caller, &placed, &generation).await?;
        let now = self.ports.clock.now();
        let is_canary = new.strategy != Strategy::Rolling;
        let mut deployment = Deployment {
            id: DeploymentId::random(),
            app_id: new.app,
            strategy: new.strategy,
            max_in_flight: new.max_in_flight,
            web: new.web,
            droplet: generation.release.droplet,
            before: settings,
            restores,
            revision,
            release_phase,
            state: DeploymentState::Deploying,
            step: usize::from(is_canary),
            new: Share { generation: generation.id, indices: BTreeSet::new() },
            replaces: vec![Share::of(placed.app.generation, web.instances)],
            error: None,
            healthy_at: None,
            state_changed_at: now,
            cost: Some(self.cost_of_new_deployment(new.app)),
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        if let Some(previous) = previous {
            // A cancel goes back to what ran before both.
            deployment.before = previous.before.clone();
            deployment.replaces = replaced_with(previous);
        }
        if placed.app.desired == AppState::Stopped {
            self.start_at_once(tx, &mut placed, &mut deployment, &generation).await?;
        }
        self.limit_web(tx, &deployment, generation).await?;
        self.update_app_row(tx, &mut placed.app).await?;
        forget_oldest(tx, new.app).await?;
        store::insert(tx, &deployment).await?;
        data["deployment_guid"] = deployment.id.to_string().into();
        data["type"] = matches!(new.target, Target::Revision(_)).then_some("rollback").into();
        data["revision_guid"] = deployment.revision.map(|(id, _)| id.to_string()).into();
        data["strategy"] = deployment.strategy.name().into();
        data["request"] = new.request;
        let event = placed.event("audit.app.deployment.create", data);
        self.record(tx, caller.party(), event).await?;
        Ok(deployment)
    }

    /// The app of a new deployment. One that the caller does not see is refused like one that is not
    /// there, because it is a value in a body.
    async fn app_to_deploy(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        app: AppId,
    ) -> Result<PlacedApp, ControlError> {
        let placed = self.readable_app(tx, access, app).await;
        let refused = |error| match error {
            ControlError::NotFound { .. } | ControlError::NotAuthorized => {
                let detail =
                    "Unable to use app. Ensure that the app exists and you have access to it.";
                ControlError::unprocessable(detail)
            }
            other => other,
        };
        let placed = placed.map_err(refused)?;
        placed.may_support(access).map_err(refused)?;
        Ok(placed)
    }

    async fn web_process(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        app: AppId,
    ) -> Result<Process, ControlError> {
        let query = Query::by("app_id", app.to_string()).and_by("kind", WEB);
        let web = store::first::<Process>(tx, &query).await?;
        web.ok_or_else(|| {
            let detail = "The app has no web process, and a deployment replaces the instances of \
                          that. Restart the app instead.";
            ControlError::unprocessable(detail)
        })
    }

    /// Writes down what the app runs of if it was started before generations were.
    async fn keep_present_generation(
        &self,
        tx: &mut dyn WriteTx,
        placed: &PlacedApp,
    ) -> Result<(), ControlError> {
        let app = &placed.app;
        if store::get::<Generation>(tx, app.generation).await?.is_some() {
            return Ok(());
        }
        let query = Query::by("app_id", app.id.to_string());
        let processes = store::list::<Process>(tx, &query).await?.items;
        let sidecars = specs(tx, app.id).await?;
        let Some(release) = Release::of(app, &processes, sidecars) else { return Ok(()) };
        let created_at = self.ports.clock.now();
        let (id, app_id) = (app.generation, app.id);
        // There were no bindings then.
        let (services, revision) = (None, None);
        let generation = Generation { id, app_id, release, services, revision, created_at };
        Ok(store::insert(tx, &generation).await?)
    }

    async fn before(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        placed: &PlacedApp,
    ) -> Result<Before, ControlError> {
        let query = Query::by("app_id", placed.app.id.to_string());
        let processes = store::list::<Process>(tx, &query).await?.items;
        Ok(Before {
            droplet: placed.app.current_droplet,
            environment: placed.app.environment.clone(),
            commands: processes.into_iter().map(|one| (one.kind, one.command)).collect(),
            sidecars: specs(tx, placed.app.id).await?,
        })
    }

    /// Sets the app to what shall run. Returns the revision that it is rolled back to.
    async fn aim(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &mut PlacedApp,
        target: Target,
    ) -> Result<Option<Revision>, ControlError> {
        let revision = match target {
            Target::Droplet(_) => None,
            Target::Revision(id) => Some(self.revision_to_deploy(tx, placed, id).await?),
        };
        let droplet = match (target, &revision) {
            (_, Some(revision)) => Some(revision.release.droplet),
            (Target::Droplet(droplet), None) => droplet.or(placed.app.current_droplet),
            (Target::Revision(_), None) => None,
        };
        let Some(droplet) = droplet else {
            let detail = "Invalid droplet. Please specify a droplet in the request or set a \
                          current droplet for the app.";
            return Err(ControlError::unprocessable(detail));
        };
        let droplet = store::get::<Droplet>(tx, droplet).await?;
        let of_app = |droplet: &Droplet| droplet.app_id == placed.app.id && droplet.is_staged();
        let Some(droplet) = droplet.filter(of_app) else {
            let detail = "Unable to assign current droplet. \
                          Ensure the droplet exists and belongs to this app.";
            return Err(ControlError::unprocessable(detail));
        };
        self.require_files(&droplet).await?;
        placed.app.current_droplet = Some(droplet.id);
        self.add_missing_processes(tx, caller, placed, &droplet).await?;
        if let Some(revision) = &revision {
            placed.app.environment.clone_from(&revision.release.environment);
            self.set_sidecars(tx, placed.app.id, &revision.release.sidecars).await?;
            let query = Query::by("app_id", placed.app.id.to_string());
            for mut process in store::list::<Process>(tx, &query).await?.items {
                if let Some(released) = revision.release.processes.get(&process.kind) {
                    process.command.clone_from(&released.command);
                    store::update(tx, &process).await?;
                }
            }
        }
        Ok(revision)
    }

    async fn revision_to_deploy(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        placed: &PlacedApp,
        id: RevisionId,
    ) -> Result<Revision, ControlError> {
        if !placed.app.revisions_enabled {
            let detail =
                "Cannot create deployment from a revision for an app without revisions enabled";
            return Err(ControlError::unprocessable(detail));
        }
        let revision = store::get::<Revision>(tx, id).await?;
        let revision = revision.filter(|revision| revision.app_id == placed.app.id);
        let revision =
            revision.ok_or_else(|| ControlError::unprocessable("The revision does not exist"))?;
        if store::get::<Droplet>(tx, revision.release.droplet).await?.is_none() {
            let detail = "Unable to deploy this revision, the droplet for this revision no longer \
                          exists.";
            return Err(ControlError::unprocessable(detail));
        }
        Ok(revision)
    }

    /// A stopped app has nothing to replace: it is started, as upstream does.
    async fn start_at_once(
        &self,
        tx: &mut dyn WriteTx,
        placed: &mut PlacedApp,
        deployment: &mut Deployment,
        generation: &Generation,
    ) -> Result<(), ControlError> {
        placed.app.desired = AppState::Started;
        placed.app.release_phase.clone_from(&deployment.release_phase);
        self.run_generation(tx, &mut placed.app, generation.id).await?;
        let mut web = self.web_process(tx, placed.app.id).await?;
        deployment.web.apply(&mut web);
        store::update(tx, &web).await?;
        if let Some(restores) = &deployment.restores {
            self.finish_restoration(tx, &placed.app, restores).await?;
        }
        deployment.new = Share::of(generation.id, web.instances);
        deployment.replaces.clear();
        deployment.state = DeploymentState::Deployed;
        Ok(())
    }

    /// Gives the new instances the limits that the deployment asks for.
    async fn limit_web(
        &self,
        tx: &mut dyn WriteTx,
        deployment: &Deployment,
        mut generation: Generation,
    ) -> Result<(), ControlError> {
        let Some(web) = generation.release.processes.get_mut(WEB) else { return Ok(()) };
        web.limits = deployment.web.limits(web.limits);
        Ok(store::update(tx, &generation).await?)
    }

    /// The deployment, as soon as there is nothing more to wait for or the time to hold a request
    /// is over.
    pub async fn deployment(
        &self,
        caller: &Caller,
        id: DeploymentId,
    ) -> Result<Deployment, ControlError> {
        let mut hold = self.hold();
        loop {
            let mut tx = self.read().await?;
            let access = self.access(&mut *tx, caller).await?;
            let (_, deployment) = self.readable_deployment(&mut *tx, &access, id).await?;
            drop(tx);
            let moves =
                matches!(deployment.state, DeploymentState::Deploying | DeploymentState::Canceling);
            if !moves || !hold.changed().await {
                return Ok(deployment);
            }
        }
    }

    pub async fn list_deployments(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<Deployment>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.of_apps(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_deployment(
        &self,
        caller: &Caller,
        id: DeploymentId,
        metadata: MetadataChange,
    ) -> Result<Deployment, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut deployment) = self.readable_deployment(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut deployment.metadata);
        deployment.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &deployment).await?;
        tx.commit().await?;
        Ok(deployment)
    }

    /// Brings the old instances back, as carefully as the new ones came.
    pub async fn cancel_deployment(
        &self,
        caller: &Caller,
        id: DeploymentId,
    ) -> Result<Deployment, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut deployment) = self.readable_deployment(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        if !deployment.state.is_active() {
            let detail = format!("Cannot cancel a {} deployment", deployment.state.name());
            return Err(ControlError::Unprocessable(detail));
        }
        if deployment.state != DeploymentState::Canceling {
            self.begin_cancel(&mut *tx, caller.party(), &placed, &mut deployment).await?;
            store::update(&mut *tx, &deployment).await?;
        }
        tx.commit().await?;
        self.tell(deployment.app_id, format!("Cancelling deployment with guid {id}"));
        Ok(deployment)
    }

    /// Goes on from a pause of a canary.
    pub async fn continue_deployment(
        &self,
        caller: &Caller,
        id: DeploymentId,
    ) -> Result<Deployment, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut deployment) = self.readable_deployment(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        if deployment.state != DeploymentState::Paused {
            let value = if deployment.state.is_active() { "ACTIVE" } else { "FINALIZED" };
            let reason = deployment.state.name();
            let detail =
                format!("Cannot continue a deployment with status: {value} and reason: {reason}");
            return Err(ControlError::Unprocessable(detail));
        }
        deployment.step += 1;
        self.enter(&mut deployment, DeploymentState::Deploying);
        store::update(&mut *tx, &deployment).await?;
        let event = placed.event("audit.app.deployment.continue", about(&deployment));
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        self.tell(deployment.app_id, format!("Continuing deployment with guid {id}"));
        Ok(deployment)
    }

    pub(crate) async fn readable_deployment(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: DeploymentId,
    ) -> Result<(PlacedApp, Deployment), ControlError> {
        let deployment = store::get::<Deployment>(tx, id).await?;
        let deployment = deployment.ok_or(ControlError::NotFound { noun: "Deployment" })?;
        let placed = self.readable_app(tx, access, deployment.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Deployment"))?, deployment))
    }
}

/// Gives the processes the limits and checks that they are restored to, for the new instances.
async fn set_processes(
    tx: &mut dyn WriteTx,
    app: AppId,
    restoration: &Restoration,
) -> Result<(), ControlError> {
    for step in &restoration.processes {
        let query = Query::by("app_id", app.to_string()).and_by("kind", step.kind.as_str());
        if let Some(mut process) = store::first::<Process>(tx, &query).await? {
            step.to.set_on(&mut process);
            store::update(tx, &process).await?;
        }
    }
    Ok(())
}

/// Makes room for one more deployment of the app; those that have ended are kept for a while.
async fn forget_oldest(tx: &mut dyn WriteTx, app: AppId) -> Result<(), ControlError> {
    let newest_first =
        Query::by("app_id", app.to_string()).ordered("created_at", Direction::Descending);
    let surplus = Query { offset: DEPLOYMENTS_MAX - 1, ..newest_first };
    for deployment in store::list::<Deployment>(tx, &surplus).await?.items {
        if !deployment.state.is_active() {
            store::delete::<Deployment>(tx, deployment.id).await?;
        }
    }
    Ok(())
}

/// The deployments that are under way, of all apps.
pub(crate) fn active() -> Query {
    let names = DeploymentState::ALL.iter().filter(|state| state.is_active());
    Query::all().and(Condition::In("state", names.map(|state| state.name().into()).collect()))
}

/// What an audit event tells of a deployment.
pub(crate) fn about(deployment: &Deployment) -> serde_json::Value {
    let mut data = json!({
        "deployment_guid": deployment.id.to_string(),
        "droplet_guid": deployment.droplet.to_string(),
        "version": deployment.new.generation.to_string(),
    });
    if let Some(error) = &deployment.error {
        data["error"] = error.as_str().into();
    }
    data
}

/// What a deployment has to replace that takes the place of another one. The oldest stays, so that
/// it can be gone back to.
fn replaced_with(previous: Deployment) -> Vec<Share> {
    let mut shares: Vec<Share> = previous.shares().cloned().collect();
    let is_oldest = |share: &Share| Some(share.generation) == previous.oldest();
    shares.retain(|share| is_oldest(share) || !share.indices.is_empty());
    shares
}

fn scale_of(web: WebOptions) -> Scale {
    Scale {
        instances: web.instances.map(i64::from),
        memory_mib: web.memory_mib.map(i64::from),
        disk_mib: web.disk_mib.map(i64::from),
        log_rate_bytes_per_s: web.log_rate_bytes_per_s,
    }
}
