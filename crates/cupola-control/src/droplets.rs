//! Droplets: read, labelled, copied, deleted. Builds make them, or uploads.

mod archives;

use cupola_domain::{
    access::Access,
    apps::App,
    commits::of_source,
    deployments::Deployment,
    droplets::{Droplet, DropletState},
    generations::Generation,
    ids::{AppId, DropletId},
    instances::Instance,
    jobs::Job,
    tasks::Task,
};
use cupola_ports::store::{self, Page, Query, ReadTx};
use serde_json::json;

pub use archives::NewDroplet;

use crate::{
    Control, ControlError, ListRequest,
    apps::{PlacedApp, told},
    caller::Caller,
    deployments::active,
    jobs::JobInput,
    orgs::MetadataChange,
    scope::Owners,
    tasks::unfinished,
};

/// A droplet, and whether the caller may see the commands in it.
#[derive(Clone, Debug)]
pub struct ShownDroplet {
    pub droplet: Droplet,
    pub shows_commands: bool,
}

impl Control {
    pub async fn droplet(
        &self,
        caller: &Caller,
        id: DropletId,
    ) -> Result<ShownDroplet, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, droplet) = self.readable_droplet(&mut *tx, &access, id).await?;
        let shows_commands = access.can_read_secrets(placed.space.id);
        Ok(ShownDroplet { droplet, shows_commands })
    }

    pub async fn current_droplet(
        &self,
        caller: &Caller,
        app: AppId,
    ) -> Result<ShownDroplet, ControlError> {
        let id = self.current_droplet_id(caller, app).await?;
        self.droplet(caller, id).await
    }

    pub async fn list_droplets(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<Droplet>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.of_apps(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    /// A droplet with the content of another one, of the same or another app: the same layers by
    /// digest. None is one whose id cannot be read.
    pub async fn copy_droplet(
        &self,
        caller: &Caller,
        app: AppId,
        source: Option<DropletId>,
    ) -> Result<Droplet, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.app_of_new(&mut *tx, &access, app).await?;
        let refused = || {
            let detail = "Unable to copy droplet. Ensure the source droplet exists and you have \
                          access to it.";
            ControlError::unprocessable(detail)
        };
        let source = source.ok_or_else(refused)?;
        let source = self.readable_droplet(&mut *tx, &access, source).await;
        let (from, source) = source.map_err(|error| match error {
            ControlError::NotFound { .. } => refused(),
            other => other,
        })?;
        if !source.is_staged() {
            return Err(ControlError::unprocessable("Source droplet is not staged"));
        }
        // Whoever has the copy reads the code and the commands.
        from.may_read_secrets(&access)?;
        self.require_files(&source).await?;
        let now = self.ports.clock.now();
        let droplet = Droplet {
            id: DropletId::random(),
            app_id: app,
            package_id: source.package_id.filter(|_| source.app_id == app),
            state: DropletState::Staged,
            contents: source.contents,
            metadata: of_source(&source.metadata),
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &droplet).await?;
        let mut data = json!({
            "droplet_guid": droplet.id.to_string(),
            "request": { "source_droplet_guid": source.id.to_string() },
        });
        told::add_source(&mut data, &droplet.metadata);
        let event = placed.event("audit.app.droplet.create", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        Ok(droplet)
    }

    pub async fn update_droplet(
        &self,
        caller: &Caller,
        id: DropletId,
        metadata: MetadataChange,
    ) -> Result<Droplet, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut droplet) = self.readable_droplet(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut droplet.metadata);
        droplet.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &droplet).await?;
        tx.commit().await?;
        Ok(droplet)
    }

    pub async fn delete_droplet(
        &self,
        caller: &Caller,
        id: DropletId,
    ) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, _) = self.readable_droplet(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        if self.runs(&mut *tx, &placed.app, id).await? {
            let name = &placed.app.name;
            let detail = format!(
                "Droplet is the current droplet of app '{name}', or instances or tasks run of it. Assign \
                 another one and restart the app first."
            );
            return Err(ControlError::Unprocessable(detail));
        }
        let data = json!({ "droplet_guid": id.to_string() });
        let event = placed.event("audit.app.droplet.delete", data);
        self.record(&mut *tx, caller.party(), event).await?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeleteDroplet { droplet: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_droplet(
        &self,
        id: DropletId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        let droplet = store::get::<Droplet>(&mut *tx, id).await?;
        if let Some(droplet) = droplet {
            let app = store::get::<App>(&mut *tx, droplet.app_id).await?;
            // It may have become the current one since the job was written.
            let runs = match app {
                Some(app) => self.runs(&mut *tx, &app, id).await?,
                None => false,
            };
            if !runs {
                store::delete::<Droplet>(&mut *tx, id).await?;
            }
        }
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// Whether the app is started from the droplet, now or at the next crash.
    async fn runs(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        app: &App,
        droplet: DropletId,
    ) -> Result<bool, ControlError> {
        let of_app = Query::by("app_id", app.id.to_string());
        let mut generations = vec![app.generation];
        let instances = store::list::<Instance>(tx, &of_app).await?.items;
        generations.extend(instances.iter().map(|row| row.generation));
        let active = active().and_by("app_id", app.id.to_string());
        let mut droplets = vec![app.current_droplet];
        for deployment in store::list::<Deployment>(tx, &active).await?.items {
            generations.extend(deployment.shares().map(|share| share.generation));
            droplets.push(deployment.before.droplet);
        }
        let tasks = unfinished().and_by("app_id", app.id.to_string());
        let tasks = store::list::<Task>(tx, &tasks).await?.items;
        droplets.extend(tasks.iter().map(|task| Some(task.droplet)));
        let all = store::list::<Generation>(tx, &of_app).await?.items;
        let runs =
            |one: &Generation| one.release.droplet == droplet && generations.contains(&one.id);
        Ok(droplets.contains(&Some(droplet)) || all.iter().any(runs))
    }

    /// Refuses a droplet whose layers are gone: the disk may have lost what the database has.
    pub(crate) async fn require_files(&self, droplet: &Droplet) -> Result<(), ControlError> {
        for layer in &droplet.contents.layers {
            if !self.ports.layers.exists(layer).await {
                let detail = format!(
                    "The files of droplet '{}' are no longer kept. Push or stage the app again.",
                    droplet.id
                );
                return Err(ControlError::Unprocessable(detail));
            }
        }
        Ok(())
    }

    async fn readable_droplet(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: DropletId,
    ) -> Result<(PlacedApp, Droplet), ControlError> {
        let droplet = store::get::<Droplet>(tx, id).await?;
        let droplet = droplet.ok_or(ControlError::NotFound { noun: "Droplet" })?;
        let placed = self.readable_app(tx, access, droplet.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Droplet"))?, droplet))
    }
}
