//! A stager that accepts every upload and builds every package at once, until a test says
//! otherwise, and layers that are always there.

use std::{
    collections::{BTreeMap, HashSet},
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use async_trait::async_trait;
use cupola_domain::{
    builds::StagingErrorKind,
    droplets::{DropletContents, DropletVersion, LayerDigest, Runtime, UsedBuildpack},
    ids::AppId,
    sidecars::SidecarSpec,
};
use cupola_ports::{
    logs::{LogLine, LogStream},
    sandbox::{LayerFile, Layers, SandboxError},
    stager::{
        DropletArchive, DropletUpload, ExportError, ImportedDroplet, Resource, Stager,
        StagingFailure, StagingRequest, Upload, UploadError,
    },
};
use sha2::{Digest, Sha256};
use tokio::sync::{mpsc, watch};

pub struct FakeStager {
    script: Mutex<Script>,
    /// Builds wait while it is true.
    held: watch::Sender<bool>,
    /// Apps are not forgotten while it is true.
    remembering: watch::Sender<bool>,
    /// How many apps were to be forgotten so far.
    forgotten: watch::Sender<usize>,
}

struct Script {
    known: HashSet<(LayerDigest, String, u64)>,
    upload: Option<UploadError>,
    export: Option<ExportError>,
    build: Option<StagingFailure>,
    process_types: BTreeMap<String, String>,
    sidecars: Vec<SidecarSpec>,
    staged: Vec<StagingRequest>,
}

impl Script {
    fn has(&self, file: &Resource, among: &[LayerDigest]) -> bool {
        let is_in = |package: &LayerDigest| {
            self.known.contains(&(package.clone(), file.sha1.clone(), file.bytes))
        };
        among.iter().any(is_in)
    }
}

impl FakeStager {
    pub(crate) fn new() -> Self {
        let process_types = BTreeMap::from([("web".to_owned(), "./start".to_owned())]);
        let script = Script {
            known: HashSet::new(),
            upload: None,
            export: None,
            build: None,
            process_types,
            sidecars: Vec::new(),
            staged: Vec::new(),
        };
        Self {
            script: Mutex::new(script),
            held: watch::Sender::new(false),
            remembering: watch::Sender::new(false),
            forgotten: watch::Sender::new(0),
        }
    }

    /// Lets the package that is made of this upload have such a file.
    pub fn know(&self, zip: &str, sha1: &str, bytes: u64) {
        self.script().known.insert((digest(zip.as_bytes()), sha1.to_owned(), bytes));
    }

    pub fn refuse_uploads(&self, error: UploadError) {
        self.script().upload = Some(error);
    }

    /// Lets no droplet be downloaded any more.
    pub fn refuse_exports(&self, error: ExportError) {
        self.script().export = Some(error);
    }

    pub fn fail_builds(&self, failure: StagingFailure) {
        self.script().build = Some(failure);
    }

    /// The process types of droplets from now on.
    pub fn build_processes(&self, types: &[(&str, &str)]) {
        let owned = types.iter().map(|(kind, command)| ((*kind).to_owned(), (*command).to_owned()));
        self.script().process_types = owned.collect();
    }

    /// The sidecars that buildpacks name from now on.
    pub fn build_sidecars(&self, sidecars: &[SidecarSpec]) {
        self.script().sidecars = sidecars.to_vec();
    }

    /// Lets builds wait, or go on.
    pub fn hold_builds(&self, held: bool) {
        self.held.send_replace(held);
    }

    /// Lets those wait who want an app forgotten, or go on.
    pub fn hold_forgetting(&self, held: bool) {
        self.remembering.send_replace(held);
    }

    /// Waits until somebody wants an app forgotten.
    pub async fn asked_to_forget(&self) {
        let mut forgotten = self.forgotten.subscribe();
        forgotten.wait_for(|count| *count > 0).await.expect("the stager is there");
    }

    /// The builds that were asked for.
    pub fn staged(&self) -> Vec<StagingRequest> {
        self.script().staged.clone()
    }

    fn script(&self) -> std::sync::MutexGuard<'_, Script> {
        self.script.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Stager for FakeStager {
    async fn known(
        &self,
        wanted: Vec<Resource>,
        among: Vec<LayerDigest>,
    ) -> Result<Vec<Resource>, UploadError> {
        let script = self.script();
        let is_known = |one: &Resource| script.has(one, &among);
        Ok(wanted.into_iter().filter(is_known).collect())
    }

    async fn ingest(&self, upload: Upload) -> Result<LayerDigest, UploadError> {
        let zip = match &upload.zip {
            Some(path) => std::fs::read(path).map_err(|error| {
                UploadError::Platform(format!("cannot read the upload: {error}"))
            })?,
            None => Vec::new(),
        };
        let mut script = self.script();
        if let Some(error) = &script.upload {
            return Err(error.clone());
        }
        if let Some(one) = upload.known.iter().find(|one| !script.has(one, &upload.among)) {
            return Err(UploadError::UnknownResource { sha1: one.sha1.clone() });
        }
        let package = digest(&zip);
        let known = upload.known.into_iter().map(|one| (package.clone(), one.sha1, one.bytes));
        script.known.extend(known);
        Ok(package)
    }

    async fn stage(
        &self,
        request: StagingRequest,
        mut cancel: watch::Receiver<bool>,
    ) -> Result<DropletContents, StagingFailure> {
        request.log.append(LogLine {
            at: cupola_domain::time::Timestamp::from_micros(0),
            source_id: request.app_id.to_string(),
            source_type: "STG".to_owned(),
            instance: "0".to_owned(),
            stream: LogStream::Out,
            message: b"Staging...".to_vec(),
        });
        self.script().staged.push(request.clone());
        let mut held = self.held.subscribe();
        tokio::select! {
            _ = held.wait_for(|held| !held) => {}
            _ = cancel.wait_for(|cancelled| *cancelled) => {
                return Err(StagingFailure {
                    kind: StagingErrorKind::StagingError,
                    message: "cancelled".to_owned(),
                });
            }
        }
        let script = self.script();
        if let Some(failure) = &script.build {
            return Err(failure.clone());
        }
        let names = match request.buildpacks.as_slice() {
            [] => vec!["binary_buildpack".to_owned()],
            asked => asked.to_vec(),
        };
        let used = |name| UsedBuildpack {
            name,
            detect_output: Some("fake".to_owned()),
            buildpack_name: None,
            version: Some("1.0".to_owned()),
            runtime: Some(Runtime {
                name: "node".to_owned(),
                version: "22.1.0".to_owned(),
                pin: "BP_NODE_VERSION".to_owned(),
            }),
        };
        Ok(DropletContents {
            version: DropletVersion::CURRENT,
            layers: vec![request.package.clone()],
            process_types: script.process_types.clone(),
            sidecars: script.sidecars.clone(),
            buildpacks: names.into_iter().map(used).collect(),
            stack: request.stack.clone(),
            stack_digest: "fake".to_owned(),
        })
    }

    async fn export(&self, contents: DropletContents) -> Result<DropletArchive, ExportError> {
        if let Some(error) = &self.script().export {
            return Err(error.clone());
        }
        let (pieces, archive) = mpsc::channel(1);
        let text = serde_json::to_vec(&contents).expect("keys are strings");
        pieces.try_send(Ok(text.into())).expect("there is room for one");
        Ok(archive)
    }

    async fn import(&self, upload: DropletUpload) -> Result<ImportedDroplet, UploadError> {
        let archive = std::fs::read(&upload.archive)
            .map_err(|error| UploadError::Platform(format!("cannot read the upload: {error}")))?;
        let mut held = self.held.subscribe();
        let _ = held.wait_for(|held| !held).await;
        if let Some(error) = &self.script().upload {
            return Err(error.clone());
        }
        let contents = serde_json::from_slice(&archive)
            .map_err(|_| UploadError::Invalid("it is not a whole tar file".to_owned()))?;
        Ok(ImportedDroplet { contents, is_unchanged: true })
    }

    async fn forget(&self, _: AppId) {
        self.forgotten.send_modify(|count| *count += 1);
        let mut remembering = self.remembering.subscribe();
        let _ = remembering.wait_for(|remembering| !remembering).await;
    }
}

fn digest(content: &[u8]) -> LayerDigest {
    LayerDigest::from_sha256(Sha256::digest(content).into())
}

#[derive(Default)]
pub struct FakeLayers {
    are_lost: AtomicBool,
}

impl FakeLayers {
    /// Lets no layer be there any more, as a disk that has lost its files.
    pub fn lose(&self) {
        self.are_lost.store(true, Ordering::SeqCst);
    }
}

#[async_trait]
impl Layers for FakeLayers {
    async fn exists(&self, _: &LayerDigest) -> bool {
        !self.are_lost.load(Ordering::SeqCst)
    }

    async fn files(&self, _: &LayerDigest, _: &str) -> Result<Vec<LayerFile>, SandboxError> {
        Ok(Vec::new())
    }

    async fn folder(&self, _: &LayerDigest, _: &str) -> Result<Option<PathBuf>, SandboxError> {
        Ok(None)
    }

    async fn retain(&self, _: &[LayerDigest]) -> Result<u64, SandboxError> {
        Ok(0)
    }

    async fn stack_digest(&self, _: &str) -> Result<String, SandboxError> {
        Ok("fake".to_owned())
    }
}
