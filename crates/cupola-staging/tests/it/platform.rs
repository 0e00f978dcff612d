//! A stager on fakes, and what tests ask of it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use cupola_domain::{
    droplets::{DropletContents, LayerDigest},
    ids::{AppId, BuildId, PackageId},
};
use cupola_ports::{
    blobs::{BlobError, BlobStore},
    clock::SystemClock,
    logs::{LogLine, LogSink},
    stager::{Resource, Stager, StagingFailure, StagingRequest, Upload, UploadError},
};
use cupola_staging::{BuildpackStager, HostEnvironment, StagerConfig};
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use crate::{fake::FakeSandbox, zips::Zip};

pub(crate) const STACK: &str = "teststack";

pub(crate) struct TestPlatform {
    dir: TempDir,
    pub(crate) sandbox: Arc<FakeSandbox>,
    pub(crate) stager: BuildpackStager,
    /// The last folder of blobs that was trimmed, and to what size.
    pub(crate) trimmed: watch::Sender<Option<(String, u64)>>,
    pub(crate) log: Arc<RecordedLog>,
    pub(crate) app_id: AppId,
    /// Every package that was made.
    pub(crate) packages: Mutex<Vec<LayerDigest>>,
}

impl TestPlatform {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut StagerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let sandbox = Arc::new(FakeSandbox::new());
        let trimmed = watch::Sender::new(None);
        let stager = stager_in(dir.path(), &sandbox, trimmed.clone(), change);
        let app_id = AppId::random();
        let packages = Mutex::default();
        Self { dir, sandbox, stager, trimmed, log: Arc::default(), app_id, packages }
    }

    pub(crate) async fn upload(
        &self,
        zip: Option<&Zip>,
        known: Vec<Resource>,
    ) -> Result<LayerDigest, UploadError> {
        let digest = self.stager.ingest(self.to_upload(zip, known)).await?;
        self.packages.lock().unwrap().push(digest.clone());
        Ok(digest)
    }

    pub(crate) fn to_upload(&self, zip: Option<&Zip>, known: Vec<Resource>) -> Upload {
        let package_id = PackageId::random();
        let zip = zip.map(|zip| {
            let path = self.dir.path().join(format!("{package_id}.zip"));
            fs::write(&path, zip.bytes()).unwrap();
            path
        });
        Upload { package_id, zip, known, among: self.packages.lock().unwrap().clone() }
    }

    /// A package of these files, made in the ordinary way.
    pub(crate) async fn package(&self, files: &[(&str, &str)]) -> LayerDigest {
        let zip = files.iter().fold(Zip::new(), |zip, (path, text)| zip.file(path, text));
        self.upload(Some(&zip), Vec::new()).await.unwrap()
    }

    /// A buildpack beside the embedded ones, of scripts by name.
    pub(crate) fn buildpack(&self, name: &str, scripts: &[(&str, &str)]) {
        let embedded = fs::read_dir(self.dir.path().join("buildpacks")).unwrap();
        let bin = embedded.last().unwrap().unwrap().path().join(name).join("bin");
        write_scripts(&bin, scripts);
    }

    pub(crate) fn request(&self, package: LayerDigest, buildpacks: &[&str]) -> StagingRequest {
        StagingRequest {
            build_id: BuildId::random(),
            app_id: self.app_id,
            package,
            stack: STACK.to_owned(),
            buildpacks: buildpacks.iter().map(|name| (*name).to_owned()).collect(),
            detect_order: Vec::new(),
            environment: BTreeMap::new(),
            files: Vec::new(),
            memory_mib: 512,
            disk_mib: 1024,
            time_max: Duration::from_secs(60),
            log: self.log.clone(),
        }
    }

    pub(crate) async fn stage(
        &self,
        request: StagingRequest,
    ) -> Result<DropletContents, StagingFailure> {
        let (_keep, cancel) = watch::channel(false);
        self.stager.stage(request, cancel).await
    }

    pub(crate) fn data_dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file of a droplet, wherever its layers have it.
    pub(crate) fn read(&self, droplet: &DropletContents, path: &str) -> Option<String> {
        let layers = droplet.layers.iter().rev();
        layers
            .map(|layer| self.sandbox.layer(layer).join(path))
            .find_map(|path| fs::read_to_string(path).ok())
    }
}

fn stager_in(
    dir: &Path,
    sandbox: &Arc<FakeSandbox>,
    trimmed: watch::Sender<Option<(String, u64)>>,
    change: impl FnOnce(&mut StagerConfig),
) -> BuildpackStager {
    let mut config = StagerConfig::below(dir, HostEnvironment::default());
    change(&mut config);
    let blobs = Arc::new(FolderBlobs { dir: dir.join("blobs"), trimmed });
    let clock = Arc::new(SystemClock::new());
    BuildpackStager::new(config, sandbox.clone(), sandbox.clone(), blobs, clock).unwrap()
}

pub(crate) fn write_scripts(bin: &Path, scripts: &[(&str, &str)]) {
    fs::create_dir_all(bin).unwrap();
    for (script, text) in scripts {
        let path = bin.join(script);
        fs::write(&path, format!("#!/bin/sh\nset -e\n{text}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
}

#[derive(Default)]
pub(crate) struct RecordedLog {
    lines: Mutex<Vec<LogLine>>,
    pub(crate) lost: Mutex<u64>,
    grown: Notify,
}

impl RecordedLog {
    pub(crate) fn lines(&self) -> Vec<LogLine> {
        self.lines.lock().unwrap().clone()
    }

    pub(crate) async fn wait_for(&self, text: &str) {
        let seen = async {
            while !self.texts().iter().any(|line| line == text) {
                self.grown.notified().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.unwrap();
    }

    pub(crate) fn texts(&self) -> Vec<String> {
        self.lines().into_iter().map(|l| String::from_utf8(l.message).unwrap()).collect()
    }
}

impl LogSink for RecordedLog {
    fn append(&self, line: LogLine) {
        self.lines.lock().unwrap().push(line);
        self.grown.notify_one();
    }

    fn lost(&self, _source_id: &str, lines: u64) {
        *self.lost.lock().unwrap() += lines;
    }
}

struct FolderBlobs {
    dir: PathBuf,
    trimmed: watch::Sender<Option<(String, u64)>>,
}

impl FolderBlobs {
    fn failed(action: &'static str, key: &str) -> impl FnOnce(std::io::Error) -> BlobError {
        let key = key.to_owned();
        move |source| BlobError { action, key, source }
    }
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn put(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        let path = self.dir.join(key);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::copy(file, path).map(drop).map_err(Self::failed("store", key))
    }

    async fn fetch(&self, key: &str, file: &Path) -> Result<bool, BlobError> {
        match fs::hard_link(self.dir.join(key), file) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            outcome => outcome.map(|()| true).map_err(Self::failed("fetch", key)),
        }
    }

    async fn present(&self, keys: &[(String, u64)]) -> Result<Vec<bool>, BlobError> {
        let is_there = |(key, bytes): &(String, u64)| {
            fs::metadata(self.dir.join(key)).is_ok_and(|metadata| metadata.len() == *bytes)
        };
        Ok(keys.iter().map(is_there).collect())
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        fs::remove_file(self.dir.join(key)).map_err(Self::failed("delete", key))
    }

    async fn trim(&self, folder: &str, bytes_max: u64) -> Result<u64, BlobError> {
        self.trimmed.send_replace(Some((folder.to_owned(), bytes_max)));
        Ok(0)
    }
}
