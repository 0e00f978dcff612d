//! Starting, stopping and restarting an app, and its features.

use cupola_domain::{
    apps::{App, AppState},
    ids::AppId,
    jobs::Job,
    services::ServiceDelivery,
};
use serde_json::json;

use super::{PlacedApp, told};
use crate::{
    Control, ControlError, caller::Caller, jobs::JobInput, restoring::surroundings,
    revisions::Origin,
};

/// What a client wants an app to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppAction {
    Start,
    Stop,
    Restart,
}

/// A switch of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppFeature {
    Ssh,
    Revisions,
    ServiceBindingK8s,
    FileBasedVcapServices,
}

impl AppFeature {
    pub const ALL: [Self; 4] =
        [Self::Ssh, Self::Revisions, Self::ServiceBindingK8s, Self::FileBasedVcapServices];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Ssh => "ssh",
            Self::Revisions => "revisions",
            Self::ServiceBindingK8s => "service-binding-k8s",
            Self::FileBasedVcapServices => "file-based-vcap-services",
        }
    }

    pub const fn description(self) -> &'static str {
        match self {
            Self::Ssh => "Enable SSHing into the app.",
            Self::Revisions => "Enable versioning of an application",
            Self::ServiceBindingK8s => "Enable k8s service bindings for the app",
            Self::FileBasedVcapServices => "Enable file-based VCAP service bindings for the app",
        }
    }

    pub const fn is_enabled(self, app: &App) -> bool {
        match self {
            Self::Ssh => app.ssh_enabled,
            Self::Revisions => app.revisions_enabled,
            Self::ServiceBindingK8s => matches!(app.service_delivery, ServiceDelivery::Folders),
            Self::FileBasedVcapServices => {
                matches!(app.service_delivery, ServiceDelivery::VariableInFile)
            }
        }
    }

    /// Turns it on or off. Two ways to be told of services exclude each other, as upstream.
    pub(crate) fn set(self, app: &mut App, enabled: bool) -> Result<(), ControlError> {
        let delivery = match self {
            Self::Ssh => {
                app.ssh_enabled = enabled;
                return Ok(());
            }
            Self::Revisions => {
                app.revisions_enabled = enabled;
                return Ok(());
            }
            Self::ServiceBindingK8s => ServiceDelivery::Folders,
            Self::FileBasedVcapServices => ServiceDelivery::VariableInFile,
        };
        match app.service_delivery {
            now if now == delivery && !enabled => app.service_delivery = ServiceDelivery::Variable,
            now if now == delivery || !enabled => {}
            ServiceDelivery::Variable => app.service_delivery = delivery,
            _ => {
                let detail = "'file-based-vcap-services' and 'service-binding-k8s' features \
                              cannot be enabled at the same time.";
                return Err(ControlError::unprocessable(detail));
            }
        }
        Ok(())
    }
}

impl Control {
    /// Writes the desired state; the loop brings it about.
    pub async fn act_on_app(
        &self,
        caller: &Caller,
        id: AppId,
        action: AppAction,
    ) -> Result<App, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        if action != AppAction::Stop && placed.app.current_droplet.is_none() {
            let detail = "Assign a droplet before starting this app.";
            return Err(ControlError::unprocessable(detail));
        }
        let (event, line) = match action {
            AppAction::Start => ("audit.app.start", "Starting app"),
            AppAction::Stop => ("audit.app.stop", "Stopping app"),
            AppAction::Restart => ("audit.app.restart", "Restarted app"),
        };
        let was = placed.app.desired;
        placed.app.desired =
            if action == AppAction::Stop { AppState::Stopped } else { AppState::Started };
        let starts = placed.app.desired == AppState::Started;
        let mut data = json!({});
        if starts && (action == AppAction::Restart || was == AppState::Stopped) {
            self.supersede(&mut *tx, &placed).await?;
            let left = surroundings(&mut *tx, &placed.app).await?;
            let origin = Origin::Settings;
            let (generation, revision) =
                self.new_generation(&mut *tx, caller, &placed, origin, left).await?;
            let before = placed.app.generation;
            data = self.about_release(&mut *tx, before, &generation, revision.as_ref()).await?;
            let phase = self.begin_release_phase(&mut *tx, caller, &placed, &generation).await?;
            if phase != placed.app.release_phase {
                let (app, because) = (&mut placed.app, "the app was started anew");
                self.end_release_phase_of_app(&mut *tx, caller.party(), app, because).await?;
            }
            placed.app.release_phase = phase;
            self.run_generation(&mut *tx, &mut placed.app, generation.id).await?;
        } else if !starts {
            self.supersede(&mut *tx, &placed).await?;
            let (app, because) = (&mut placed.app, "the app was stopped meanwhile");
            self.end_release_phase_of_app(&mut *tx, caller.party(), app, because).await?;
        }
        self.update_app_row(&mut *tx, &mut placed.app).await?;
        self.record(&mut *tx, caller.party(), placed.event(event, data)).await?;
        tx.commit().await?;
        self.tell(id, format!("{line} with guid {id}"));
        Ok(placed.app)
    }

    /// Begins to remove what builds of the app have kept for the next one.
    pub async fn clear_build_cache(&self, caller: &Caller, id: AppId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_app(&mut *tx, &access, id).await?.may_develop(&access)?;
        let job = self.enqueue(&mut *tx, caller, JobInput::ClearBuildCache { app: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_clear_build_cache(
        &self,
        id: AppId,
    ) -> Result<Vec<String>, ControlError> {
        self.ports.stager.forget(id).await;
        Ok(Vec::new())
    }

    pub async fn set_app_feature(
        &self,
        caller: &Caller,
        id: AppId,
        feature: AppFeature,
        enabled: bool,
    ) -> Result<PlacedApp, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let before = placed.app.clone();
        feature.set(&mut placed.app, enabled)?;
        self.update_app_row(&mut *tx, &mut placed.app).await?;
        let request = json!({ "features": { feature.name(): enabled } });
        let data = told::data(request, told::changed(&before, &placed.app));
        self.record(&mut *tx, caller.party(), placed.event("audit.app.update", data)).await?;
        tx.commit().await?;
        Ok(placed)
    }
}
