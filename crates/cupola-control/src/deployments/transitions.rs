//! What follows when a deployment changes its state, in the transaction of that change.
//!
//! Shared by the use cases and the loop of instances, so that a deployment that gives up by itself
//! ends like one that a user cancels.

use cupola_domain::{
    apps::App,
    audit::Party,
    deployments::{Deployment, DeploymentState},
    generations::Generation,
    processes::{Process, WEB},
};
use cupola_ports::store::{self, Query, WriteTx};

use super::{about, active};
use crate::{
    Control, ControlError, apps::PlacedApp, caller::Caller, restoring::under_way, sidecars::specs,
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
            self.set_back(tx, placed, restores).await?;
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

    /// Ends the deployment of the app that is under way, because something else takes its place,
    /// which has to look at the app after this: what surrounds it is set back to what it was.
    pub(crate) async fn supersede(
        &self,
        tx: &mut dyn WriteTx,
        placed: &PlacedApp,
    ) -> Result<Option<Deployment>, ControlError> {
        let query = active().and_by("app_id", placed.app.id.to_string());
        let Some(mut deployment) = store::first::<Deployment>(tx, &query).await? else {
            return Ok(None);
        };
        if let Some(restores) = under_way(&deployment) {
            self.set_back(tx, placed, restores).await?;
        }
        self.enter(&mut deployment, DeploymentState::Superseded);
        self.end_release_phase_of(tx, Caller::platform().party(), &deployment).await?;
        store::update(tx, &deployment).await?;
        Ok(Some(deployment))
    }
}
