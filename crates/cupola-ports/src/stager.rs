//! Turning uploads into packages and packages into droplets.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use cupola_domain::{
    builds::StagingErrorKind,
    droplets::{DropletContents, LayerDigest},
    ids::{AppId, BuildId, PackageId},
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

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
    /// Which of these files the platform has already.
    async fn known(&self, wanted: Vec<Resource>) -> Result<Vec<Resource>, UploadError>;

    /// Unpacks an upload in a confined process and keeps its files for later matching.
    async fn ingest(&self, upload: Upload) -> Result<LayerDigest, UploadError>;

    /// Builds. When `cancel` turns true the build ends with `StagingError`.
    async fn stage(
        &self,
        request: StagingRequest,
        cancel: watch::Receiver<bool>,
    ) -> Result<DropletContents, StagingFailure>;

    /// Removes the build cache of an app.
    async fn forget(&self, app_id: AppId);
}
