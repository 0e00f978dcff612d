//! Tasks.

use serde::{Deserialize, Serialize};

use crate::{
    list::{Guid, Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Task {
    pub guid: String,
    pub sequence_id: u32,
    pub name: String,
    /// For those who may see it, and not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// `PENDING`, `RUNNING`, `SUCCEEDED`, `CANCELING` or `FAILED`.
    pub state: String,
    pub memory_in_mb: u32,
    pub disk_in_mb: u32,
    pub log_rate_limit_in_bytes_per_second: i64,
    pub result: TaskResult,
    pub droplet_guid: String,
    pub relationships: TaskRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskResult {
    pub failure_reason: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskRelationships {
    pub app: ToOne,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateTask {
    #[serde(default)]
    pub command: Option<String>,
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub memory_in_mb: Option<i64>,
    #[serde(default)]
    pub disk_in_mb: Option<i64>,
    #[serde(default)]
    pub log_rate_limit_in_bytes_per_second: Option<i64>,
    #[serde(default)]
    pub droplet_guid: Option<String>,
    #[serde(default)]
    pub template: Option<TaskTemplate>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

/// A process whose command and limits are taken.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TaskTemplate {
    pub process: Guid,
}
