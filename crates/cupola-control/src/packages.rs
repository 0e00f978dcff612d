//! Packages: source, uploaded or copied, that builds are made from.

use std::{collections::HashSet, path::PathBuf};

use cupola_domain::{
    access::Access,
    apps::App,
    builds::{Build, BuildState, StagingErrorKind},
    commits::{Commit, of_source},
    droplets::LayerDigest,
    ids::{AppId, PackageId},
    jobs::Job,
    orgs::Metadata,
    packages::{Package, PackageState},
};
use cupola_ports::{
    stager::{Resource, Upload, UploadError},
    store::{self, Condition, Direction, Page, Query, ReadTx, WriteTx},
};
use serde_json::json;

use crate::{
    Control, ControlError, ListRequest,
    apps::{PlacedApp, told},
    caller::Caller,
    control::ids,
    jobs::JobInput,
    orgs::MetadataChange,
    scope::Owners,
};

/// What a client says of a new package.
#[derive(Clone, Debug)]
pub struct NewPackage {
    pub app: AppId,
    /// `bits` or `docker`.
    pub kind: String,
    pub metadata: Metadata,
}

/// Of how many packages the files are matched with those of a push.
const PACKAGES_MATCHED_MAX: usize = 200;
/// Among how many packages they are looked for, the newest first.
const PACKAGES_SEEN_MAX: u64 = 2000;

impl Control {
    pub async fn create_package(
        &self,
        caller: &Caller,
        new: NewPackage,
    ) -> Result<Package, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.app_of_new(&mut *tx, &access, new.app).await?;
        if new.kind != "bits" {
            let kind = Some(new.kind.as_str());
            self.require_buildpack_lifecycle(&mut *tx, caller, kind).await?;
            return Err(ControlError::unprocessable("Type must be one of 'bits, docker'"));
        }
        let metadata = with_source(&mut *tx, &mut placed.app, new.metadata).await?;
        let package = self.new_package(new.app, PackageState::AwaitingUpload, metadata);
        let request = json!({ "type": "bits" });
        self.insert_package(&mut *tx, caller, &placed, &package, request).await?;
        tx.commit().await?;
        self.tell(new.app, format!("Creating app package with guid {}", package.id));
        Ok(package)
    }

    /// A package with the content of another one, of the same or another app.
    pub async fn copy_package(
        &self,
        caller: &Caller,
        app: AppId,
        source: PackageId,
    ) -> Result<Package, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.app_of_new(&mut *tx, &access, app).await?;
        let (from, source) = self.readable_package(&mut *tx, &access, source).await?;
        from.may_develop(&access)?;
        if !matches!(source.state, PackageState::Ready { .. }) {
            return Err(ControlError::unprocessable("Source package is not ready"));
        }
        let package = self.new_package(app, source.state, of_source(&source.metadata));
        let request = json!({ "source_package_guid": source.id.to_string() });
        self.insert_package(&mut *tx, caller, &placed, &package, request).await?;
        tx.commit().await?;
        Ok(package)
    }

    /// The package, as soon as its upload is processed or the time to hold a request is over.
    pub async fn package(&self, caller: &Caller, id: PackageId) -> Result<Package, ControlError> {
        let mut hold = self.hold();
        loop {
            let mut tx = self.read().await?;
            let access = self.access(&mut *tx, caller).await?;
            let (_, package) = self.readable_package(&mut *tx, &access, id).await?;
            drop(tx);
            let is_processed = package.state != PackageState::ProcessingUpload;
            if is_processed || !hold.changed().await {
                return Ok(package);
            }
        }
    }

    pub async fn list_packages(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<Package>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.of_apps(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_package(
        &self,
        caller: &Caller,
        id: PackageId,
        metadata: MetadataChange,
    ) -> Result<Package, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut package) = self.readable_package(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut package.metadata);
        self.update_package_row(&mut *tx, &mut package).await?;
        tx.commit().await?;
        Ok(package)
    }

    pub async fn delete_package(
        &self,
        caller: &Caller,
        id: PackageId,
    ) -> Result<Job, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, _) = self.readable_package(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let data = json!({ "package_guid": id.to_string() });
        let event = placed.event("audit.app.package.delete", data);
        self.record(&mut *tx, caller.party(), event).await?;
        let job = self.enqueue(&mut *tx, caller, JobInput::DeletePackage { package: id }).await?;
        tx.commit().await?;
        Ok(job)
    }

    pub(crate) async fn perform_delete_package(
        &self,
        id: PackageId,
    ) -> Result<Vec<String>, ControlError> {
        let mut tx = self.write().await?;
        // A build of it would look for a package that is gone.
        let open = Query::by("package_id", id.to_string()).and_by("state", "STAGING");
        for mut build in store::list::<Build>(&mut *tx, &open).await?.items {
            build.state = BuildState::Failed {
                kind: StagingErrorKind::StagingError,
                message: "the package was deleted while it was staged; push again".to_owned(),
            };
            build.updated_at = self.ports.clock.now();
            store::update(&mut *tx, &build).await?;
            self.record_build_end(&mut *tx, &build, None).await?;
        }
        store::delete::<Package>(&mut *tx, id).await?;
        tx.commit().await?;
        Ok(Vec::new())
    }

    /// Whether the caller may upload to the package now. Asked before the upload is read, so that a
    /// refusal costs neither side anything.
    pub async fn check_upload(&self, caller: &Caller, id: PackageId) -> Result<(), ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        self.uploadable(&mut *tx, caller, &access, id).await?;
        Ok(())
    }

    /// Makes the package of an upload, and answers when it is ready or the time to hold a request
    /// is over. It goes on if the client does not wait. The zip is removed in any case.
    pub async fn upload_package(
        &self,
        caller: &Caller,
        id: PackageId,
        zip: Option<PathBuf>,
        known: Vec<Resource>,
    ) -> Result<Package, ControlError> {
        let zip = zip.map(TemporaryFile);
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut package) = self.uploadable(&mut *tx, caller, &access, id).await?;
        let among = if known.is_empty() {
            Vec::new()
        } else {
            self.packages_to_match(&mut *tx, &access).await?
        };
        package.state = PackageState::ProcessingUpload;
        self.update_package_row(&mut *tx, &mut package).await?;
        let data = json!({ "package_guid": id.to_string() });
        let event = placed.event("audit.app.package.upload", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        self.tell(placed.app.id, format!("Uploading app package with guid {id}"));

        let control = self.clone();
        tokio::spawn(async move { control.ingest(id, zip, known, among).await });
        self.package(caller, id).await
    }

    async fn ingest(
        self,
        id: PackageId,
        zip: Option<TemporaryFile>,
        known: Vec<Resource>,
        among: Vec<LayerDigest>,
    ) {
        let path = zip.as_ref().map(|file| file.0.clone());
        let upload = Upload { package_id: id, zip: path, known, among };
        let state = match self.ports.stager.ingest(upload).await {
            Ok(layer) => PackageState::Ready { layer },
            Err(error) => {
                if let UploadError::Platform(_) = error {
                    tracing::error!(package.id = %id, "an upload was not unpacked: {error}");
                }
                PackageState::Failed { error: error.to_string() }
            }
        };
        if let Err(error) = self.keep_package(id, state).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(package.id = %id, error, "the outcome of an upload was not kept");
        }
    }

    async fn keep_package(&self, id: PackageId, state: PackageState) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let Some(mut package) = store::get::<Package>(&mut *tx, id).await? else { return Ok(()) };
        if let PackageState::Failed { error } = &state {
            self.tell(package.app_id, format!("Failed to process the upload: {error}"));
        }
        package.state = state;
        self.update_package_row(&mut *tx, &mut package).await?;
        Ok(tx.commit().await?)
    }

    /// Ends the uploads that were being received or unpacked when the last control process ended,
    /// and says how many packages and droplets that made fail. Called once at start, before requests are taken.
    pub async fn fail_interrupted_uploads(&self) -> Result<u64, ControlError> {
        let mut tx = self.write().await?;
        let query = Query::by("state", "PROCESSING_UPLOAD");
        let mut count = 0;
        for mut package in store::list::<Package>(&mut *tx, &query).await?.items {
            let error = "the platform was restarted during the upload; push again".to_owned();
            package.state = PackageState::Failed { error };
            self.update_package_row(&mut *tx, &mut package).await?;
            count += 1;
        }
        tx.commit().await?;
        count += self.fail_interrupted_droplets().await?;
        self.remove_left_uploads().await;
        Ok(count)
    }

    /// Files that nobody will ask for any more. One that cannot be removed only takes space.
    async fn remove_left_uploads(&self) {
        let dir = &self.settings().uploads_dir;
        let Ok(mut entries) = tokio::fs::read_dir(dir).await else { return };
        while let Ok(Some(entry)) = entries.next_entry().await {
            if let Err(error) = tokio::fs::remove_file(entry.path()).await {
                tracing::warn!("cannot remove the upload {}: {error}", entry.path().display());
            }
        }
    }

    /// Which of these files need not be sent: those of packages that the caller could read anyway,
    /// so that nobody learns what others have. None at all while the flag for it is off.
    pub async fn match_resources(
        &self,
        caller: &Caller,
        wanted: Vec<Resource>,
    ) -> Result<Vec<Resource>, ControlError> {
        if !self.feature_flag("resource_matching").await?.enabled {
            return Ok(Vec::new());
        }
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let among = self.packages_to_match(&mut *tx, &access).await?;
        drop(tx);
        self.ports.stager.known(wanted, among).await.map_err(|error| match error {
            UploadError::Platform(_) => {
                ControlError::Outside { action: "looking up known files", source: Box::new(error) }
            }
            invalid => ControlError::Unprocessable(invalid.to_string()),
        })
    }

    /// The newest package of each app that the caller may develop, the newest first.
    async fn packages_to_match(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
    ) -> Result<Vec<LayerDigest>, ControlError> {
        let mut query = Query::by("state", "READY").ordered("created_at", Direction::Descending);
        if let Some(spaces) = access.developed_spaces() {
            let of_spaces = Query::all().and(Condition::In("space_id", ids(&spaces)));
            let apps = store::list::<App>(tx, &of_spaces).await?.items;
            let apps: Vec<_> = apps.iter().map(|app| app.id).collect();
            query = query.and(Condition::In("app_id", ids(&apps)));
        }
        query.limit = Some(PACKAGES_SEEN_MAX);
        let (mut apps, mut layers) = (HashSet::new(), Vec::new());
        for package in store::list::<Package>(tx, &query).await?.items {
            if layers.len() == PACKAGES_MATCHED_MAX {
                break;
            }
            if let PackageState::Ready { layer } = package.state
                && apps.insert(package.app_id)
                && !layers.contains(&layer)
            {
                layers.push(layer);
            }
        }
        Ok(layers)
    }

    async fn uploadable(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        access: &Access,
        id: PackageId,
    ) -> Result<(PlacedApp, Package), ControlError> {
        let (placed, package) = self.readable_package(tx, access, id).await?;
        placed.may_develop(access)?;
        self.require_flag_or_admin(tx, caller, "app_bits_upload").await?;
        if package.state == PackageState::AwaitingUpload {
            Ok((placed, package))
        } else {
            Err(ControlError::BitsUploadedAlready)
        }
    }

    /// The package and its app, if the caller may see them.
    pub(crate) async fn readable_package(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: PackageId,
    ) -> Result<(PlacedApp, Package), ControlError> {
        let package = read_package(tx, id).await?;
        let placed = self.readable_app(tx, access, package.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Package"))?, package))
    }

    /// The app that something new is to belong to, as a body names it.
    pub(crate) async fn app_of_new(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: AppId,
    ) -> Result<PlacedApp, ControlError> {
        let placed = self.readable_app(tx, access, id).await.map_err(|error| match error {
            ControlError::NotFound { .. } => {
                let detail = "App is invalid. Ensure it exists and you have access to it.";
                ControlError::unprocessable(detail)
            }
            other => other,
        })?;
        placed.may_develop(access)?;
        Ok(placed)
    }

    fn new_package(&self, app_id: AppId, state: PackageState, metadata: Metadata) -> Package {
        let now = self.ports.clock.now();
        let id = PackageId::random();
        Package { id, app_id, state, metadata, created_at: now, updated_at: now }
    }

    async fn insert_package(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        package: &Package,
        request: serde_json::Value,
    ) -> Result<(), ControlError> {
        store::insert(tx, package).await?;
        let mut data = json!({ "package_guid": package.id.to_string(), "request": request });
        told::add_source(&mut data, &package.metadata);
        self.record(tx, caller.party(), placed.event("audit.app.package.create", data)).await
    }

    async fn update_package_row(
        &self,
        tx: &mut dyn WriteTx,
        package: &mut Package,
    ) -> Result<(), ControlError> {
        package.updated_at = self.ports.clock.now();
        Ok(store::update(tx, package).await?)
    }
}

/// The metadata of a new package. Where it does not say which commit it is of, what the app's says
/// is taken, once: a push with `cf` can say it in a manifest only, and the next one may not.
async fn with_source(
    tx: &mut dyn WriteTx,
    app: &mut App,
    mut metadata: Metadata,
) -> Result<Metadata, ControlError> {
    if !app.names_commit {
        return Ok(metadata);
    }
    app.names_commit = false;
    store::update(tx, app).await?;
    if Commit::of(&metadata).is_none() {
        let source = of_source(&app.metadata);
        metadata.labels.extend(source.labels);
        metadata.annotations.extend(source.annotations);
    }
    Ok(metadata)
}

async fn read_package(
    tx: &mut (impl ReadTx + ?Sized),
    id: PackageId,
) -> Result<Package, ControlError> {
    let package = store::get::<Package>(tx, id).await?;
    package.ok_or(ControlError::NotFound { noun: "Package" })
}

/// A file that goes when nobody needs it any more.
pub(crate) struct TemporaryFile(pub(crate) PathBuf);

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!("cannot remove the upload {}: {error}", self.0.display());
        }
    }
}
