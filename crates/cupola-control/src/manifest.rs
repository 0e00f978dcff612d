//! Manifests: apps described whole, applied to a space, compared with it, written from it.

mod apply;
mod diff;
mod parse;
mod present;
mod process;
mod route;
mod size;
mod words;
mod yaml;

use cupola_domain::{
    ids::{AppId, SpaceId},
    jobs::Job,
    orgs::Org,
    spaces::Space,
};
use cupola_ports::store;

pub use diff::{Difference, Operation};

use crate::{Control, ControlError, apps::may, caller::Caller, jobs::JobInput};

impl Control {
    /// Reads a manifest and begins to apply it. Callers are to ask `check_may_develop` before. What is wrong with the manifest itself is told now,
    /// what is wrong with it in this space is the outcome of the job.
    pub async fn apply_manifest(
        &self,
        caller: &Caller,
        space: SpaceId,
        manifest: String,
    ) -> Result<Job, ControlError> {
        // Before the transaction: nobody else can write meanwhile.
        parse::manifest(&manifest)?;
        let mut tx = self.write().await?;
        self.writable_space(&mut *tx, caller, space).await?;
        let input = JobInput::ApplyManifest { space, manifest };
        let job = self.enqueue(&mut *tx, caller, input).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_apply_manifest(
        &self,
        caller: &Caller,
        space: SpaceId,
        manifest: &str,
    ) -> Result<Vec<String>, ControlError> {
        let manifest = parse::manifest(manifest)?;
        let mut tx = self.write().await?;
        // Roles may have been taken away since the job was written.
        let (space, org) = self.writable_space(&mut *tx, caller, space).await?;
        let mut all = Vec::new();
        for app in &manifest.apps {
            let applied = self.apply_app(&mut *tx, caller, &space, &org, app).await;
            all.push(applied.map_err(|error| for_app(&app.name, error))?);
        }
        tx.commit().await?;
        for apply::Applied { app, is_new } in all {
            if is_new {
                self.tell(app, format!("Created app with guid {app}"));
            }
            self.tell(app, format!("Applied manifest to app with guid {app}"));
        }
        Ok(manifest.warnings)
    }

    /// Whether the caller may change what is in a space. Asked before the rest of a request is looked
    /// at, so that those who may not learn nothing else.
    pub async fn check_may_develop(
        &self,
        caller: &Caller,
        space: SpaceId,
    ) -> Result<(), ControlError> {
        self.writable_space(&mut *self.read().await?, caller, space).await?;
        Ok(())
    }

    /// What applying a manifest would change.
    pub async fn manifest_diff(
        &self,
        caller: &Caller,
        space: SpaceId,
        manifest: &str,
    ) -> Result<Vec<Difference>, ControlError> {
        parse::manifest(manifest)?;
        let wanted = yaml::applications(manifest)?;
        let mut tx = self.read().await?;
        let (space, _) = self.writable_space(&mut *tx, caller, space).await?;
        let mut differences = Vec::new();
        for (index, app) in wanted.into_iter().enumerate() {
            let name = app.get("name").and_then(|name| name.as_str()).unwrap_or_default();
            let present = present::by_name(&mut *tx, space.id, name).await?;
            differences.extend(diff::of_app(index, app, present.as_ref()));
        }
        Ok(differences)
    }

    /// An app as the manifest that would make it.
    pub async fn app_manifest(&self, caller: &Caller, id: AppId) -> Result<String, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_read_secrets(&access)?;
        let app = present::of_app(&mut *tx, &placed.app).await?;
        yaml::write(app)
    }

    /// The space, for callers who may change apps in it.
    async fn writable_space(
        &self,
        tx: &mut (impl store::ReadTx + ?Sized),
        caller: &Caller,
        space: SpaceId,
    ) -> Result<(Space, Org), ControlError> {
        let access = self.access(tx, caller).await?;
        let space = self.readable_space(tx, &access, space).await?;
        let org = store::get::<Org>(tx, space.org_id).await?;
        let org = org.ok_or(ControlError::NotFound { noun: "Space" })?;
        may(&access, &org, access.can_develop(space.id))?;
        Ok((space, org))
    }
}

/// Says which application of the manifest an error is about, as upstream does.
fn for_app(name: &str, error: ControlError) -> ControlError {
    match error {
        ControlError::Store(_) | ControlError::Outside { .. } | ControlError::NotAuthorized => {
            error
        }
        user => ControlError::Unprocessable(format!("For application '{name}': {user}")),
    }
}

#[cfg(test)]
mod tests;
