//! What follows when a deployment changes its state, in the transaction of that change.
//!
//! Shared by the use cases and the loop of instances, so that a deployment that gives up by itself
//! ends like one that a user cancels.

use cupola_domain::{
    apps::App,
    audit::Party,
    deployments::{Deployment, DeploymentState},
    generations::Generation,
    ids::AppId,
    processes::{Process, WEB},
    restoring::Restoration,
};
use cupola_ports::store::{self, Query, WriteTx};

use super::{about, active};
use crate::{
    Control, ControlError, apps::PlacedApp, caller::Caller, restoring::acting_for, sidecars::specs,
};

impl Control {
    pub(crate) fn enter(&self, deployment: &mut Deployment, state: DeploymentState) {
        deployment.state = state;
        deployment.updated_at = self.ports.clock.now();
        deployment.state_changed_at = deployment.updated_at;
    }

    /// Sets the app back to what it was before, as far as nobody has set it to something else since.
    pub(crate) async fn begin_cancel(
        &self,
        tx: &mut dyn WriteTx,
        actor: Party,
        placed: &PlacedApp,
        deployment: &mut Deployment,
    ) -> Result<(), ControlError> {
        self.enter(deployment, DeploymentState::Canceling);
        self.end_release_phase_of(tx, actor.clone(), deployment).await?;
        let mut app = placed.app.clone();
        let generation = store::get::<Generation>(tx, deployment.new.generation).await?;
        if app.current_droplet == Some(deployment.droplet) && deployment.before.droplet.is_some() {
            app.current_droplet = deployment.before.droplet;
        }
        if let Some(Generation { release, .. }) = generation {
            if app.environment == release.environment {
                app.environment.clone_from(&deployment.before.environment);
            }
            if specs(tx, app.id).await? == release.sidecars {
                self.set_sidecars(tx, app.id, &deployment.before.sidecars).await?;
            }
            let query = Query::by("app_id", app.id.to_string());
            for mut process in store::list::<Process>(tx, &query).await?.items {
                let deployed = release.processes.get(&process.kind).map(|one| &one.command);
                let before = deployment.before.commands.get(&process.kind);
                if let Some(before) = before.filter(|_| deployed == Some(&process.command)) {
                    process.command.clone_from(before);
                    store::update(tx, &process).await?;
                }
            }
        }
        if let Some(restores) = &deployment.restores {
            let restoration = &restores.restoration;
            undo_processes(tx, app.id, restoration).await?;
            let caller = acting_for(restores);
            let (added, removed) = (&restoration.bindings_added, &restoration.bindings_removed);
            self.change_bindings(tx, &caller, placed, removed, added).await?;
        }
        self.update_app_row(tx, &mut app).await?;
        let event = placed.event("audit.app.deployment.cancel", about(deployment));
        self.record(tx, actor, event).await
    }

    /// Makes the new generation the app's own, for its other processes too.
    pub(crate) async fn finish_deployment(
        &self,
        tx: &mut dyn WriteTx,
        app: &mut App,
        deployment: &Deployment,
    ) -> Result<(), ControlError> {
        self.run_generation(tx, app, deployment.new.generation).await?;
        app.release_phase.clone_from(&deployment.release_phase);
        let query = Query::by("app_id", app.id.to_string()).and_by("kind", WEB);
        if let Some(mut web) = store::first::<Process>(tx, &query).await? {
            // Within the platform's bounds when it was asked for; they may have changed since.
            deployment.web.apply(&mut web);
            store::update(tx, &web).await?;
        }
        if let Some(restores) = &deployment.restores {
            self.finish_restoration(tx, app, restores).await?;
        }
        self.update_app_row(tx, app).await
    }

    /// Ends the deployment of the app that is under way, because something else takes its place.
    pub(crate) async fn supersede(
        &self,
        tx: &mut dyn WriteTx,
        app: AppId,
    ) -> Result<Option<Deployment>, ControlError> {
        let query = active().and_by("app_id", app.to_string());
        let Some(mut deployment) = store::first::<Deployment>(tx, &query).await? else {
            return Ok(None);
        };
        self.enter(&mut deployment, DeploymentState::Superseded);
        self.end_release_phase_of(tx, Caller::platform().party(), &deployment).await?;
        store::update(tx, &deployment).await?;
        Ok(Some(deployment))
    }
}

/// Sets limits and checks back to what they were before the rollback, as far as nobody has set them
/// to something else since.
async fn undo_processes(
    tx: &mut dyn WriteTx,
    app: AppId,
    restoration: &Restoration,
) -> Result<(), ControlError> {
    for step in &restoration.processes {
        let Some(from) = &step.from else { continue };
        let query = Query::by("app_id", app.to_string()).and_by("kind", step.kind.as_str());
        if let Some(mut process) = store::first::<Process>(tx, &query).await?
            && step.to.is_set_on(&process)
        {
            from.set_on(&mut process);
            store::update(tx, &process).await?;
        }
    }
    Ok(())
}
