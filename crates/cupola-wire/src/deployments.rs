//! Deployments.

use serde::{Deserialize, Serialize};

use crate::{
    list::{Guid, Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Deployment {
    pub guid: String,
    /// As old clients know it; `status` tells more.
    pub state: String,
    pub status: Status,
    /// `rolling` or `canary`.
    pub strategy: String,
    pub options: Options,
    pub droplet: Guid,
    pub previous_droplet: PreviousDroplet,
    pub new_processes: Vec<NewProcess>,
    pub revision: Option<RevisionRef>,
    pub relationships: DeploymentRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// `ACTIVE` or `FINALIZED`.
    pub value: String,
    /// `DEPLOYING`, `PAUSED`, `CANCELING`, `DEPLOYED`, `CANCELED` or `SUPERSEDED`.
    pub reason: String,
    pub details: StatusDetails,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryStatus>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_healthcheck: Option<String>,
    pub last_status_change: String,
    /// Why it does not get on, or did not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CanaryStatus {
    pub steps: StepStatus,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct StepStatus {
    pub current: usize,
    pub total: usize,
}

/// How a deployment is made.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_in_flight: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_instances: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_in_mb: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_in_mb: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_rate_limit_in_bytes_per_second: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canary: Option<Canary>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Canary {
    #[serde(default)]
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Per cent.
    pub instance_weight: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PreviousDroplet {
    pub guid: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewProcess {
    pub guid: String,
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionRef {
    pub guid: String,
    pub version: u32,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DeploymentRelationships {
    pub app: ToOne,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateDeployment {
    pub relationships: DeploymentRelationships,
    /// The current one, if neither this nor a revision is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub droplet: Option<Guid>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<CreateRevisionRef>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub options: Option<Options>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<MetadataPatch>,
}

/// A revision to go back to. Clients may send its version along.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateRevisionRef {
    pub guid: String,
}
