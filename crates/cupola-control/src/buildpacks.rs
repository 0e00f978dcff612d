//! Buildpacks: their order, and which of them are used for detection.

use cupola_domain::{buildpacks::Buildpack, ids::BuildpackId, jobs::Job};
use cupola_ports::store::{self, Direction, Page, Query, ReadTx, WriteTx};

use crate::{
    Control, ControlError, ListRequest, caller::Caller, jobs::JobInput, orgs::MetadataChange,
    users::require_admin,
};

/// What a client wants changed; none leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct BuildpackChange {
    pub position: Option<u32>,
    pub enabled: Option<bool>,
    pub locked: Option<bool>,
    pub metadata: MetadataChange,
}

impl Control {
    /// Everybody may see the buildpacks.
    pub async fn list_buildpacks(
        &self,
        request: &ListRequest,
    ) -> Result<Page<Buildpack>, ControlError> {
        let mut tx = self.read().await?;
        Ok(store::list(&mut *tx, &request.query([])).await?)
    }

    pub async fn buildpack(&self, id: BuildpackId) -> Result<Buildpack, ControlError> {
        let mut tx = self.read().await?;
        found(&mut *tx, id).await
    }

    pub async fn update_buildpack(
        &self,
        caller: &Caller,
        id: BuildpackId,
        change: BuildpackChange,
    ) -> Result<Buildpack, ControlError> {
        let mut tx = self.write().await?;
        let mut buildpack = found(&mut *tx, id).await?;
        require_admin(caller)?;
        buildpack.enabled = change.enabled.unwrap_or(buildpack.enabled);
        buildpack.locked = change.locked.unwrap_or(buildpack.locked);
        change.metadata.apply(&mut buildpack.metadata);
        buildpack.updated_at = self.ports.clock.now();
        if let Some(position) = change.position {
            buildpack.position = move_to(&mut *tx, &buildpack, position).await?;
        }
        store::update(&mut *tx, &buildpack).await?;
        tx.commit().await?;
        Ok(buildpack)
    }

    /// Begins to delete a buildpack, and answers with the job.
    pub async fn delete_buildpack(
        &self,
        caller: &Caller,
        id: BuildpackId,
    ) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let buildpack = found(&mut *tx, id).await?;
        require_admin(caller)?;
        if buildpack.builtin.is_some() {
            let name = &buildpack.name;
            let detail = format!(
                "'{name}' is part of Cupola and cannot be deleted; to stop using it, run \
                 cf update-buildpack {name} --disable"
            );
            return Err(ControlError::Unprocessable(detail));
        }
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteBuildpack { buildpack: id });
        let job = job.await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_buildpack(
        &self,
        _caller: &Caller,
        id: BuildpackId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        store::delete::<Buildpack>(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }
}

async fn found(
    tx: &mut (impl ReadTx + ?Sized),
    id: BuildpackId,
) -> Result<Buildpack, ControlError> {
    let buildpack = store::get::<Buildpack>(tx, id).await?;
    buildpack.ok_or(ControlError::NotFound { noun: "Buildpack" })
}

/// Gives the buildpacks before and after it their new places, and answers with its own: the last
/// one if `position` is past the end.
async fn move_to(
    tx: &mut (impl WriteTx + ?Sized),
    moved: &Buildpack,
    position: u32,
) -> Result<u32, ControlError> {
    let query = Query::all().ordered("position", Direction::Ascending);
    let mut others = store::list::<Buildpack>(tx, &query).await?.items;
    others.retain(|other| other.id != moved.id);
    let last = u32::try_from(others.len()).unwrap_or(u32::MAX) + 1;
    let position = position.clamp(1, last);
    for (index, mut other) in (1..).zip(others) {
        let wanted = if index < position { index } else { index + 1 };
        if other.position != wanted {
            other.position = wanted;
            store::update(tx, &other).await?;
        }
    }
    Ok(position)
}
