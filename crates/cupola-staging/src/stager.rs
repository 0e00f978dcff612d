//! The trusted half: prepares sandboxes for uploads and builds, and believes nothing they say.

mod build_cache;
mod droplet;
mod environment;
mod export;
mod import;
mod ingest;
mod resources;
mod scratch;
mod stage;
mod staging_log;
mod verdict;

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use cupola_domain::{
    droplets::{DropletContents, LayerDigest},
    ids::AppId,
};
use cupola_ports::{
    blobs::BlobStore,
    clock::Clock,
    sandbox::{Layers, Sandbox},
    stager::{
        DropletArchive, DropletUpload, ExportError, ImportedDroplet, Resource, Stager,
        StagingFailure, StagingRequest, Upload, UploadError,
    },
};
use tokio::sync::{Semaphore, watch};
use tracing::warn;

use crate::{
    buildpacks,
    caches::Caches,
    config::StagerConfig,
    host_environment::{HostEnvironment, HostFile},
};

/// `Stager` with classic buildpacks in sandboxes.
pub struct BuildpackStager {
    config: StagerConfig,
    sandbox: Arc<dyn Sandbox>,
    layers: Arc<dyn Layers>,
    blobs: Arc<dyn BlobStore>,
    clock: Arc<dyn Clock>,
    caches: Arc<Caches>,
    buildpacks: PathBuf,
    host_files: PathBuf,
    unpacks: Semaphore,
    exports: Arc<Semaphore>,
}

/// Each takes memory and disk of its own, whoever sends it. More wait for their turn.
const UNPACKS_AT_ONCE_MAX: usize = 2;
/// Each compresses on a core of its own for as long as its reader takes.
const EXPORTS_AT_ONCE_MAX: usize = 4;

/// Why staging cannot be offered.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}; check that the data directory is writable and has space")]
pub struct StagerSetupError {
    action: &'static str,
    path: PathBuf,
    #[source]
    source: io::Error,
}

impl BuildpackStager {
    /// Extracts the embedded buildpacks and empties the scratch folder. Blocks while it does.
    pub fn new(
        config: StagerConfig,
        sandbox: Arc<dyn Sandbox>,
        layers: Arc<dyn Layers>,
        blobs: Arc<dyn BlobStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StagerSetupError> {
        let failed = |action, path: &PathBuf| {
            let path = path.clone();
            move |source| StagerSetupError { action, path, source }
        };
        let buildpacks = buildpacks::extract(&config.buildpacks_dir)
            .map_err(failed("extract the built-in buildpacks to", &config.buildpacks_dir))?;
        scratch::empty(&config.scratch_dir).map_err(failed("empty", &config.scratch_dir))?;
        fs::create_dir_all(&config.caches_dir).map_err(failed("make", &config.caches_dir))?;
        let host_files = config.scratch_dir.join("host");
        write_host_files(&config.host_environment, &host_files)
            .map_err(failed("write the registries' settings to", &host_files))?;
        let caches = Arc::new(Caches::new(config.caches_dir.clone()));
        caches.remove_doomed();
        Ok(Self {
            config,
            sandbox,
            layers,
            blobs,
            clock,
            caches,
            buildpacks,
            host_files,
            unpacks: Semaphore::new(UNPACKS_AT_ONCE_MAX),
            exports: Arc::new(Semaphore::new(EXPORTS_AT_ONCE_MAX)),
        })
    }
}

#[async_trait]
impl Stager for BuildpackStager {
    async fn known(
        &self,
        wanted: Vec<Resource>,
        among: Vec<LayerDigest>,
    ) -> Result<Vec<Resource>, UploadError> {
        self.known_resources(wanted, &among).await
    }

    async fn ingest(&self, upload: Upload) -> Result<LayerDigest, UploadError> {
        self.ingest_upload(upload).await
    }

    async fn stage(
        &self,
        request: StagingRequest,
        cancel: watch::Receiver<bool>,
    ) -> Result<DropletContents, StagingFailure> {
        self.stage_package(request, cancel).await
    }

    async fn export(&self, contents: DropletContents) -> Result<DropletArchive, ExportError> {
        self.export_droplet(contents).await
    }

    async fn import(&self, upload: DropletUpload) -> Result<ImportedDroplet, UploadError> {
        self.import_droplet(upload).await
    }

    async fn forget(&self, app_id: AppId) {
        let caches = Arc::clone(&self.caches);
        let removed = tokio::task::spawn_blocking(move || caches.remove(app_id)).await;
        if let Ok(Err(error)) = removed {
            warn!(app.id = %app_id, %error, "the build cache of app {app_id} could not be removed");
        }
    }
}

fn write_host_files(environment: &HostEnvironment, folder: &Path) -> io::Result<()> {
    scratch::open_folder(folder)?;
    for (name, file) in &environment.files {
        let path = folder.join(name);
        match file {
            HostFile::Content(text) => fs::write(&path, text)?,
            HostFile::Copy(source) => match fs::read(source) {
                Ok(content) => fs::write(&path, content)?,
                Err(error) => warn!(
                    path = %source.display(), %error,
                    "the certificate file {} cannot be read, so builds do not have it",
                    source.display()
                ),
            },
        }
        if path.exists() {
            scratch::open_file(&path)?;
        }
    }
    Ok(())
}
