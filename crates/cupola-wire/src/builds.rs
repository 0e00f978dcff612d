//! Builds.

use serde::{Deserialize, Serialize};

use crate::{
    apps::{Lifecycle, LifecyclePatch},
    list::{Guid, Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Build {
    pub guid: String,
    /// `STAGING`, `STAGED` or `FAILED`.
    pub state: String,
    pub staging_memory_in_mb: u32,
    pub staging_disk_in_mb: u32,
    pub staging_log_rate_limit_bytes_per_second: i64,
    pub error: Option<String>,
    pub lifecycle: Lifecycle,
    pub package: Guid,
    pub droplet: Option<Guid>,
    pub created_by: CreatedBy,
    pub relationships: BuildRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BuildRelationships {
    pub app: ToOne,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreatedBy {
    pub guid: String,
    pub name: String,
    pub email: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateBuild {
    pub package: Guid,
    #[serde(default)]
    pub lifecycle: Option<LifecyclePatch>,
    #[serde(default)]
    pub staging_memory_in_mb: Option<i64>,
    #[serde(default)]
    pub staging_disk_in_mb: Option<i64>,
    /// Builds have no limit of their own; the app's counts.
    #[serde(default)]
    pub staging_log_rate_limit_bytes_per_second: Option<i64>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}
