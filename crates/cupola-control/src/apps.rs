//! Apps: create, read, change, delete.

pub mod actions;
mod current_droplet;
mod environment;
mod lifecycle;
pub(crate) mod told;

use std::collections::BTreeMap;

use cupola_domain::{
    access::Access,
    apps::{App, AppState},
    builds::Build,
    changes::environment_difference,
    commits::Commit,
    deployments::Deployment,
    droplets::Droplet,
    generations::Generation,
    ids::{AppId, GenerationId, SpaceId},
    instances::Exit,
    jobs::Job,
    ladders::Pulled,
    orgs::{Metadata, Org},
    packages::Package,
    processes::{Process, WEB},
    revisions::Revision,
    routes::Destination,
    services::{ServiceBinding, ServiceDelivery},
    sidecars::Sidecar,
    spaces::Space,
    tasks::Task,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx, Value, WriteTx};
use serde_json::json;

pub(crate) use environment::change_environment;
pub use environment::check_names;
pub use environment::{AppEnvironment, EnvironmentChange};
pub use lifecycle::LifecycleChange;
pub(crate) use lifecycle::{BUILDPACKS_MAX, unknown_buildpack};

use crate::{
    Control, ControlError, ListRequest,
    caller::Caller,
    events::{NewEvent, target},
    jobs::JobInput,
    names::check_name,
    orgs::MetadataChange,
    processes::new_process,
    scope::Owners,
};

/// What a client says of a new app.
#[derive(Clone, Debug)]
pub struct NewApp {
    pub space: SpaceId,
    pub name: String,
    pub lifecycle: LifecycleChange,
    pub environment: BTreeMap<String, String>,
    pub metadata: Metadata,
}

/// What a client wants changed; none leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct AppChange {
    pub name: Option<String>,
    pub lifecycle: LifecycleChange,
    pub metadata: MetadataChange,
}

/// An app and where it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedApp {
    pub app: App,
    pub space: Space,
    pub org: Org,
}

impl PlacedApp {
    /// Refuses callers who may not make, change and delete things in its space.
    pub(crate) fn may_develop(&self, access: &Access) -> Result<(), ControlError> {
        may(access, &self.org, access.can_develop(self.space.id))
    }

    /// Refuses callers who may not start, stop, scale, stage, configure and map.
    pub(crate) fn may_support(&self, access: &Access) -> Result<(), ControlError> {
        may(access, &self.org, access.can_support(self.space.id))
    }

    /// Refuses callers who may not see commands and manifests.
    pub(crate) fn may_read_secrets(&self, access: &Access) -> Result<(), ControlError> {
        may(access, &self.org, access.can_read_secrets(self.space.id))
    }

    /// An audit event about this app.
    pub(crate) fn event<'a>(&self, kind: &'a str, data: serde_json::Value) -> NewEvent<'a> {
        NewEvent {
            kind,
            target: target("app", self.app.id, &self.app.name),
            data,
            space_id: Some(self.space.id),
            org_id: Some(self.org.id),
        }
    }
}

/// In a suspended organisation only administrators change anything.
pub(crate) fn may(access: &Access, org: &Org, allowed: bool) -> Result<(), ControlError> {
    if allowed && (access.is_admin() || !org.suspended) {
        Ok(())
    } else {
        Err(ControlError::NotAuthorized)
    }
}

impl Control {
    pub async fn create_app(&self, caller: &Caller, new: NewApp) -> Result<App, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (space, org) = self.place_for_new(&mut *tx, &access, new.space).await?;
        may(&access, &org, access.can_develop(space.id))?;
        let placed = self.insert_app(&mut *tx, caller, space, org, new).await?;
        tx.commit().await?;
        self.tell(placed.app.id, format!("Created app with guid {}", placed.app.id));
        Ok(placed.app)
    }

    /// Writes the app and its `web` process, with their events.
    pub(crate) async fn insert_app(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        space: Space,
        org: Org,
        new: NewApp,
    ) -> Result<PlacedApp, ControlError> {
        let now = self.ports.clock.now();
        check_name(&new.name)?;
        let request = told::creation(&new);
        let mut app = App {
            id: AppId::random(),
            space_id: space.id,
            name: new.name,
            desired: AppState::Stopped,
            lifecycle: self.default_lifecycle(),
            environment: new.environment,
            current_droplet: None,
            generation: GenerationId::random(),
            release_phase: None,
            revisions_enabled: true,
            ssh_enabled: true,
            names_commit: Commit::of(&new.metadata).is_some(),
            pulled: Pulled::default(),
            service_delivery: ServiceDelivery::default(),
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        self.change_lifecycle(tx, caller, &mut app, new.lifecycle).await?;
        store::insert(tx, &app).await.map_err(|error| taken(error, &app.name))?;
        let web = new_process(&app, WEB, &self.settings().instances, now);
        store::insert(tx, &web).await?;
        let placed = PlacedApp { app, space, org };
        let names = environment_difference(&BTreeMap::new(), &placed.app.environment);
        let changed = names.map(|names| ("environment".to_owned(), names)).into_iter().collect();
        let data = told::data(request, changed);
        self.record(tx, caller.party(), placed.event("audit.app.create", data)).await?;
        let process = json!({ "process_guid": web.id.to_string(), "process_type": WEB });
        self.record(tx, caller.party(), placed.event("audit.app.process.create", process)).await?;
        Ok(placed)
    }

    pub async fn app(&self, caller: &Caller, id: AppId) -> Result<PlacedApp, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.readable_app(&mut *tx, &access, id).await
    }

    /// Whether the caller may see environment and commands of an app that they see.
    pub async fn sees_secrets(&self, caller: &Caller, id: AppId) -> Result<bool, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, id).await?;
        Ok(access.can_read_secrets(placed.space.id))
    }

    pub async fn list_apps(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<App>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.in_spaces(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    /// Spaces of listed things and the organisations of those, for `include`.
    pub async fn places(
        &self,
        spaces: Vec<SpaceId>,
    ) -> Result<(Vec<Space>, Vec<Org>), ControlError> {
        let mut tx = self.read().await?;
        let query = Query::all().and(Condition::In("id", distinct(spaces.iter())));
        let spaces = store::list::<Space>(&mut *tx, &query).await?.items;
        let org_ids = distinct(spaces.iter().map(|space| space.org_id));
        let query = Query::all().and(Condition::In("id", org_ids));
        let orgs = store::list::<Org>(&mut *tx, &query).await?.items;
        Ok((spaces, orgs))
    }

    pub async fn update_app(
        &self,
        caller: &Caller,
        id: AppId,
        change: AppChange,
    ) -> Result<App, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let before = placed.app.clone();
        let request = told::update(&change);
        if let Some(name) = change.name {
            check_name(&name)?;
            placed.app.name = name;
        }
        self.change_lifecycle(&mut *tx, caller, &mut placed.app, change.lifecycle).await?;
        placed.app.names_commit |= change.metadata.names_commit();
        change.metadata.apply(&mut placed.app.metadata);
        self.update_app_row(&mut *tx, &mut placed.app).await?;
        let data = told::data(request, told::changed(&before, &placed.app));
        self.record(&mut *tx, caller.party(), placed.event("audit.app.update", data)).await?;
        tx.commit().await?;
        self.tell(id, format!("Updated app with guid {id}"));
        Ok(placed.app)
    }

    pub(crate) async fn update_app_row(
        &self,
        tx: &mut dyn WriteTx,
        app: &mut App,
    ) -> Result<(), ControlError> {
        app.updated_at = self.ports.clock.now();
        store::update(tx, app).await.map_err(|error| taken(error, &app.name))
    }

    /// Begins to delete an app with everything of it, and answers with the job.
    pub async fn delete_app(&self, caller: &Caller, id: AppId) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let event = placed.event("audit.app.delete-request", json!({}));
        self.record(&mut *tx, caller.party(), event).await?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteApp { app: id }).await?;
        tx.commit().await?;
        self.tell(id, format!("Deleted app with guid {id}"));
        Ok(job)
    }

    pub(crate) async fn perform_delete_app(&self, id: AppId) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        delete_app_rows(&mut *tx, id).await?;
        tx.commit().await?;
        self.forget_app(id).await;
        Ok(Vec::new())
    }

    /// What is kept of an app outside the database. Nothing here may fail the deletion: the rows
    /// are gone already, and what is left over is bounded.
    pub(crate) async fn forget_app(&self, id: AppId) {
        self.ports.stager.forget(id).await;
        if let Err(error) = self.ports.logs.forget(&id.to_string()).await {
            tracing::warn!(app.id = %id, "cannot remove the log of a deleted app: {error}");
        }
    }

    /// The app, if the caller may see it.
    pub(crate) async fn readable_app(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: AppId,
    ) -> Result<PlacedApp, ControlError> {
        let not_found = || ControlError::NotFound { noun: "App" };
        let app = store::get::<App>(tx, id).await?.ok_or_else(not_found)?;
        let space = store::get::<Space>(tx, app.space_id).await?.ok_or_else(not_found)?;
        let org = store::get::<Org>(tx, space.org_id).await?.ok_or_else(not_found)?;
        if access.can_read_space(org.id, space.id) {
            Ok(PlacedApp { app, space, org })
        } else {
            Err(not_found())
        }
    }

    /// The space that something new is to be made in. One that the caller does not see is refused
    /// like one that is not there, because it is a value in a body and not what the path names.
    pub(crate) async fn place_for_new(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: SpaceId,
    ) -> Result<(Space, Org), ControlError> {
        let refused = || {
            let detail = "Invalid space. Ensure that the space exists and you have access to it.";
            ControlError::unprocessable(detail)
        };
        let space = self.readable_space(tx, access, id).await.map_err(|error| match error {
            ControlError::NotFound { .. } => refused(),
            other => other,
        })?;
        let org = store::get::<Org>(tx, space.org_id).await?.ok_or_else(refused)?;
        Ok((space, org))
    }
}

/// Removes an app and everything that belongs to it. Its instances are ended by the loop, which
/// finds that nobody wants them any more.
pub(crate) async fn delete_app_rows(tx: &mut dyn WriteTx, id: AppId) -> Result<(), ControlError> {
    let of_app = [Condition::In("app_id", vec![Value::Text(id.to_string())])];
    for table in [
        <Destination as store::Noun>::TABLE,
        <Process as store::Noun>::TABLE,
        <Build as store::Noun>::TABLE,
        <Package as store::Noun>::TABLE,
        <Droplet as store::Noun>::TABLE,
        <Deployment as store::Noun>::TABLE,
        <Generation as store::Noun>::TABLE,
        <Revision as store::Noun>::TABLE,
        <Exit as store::Noun>::TABLE,
        <Task as store::Noun>::TABLE,
        <ServiceBinding as store::Noun>::TABLE,
        <Sidecar as store::Noun>::TABLE,
    ] {
        tx.delete_rows(table, &of_app).await?;
    }
    store::delete::<App>(tx, id).await?;
    Ok(())
}

fn taken(error: store::StoreError, name: &str) -> ControlError {
    ControlError::taken(error, || format!("App with the name '{name}' already exists."))
}

/// Each id once, as values of a condition.
pub(crate) fn distinct<Id: ToString + Ord>(ids: impl Iterator<Item = Id>) -> Vec<Value> {
    let ids: std::collections::BTreeSet<Id> = ids.collect();
    ids.iter().map(|id| Value::Text(id.to_string())).collect()
}
