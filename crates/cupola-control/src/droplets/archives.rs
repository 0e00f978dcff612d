//! Droplets as archives: downloaded, and made of an upload.

use std::{collections::BTreeMap, path::PathBuf};

use cupola_domain::{
    access::Access,
    droplets::{Droplet, DropletContents, DropletState},
    ids::{AppId, DropletId, JobId},
    jobs::Job,
    orgs::Metadata,
};
use cupola_ports::{
    stager::{DropletArchive, DropletUpload, ExportError, ImportedDroplet, UploadError},
    store::{self, Query, ReadTx},
};
use serde_json::json;

use crate::{
    Control, ControlError, apps::PlacedApp, caller::Caller, jobs::JobInput, packages::TemporaryFile,
};

/// What a client says of a new droplet.
#[derive(Clone, Debug)]
pub struct NewDroplet {
    pub app: AppId,
    /// Start commands by process type; none leaves those that the archive names.
    pub process_types: Option<BTreeMap<String, String>>,
}

impl Control {
    /// A droplet that waits for its archive.
    pub async fn create_droplet(
        &self,
        caller: &Caller,
        new: NewDroplet,
    ) -> Result<Droplet, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.app_of_new(&mut *tx, &access, new.app).await?;
        let now = self.ports.clock.now();
        let mut contents = DropletContents::empty(placed.app.lifecycle.stack.clone());
        contents.process_types = new.process_types.unwrap_or_default();
        let droplet = Droplet {
            id: DropletId::random(),
            app_id: new.app,
            package_id: None,
            state: DropletState::AwaitingUpload,
            contents,
            metadata: Metadata::default(),
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &droplet).await?;
        let data = json!({ "droplet_guid": droplet.id.to_string() });
        let event = placed.event("audit.app.droplet.create", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        self.tell(new.app, format!("Creating droplet with guid {}", droplet.id));
        Ok(droplet)
    }

    /// The droplet's archive, made while it is read. Whoever has it reads code and commands.
    pub async fn download_droplet(
        &self,
        caller: &Caller,
        id: DropletId,
    ) -> Result<DropletArchive, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, droplet) = self.readable_droplet(&mut *tx, &access, id).await?;
        drop(tx);
        placed.may_read_secrets(&access)?;
        if !droplet.is_staged() {
            return Err(ControlError::unprocessable("Only staged droplets can be downloaded."));
        }
        let archive = self.ports.stager.export(droplet.contents).await;
        let archive = archive.map_err(|error| match error {
            ExportError::Gone => ControlError::Unprocessable(error.to_string()),
            ExportError::Busy => ControlError::Busy(error.to_string()),
            ExportError::Platform(_) => {
                ControlError::Outside { action: "packing a droplet", source: Box::new(error) }
            }
        })?;
        let mut tx = self.write().await?;
        let data = json!({ "droplet_guid": id.to_string() });
        let event = placed.event("audit.app.droplet.download", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        Ok(archive)
    }

    /// Whether the caller may upload to the droplet now. Asked before the upload is read.
    pub async fn check_droplet_upload(
        &self,
        caller: &Caller,
        id: DropletId,
    ) -> Result<(), ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.droplet_to_upload(&mut *tx, &access, id).await?;
        Ok(())
    }

    /// Begins to make the droplet of its archive. It goes on in a job, whether or not the client
    /// waits; the archive is removed in any case.
    pub async fn upload_droplet(
        &self,
        caller: &Caller,
        id: DropletId,
        archive: PathBuf,
    ) -> Result<(Droplet, Job), ControlError> {
        let archive = TemporaryFile(archive);
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut droplet) = self.droplet_to_upload(&mut *tx, &access, id).await?;
        droplet.state = DropletState::ProcessingUpload;
        droplet.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &droplet).await?;
        let data = json!({ "droplet_guid": id.to_string() });
        let event = placed.event("audit.app.droplet.upload", data);
        self.record(&mut *tx, caller.party(), event).await?;
        let job = self.begin_job(&mut *tx, caller, JobInput::UploadDroplet { droplet: id }).await?;
        tx.commit().await?;
        self.tell(placed.app.id, format!("Uploading droplet with guid {id}"));

        let (control, job_id, stack) = (self.clone(), job.id, placed.app.lifecycle.stack.clone());
        tokio::spawn(async move { control.import(id, job_id, archive, stack).await });
        Ok((droplet, job))
    }

    async fn import(self, id: DropletId, job: JobId, archive: TemporaryFile, stack: String) {
        let upload = DropletUpload { droplet_id: id, archive: archive.0.clone(), stack };
        let outcome = self.ports.stager.import(upload).await;
        if let Err(error @ UploadError::Platform(_)) = &outcome {
            tracing::error!(droplet.id = %id, "a droplet was not unpacked: {error}");
        }
        if let Err(error) = self.keep_droplet(id, job, outcome).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(droplet.id = %id, error, "the outcome of an upload was not kept");
        }
    }

    async fn keep_droplet(
        &self,
        id: DropletId,
        job: JobId,
        outcome: Result<ImportedDroplet, UploadError>,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let failure = outcome.as_ref().err().map(|error| {
            ControlError::Unprocessable(format!("Uploaded droplet file is invalid: {error}"))
        });
        self.end_job(&mut *tx, job, failure.as_ref()).await?;
        if let Some(mut droplet) = store::get::<Droplet>(&mut *tx, id).await? {
            self.tell(droplet.app_id, said(&outcome));
            match outcome {
                Ok(imported) => droplet.become_staged(imported.contents),
                Err(error) => droplet.state = DropletState::Failed { error: error.to_string() },
            }
            droplet.updated_at = self.ports.clock.now();
            store::update(&mut *tx, &droplet).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Ends the uploads of droplets that the last control process did not; with their jobs.
    pub(crate) async fn fail_interrupted_droplets(&self) -> Result<u64, ControlError> {
        let mut tx = self.write().await?;
        let interrupted = "the platform was restarted during the upload; send it again";
        let mut count = 0;
        let query = Query::by("state", "PROCESSING_UPLOAD");
        for mut droplet in store::list::<Droplet>(&mut *tx, &query).await?.items {
            droplet.state = DropletState::Failed { error: interrupted.to_owned() };
            droplet.updated_at = self.ports.clock.now();
            store::update(&mut *tx, &droplet).await?;
            count += 1;
        }
        let failure = ControlError::unprocessable(interrupted);
        for job in store::list::<Job>(&mut *tx, &Query::by("state", "POLLING")).await?.items {
            self.end_job(&mut *tx, job.id, Some(&failure)).await?;
        }
        tx.commit().await?;
        Ok(count)
    }

    async fn droplet_to_upload(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: DropletId,
    ) -> Result<(PlacedApp, Droplet), ControlError> {
        let (placed, droplet) = self.readable_droplet(tx, access, id).await?;
        placed.may_develop(access)?;
        if droplet.state == DropletState::AwaitingUpload {
            return Ok((placed, droplet));
        }
        let detail = "Droplet may be uploaded only once. Create a new droplet to upload bits.";
        Err(ControlError::unprocessable(detail))
    }
}

/// What the app's log says of an upload.
fn said(outcome: &Result<ImportedDroplet, UploadError>) -> String {
    match outcome {
        Ok(ImportedDroplet { is_unchanged: true, .. }) => {
            "The droplet is the one that was downloaded: its layers have the same digests"
                .to_owned()
        }
        Ok(ImportedDroplet { is_unchanged: false, .. }) => {
            "The droplet was not packed by this kind of platform, or was changed since: of its \
             build nothing is known"
                .to_owned()
        }
        Err(error) => format!("Failed to process the droplet: {error}"),
    }
}
