//! The droplet that an app's instances are started from.

use cupola_domain::{
    droplets::Droplet,
    ids::{AppId, DropletId},
    processes::Process,
    release_phase::RELEASE,
};
use cupola_ports::store::{self, Query, WriteTx};
use serde_json::json;

use super::{PlacedApp, told};
use crate::{Control, ControlError, caller::Caller, processes::new_process};

impl Control {
    /// The id of the current droplet, if there is one.
    pub async fn current_droplet_id(
        &self,
        caller: &Caller,
        id: AppId,
    ) -> Result<DropletId, ControlError> {
        let placed = self.app(caller, id).await?;
        placed.app.current_droplet.ok_or(ControlError::NotFound { noun: "Droplet" })
    }

    /// Makes a droplet the current one, and a process of each kind that it names and the app lacks.
    /// Running instances go on with the old one until the app is restarted.
    pub async fn set_current_droplet(
        &self,
        caller: &Caller,
        id: AppId,
        droplet: Option<DropletId>,
    ) -> Result<DropletId, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        let droplet = match droplet {
            Some(droplet) => store::get::<Droplet>(&mut *tx, droplet).await?,
            None => None,
        };
        let Some(droplet) = droplet.filter(|droplet| droplet.app_id == id && droplet.is_staged())
        else {
            let detail = "Unable to assign current droplet. \
                          Ensure the droplet exists and belongs to this app.";
            return Err(ControlError::unprocessable(detail));
        };
        self.require_files(&droplet).await?;
        placed.app.current_droplet = Some(droplet.id);
        self.add_missing_processes(&mut *tx, caller, &placed, &droplet).await?;
        self.update_app_row(&mut *tx, &mut placed.app).await?;
        let mut data = json!({ "request": { "droplet_guid": droplet.id.to_string() } });
        told::add_source(&mut data, &droplet.metadata);
        let event = placed.event("audit.app.droplet.mapped", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        self.tell(id, format!("Updated app with guid {id} (droplet_guid: {})", droplet.id));
        Ok(droplet.id)
    }

    pub(crate) async fn add_missing_processes(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        droplet: &Droplet,
    ) -> Result<(), ControlError> {
        let query = Query::by("app_id", placed.app.id.to_string());
        let present = store::list::<Process>(tx, &query).await?.items;
        let now = self.ports.clock.now();
        self.take_sidecars_of_droplet(tx, placed.app.id, droplet).await?;
        // The release phase is no process. It was one before the platform knew of it.
        for old in present.iter().filter(|process| process.kind == RELEASE) {
            store::delete::<Process>(tx, old.id).await?;
        }
        for kind in droplet.contents.process_types.keys().filter(|kind| *kind != RELEASE) {
            if present.iter().any(|process| process.kind == *kind) {
                continue;
            }
            let process = new_process(&placed.app, kind, &self.settings().instances, now);
            store::insert(tx, &process).await?;
            let data = json!({ "process_guid": process.id.to_string(), "process_type": kind });
            let event = placed.event("audit.app.process.create", data);
            self.record(tx, caller.party(), event).await?;
        }
        Ok(())
    }
}
