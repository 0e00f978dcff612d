//! Turning uploads into packages and packages into droplets.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use cupola_domain::{
    builds::StagingErrorKind,
    droplets::{DropletContents, LayerDigest},
    ids::{AppId, BuildId, DropletId, PackageId},
    services::ServiceFile,
};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};

use crate::logs::LogSink;

/// A file that a client has, or that the platform knows already.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Resource {
    /// SHA-1 in 40 lower-case hexadecimal digits.
    pub sha1: String,
    pub bytes: u64,
    /// Relative to the app; empty where it does not matter.
    pub path: String,
    /// Permission bits; 0 where the client did not say.
    pub mode: u32,
}

/// What a client sent: a zip, the files that it did not send because they are known, or both.
#[derive(Clone, Debug)]
pub struct Upload {
    pub package_id: PackageId,
    pub zip: Option<PathBuf>,
    pub known: Vec<Resource>,
    /// The packages whose files `known` may be, those first where they are most likely.
    pub among: Vec<LayerDigest>,
}

/// Why an upload is no package. Shown to the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UploadError {
    #[error("the upload is invalid: {0}")]
    Invalid(String),
    #[error("the upload is larger than the {limit_mib} MiB that are allowed when unpacked")]
    TooLarge { limit_mib: u32 },
    #[error(
        "the upload names a file with SHA-1 {sha1} that the platform does not have; push again"
    )]
    UnknownResource { sha1: String },
    #[error("the app has no files; push a folder that contains the app")]
    Empty,
    #[error("the platform could not unpack the upload: {0}")]
    Platform(String),
}

/// A droplet as Cloud Foundry's `.tgz`, in pieces as they are made. An error is the last piece;
/// whoever stops receiving stops the making.
pub type DropletArchive = mpsc::Receiver<io::Result<Bytes>>;

/// Why a droplet cannot be had as an archive. Shown to the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    #[error("the files of this droplet are no longer kept; push or stage the app again")]
    Gone,
    #[error("the platform is packing as many droplets as it does at a time; try again in a minute")]
    Busy,
    #[error("the platform could not pack the droplet: {0}")]
    Platform(String),
}

/// An archive that a client sent as a droplet.
#[derive(Clone, Debug)]
pub struct DropletUpload {
    pub droplet_id: DropletId,
    /// A `.tgz`, believed nothing.
    pub archive: PathBuf,
    /// The stack of a droplet that names none, or one that is not here.
    pub stack: String,
}

/// A droplet made from an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImportedDroplet {
    pub contents: DropletContents,
    /// Whether a Cupola packed it and its layers have the digests that they had there. Otherwise it
    /// comes from elsewhere or was changed, and nothing of its build is known.
    pub is_unchanged: bool,
}

/// One build, whole.
#[derive(Clone)]
pub struct StagingRequest {
    pub build_id: BuildId,
    pub app_id: AppId,
    pub package: LayerDigest,
    pub stack: String,
    /// Names of built-in buildpacks, or git URLs. Empty: detect.
    pub buildpacks: Vec<String>,
    /// The buildpacks to detect with, in order.
    pub detect_order: Vec<String>,
    /// What the app's build sees: staging environment group, app environment, `CF_STACK`, ...
    pub environment: BTreeMap<String, String>,
    /// Found below `ServiceFile::ROOT` while it builds.
    pub files: Vec<ServiceFile>,
    pub memory_mib: u32,
    pub disk_mib: u32,
    pub time_max: Duration,
    /// Where the lines of the build go, as `STG`.
    pub log: Arc<dyn LogSink>,
}

/// Why there is no droplet. Shown to the user.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StagingFailure {
    pub kind: StagingErrorKind,
    /// What failed, why and what to do next.
    pub message: String,
}

#[async_trait]
pub trait Stager: Send + Sync {
    /// Which of these files are in one of the packages `among`. Whoever is told so can find out
    /// what is in them: name only packages that may be read.
    async fn known(
        &self,
        wanted: Vec<Resource>,
        among: Vec<LayerDigest>,
    ) -> Result<Vec<Resource>, UploadError>;

    /// Unpacks an upload in a confined process and notes its files for later matching.
    async fn ingest(&self, upload: Upload) -> Result<LayerDigest, UploadError>;

    /// Builds. When `cancel` turns true the build ends with `StagingError`.
    async fn stage(
        &self,
        request: StagingRequest,
        cancel: watch::Receiver<bool>,
    ) -> Result<DropletContents, StagingFailure>;

    /// The droplet as an archive that Cloud Foundry takes too, and that `import` makes the same
    /// layers of.
    async fn export(&self, contents: DropletContents) -> Result<DropletArchive, ExportError>;

    /// Unpacks a droplet's archive in a confined process.
    async fn import(&self, upload: DropletUpload) -> Result<ImportedDroplet, UploadError>;

    /// Removes the build cache of an app.
    async fn forget(&self, app_id: AppId);
}
