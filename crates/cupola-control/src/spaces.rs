//! Spaces: create, read, change, delete with everything in them.

use cupola_domain::{
    apps::App,
    ids::{AppId, OrgId, SpaceId},
    jobs::Job,
    orgs::{Metadata, Org},
    roles::Role,
    routes::Route,
    spaces::Space,
};
use cupola_ports::store::{self, Page, Query, WriteTx};
use serde_json::{Value, json};

use crate::{
    Control, ControlError, ListRequest,
    apps::{delete_app_rows, may, told},
    caller::Caller,
    control::in_visible_spaces,
    events::{NewEvent, target},
    jobs::JobInput,
    names::check_name,
    orgs::MetadataChange,
    processes::without_nulls,
    routes::delete_route_rows,
    services::delete_instances_of_space,
};

/// What a client says of a new space.
#[derive(Clone, Debug)]
pub struct NewSpace {
    pub org_id: OrgId,
    pub name: String,
    pub metadata: Metadata,
}

/// What a client wants changed; none leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct SpaceChange {
    pub name: Option<String>,
    pub metadata: MetadataChange,
}

impl Control {
    pub async fn create_space(
        &self,
        caller: &Caller,
        new: NewSpace,
    ) -> Result<Space, ControlError> {
        check_name(&new.name)?;
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let org = store::get::<Org>(&mut *tx, new.org_id).await?;
        let Some(org) = org.filter(|org| access.can_read_org(org.id)) else {
            let detail = "Invalid organization. Ensure the organization exists and you have access \
                          to it.";
            return Err(ControlError::unprocessable(detail));
        };
        may(&access, &org, access.can_manage_org(org.id))?;
        let now = self.ports.clock.now();
        let request = json!({ "name": new.name });
        let space = Space {
            id: SpaceId::random(),
            org_id: new.org_id,
            name: new.name,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &space).await.map_err(taken)?;
        self.record(&mut *tx, caller.party(), event("audit.space.create", &space, request)).await?;
        tx.commit().await?;
        Ok(space)
    }

    pub async fn space(&self, caller: &Caller, id: SpaceId) -> Result<Space, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_space(&mut *tx, &access, id).await
    }

    pub async fn list_spaces(
        &self,
        caller: &Caller,
        request: &ListRequest,
    ) -> Result<Page<Space>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let spaces = self.visible_spaces(&mut *tx, &access).await?;
        let visible = in_visible_spaces("id", &spaces);
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_space(
        &self,
        caller: &Caller,
        id: SpaceId,
        change: SpaceChange,
    ) -> Result<Space, ControlError> {
        change.name.as_deref().map_or(Ok(()), check_name)?;
        let mut tx = self.write().await?;
        let mut space = self.manageable_space(&mut *tx, caller, id).await?;
        let request = without_nulls(json!({
            "name": change.name,
            "metadata": told::metadata(&change.metadata),
        }));
        space.name = change.name.unwrap_or(space.name);
        change.metadata.apply(&mut space.metadata);
        space.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &space).await.map_err(taken)?;
        self.record(&mut *tx, caller.party(), event("audit.space.update", &space, request)).await?;
        tx.commit().await?;
        Ok(space)
    }

    /// Refuses callers who may not change the space.
    pub async fn require_space_manager(
        &self,
        caller: &Caller,
        id: SpaceId,
    ) -> Result<Space, ControlError> {
        let mut tx = self.read().await?;
        self.manageable_space(&mut *tx, caller, id).await
    }

    async fn manageable_space(
        &self,
        tx: &mut (impl store::ReadTx + ?Sized),
        caller: &Caller,
        id: SpaceId,
    ) -> Result<Space, ControlError> {
        let access = self.access(tx, caller).await?;
        let space = self.readable_space(tx, &access, id).await?;
        let org = org_of(tx, &space).await?;
        may(&access, &org, access.can_manage_space(org.id, id))?;
        Ok(space)
    }

    /// Begins to delete a space with everything in it, and answers with the job.
    pub async fn delete_space(&self, caller: &Caller, id: SpaceId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let space = self.readable_space(&mut *tx, &access, id).await?;
        let org = org_of(&mut *tx, &space).await?;
        may(&access, &org, access.can_manage_org(org.id))?;
        let event = event("audit.space.delete-request", &space, json!({ "recursive": true }));
        self.record(&mut *tx, caller.party(), event).await?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteSpace { space: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_space(
        &self,
        id: SpaceId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        let apps = delete_space_rows(&mut *tx, id).await?;
        tx.commit().await?;
        for app in apps {
            self.forget_app(app).await;
        }
        Ok(Vec::new())
    }
}

async fn org_of(
    tx: &mut (impl store::ReadTx + ?Sized),
    space: &Space,
) -> Result<Org, ControlError> {
    let org = store::get::<Org>(tx, space.org_id).await?;
    org.ok_or(ControlError::NotFound { noun: "Space" })
}

/// Removes a space with everything in it, and returns the apps that want to be forgotten afterwards.
/// All in one transaction: what somebody makes meanwhile would be left in a space that is gone.
pub(crate) async fn delete_space_rows(
    tx: &mut dyn WriteTx,
    id: SpaceId,
) -> Result<Vec<AppId>, ControlError> {
    let in_space = Query::by("space_id", id.to_string());
    let apps = store::list::<App>(tx, &in_space).await?.items;
    for app in &apps {
        delete_app_rows(tx, app.id).await?;
    }
    for route in store::list::<Route>(tx, &in_space).await?.items {
        delete_route_rows(tx, route.id).await?;
    }
    delete_instances_of_space(tx, id).await?;
    tx.delete_rows(<Role as store::Noun>::TABLE, &in_space.conditions).await?;
    store::delete::<Space>(tx, id).await?;
    Ok(apps.iter().map(|app| app.id).collect())
}

fn taken(error: store::StoreError) -> ControlError {
    ControlError::taken(error, || "Name must be unique per organization".to_owned())
}

fn event<'a>(kind: &'a str, space: &Space, request: Value) -> NewEvent<'a> {
    NewEvent {
        kind,
        target: target("space", space.id, &space.name),
        data: json!({ "request": request }),
        space_id: Some(space.id),
        org_id: Some(space.org_id),
    }
}
