//! Builds: one attempt to turn a package into a droplet.

use serde::{Deserialize, Serialize};

use crate::{
    apps::Lifecycle,
    ids::{AppId, BuildId, DropletId, PackageId, UserId},
    orgs::Metadata,
    time::Timestamp,
};

/// Why staging failed, in the words that the `cf` CLI and upstream's tests compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StagingErrorKind {
    NoAppDetectedError,
    BuildpackCompileFailed,
    BuildpackReleaseFailed,
    InsufficientResources,
    StagingTimeExpired,
    StagingError,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum BuildState {
    Staging,
    Staged { droplet: DropletId },
    Failed { kind: StagingErrorKind, message: String },
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    pub id: BuildId,
    pub app_id: AppId,
    pub package_id: PackageId,
    pub state: BuildState,
    pub lifecycle: Lifecycle,
    pub memory_mib: u32,
    pub disk_mib: u32,
    pub created_by: Option<UserId>,
    pub created_by_name: String,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
