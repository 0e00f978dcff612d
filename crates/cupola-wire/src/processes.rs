//! Processes and what their instances do.

use serde::{Deserialize, Serialize};

use crate::{
    list::{Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Process {
    pub guid: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// In lists, and for callers who may not see secrets, a text that says so.
    pub command: Option<String>,
    pub user: String,
    pub instances: u32,
    pub memory_in_mb: u32,
    pub disk_in_mb: u32,
    pub log_rate_limit_in_bytes_per_second: i64,
    pub health_check: HealthCheck,
    pub readiness_health_check: HealthCheck,
    pub version: String,
    pub relationships: ProcessRelationships,
    pub metadata: MetadataBody,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process_instances: Option<Vec<ProcessInstance>>,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct HealthCheck {
    #[serde(rename = "type")]
    pub kind: String,
    pub data: HealthCheckData,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct HealthCheckData {
    /// Liveness only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Option<u32>>,
    pub invocation_timeout: Option<u32>,
    pub interval: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessRelationships {
    pub app: ToOne,
    pub revision: Option<ToOne>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateProcess {
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub command: Option<Option<String>>,
    #[serde(default)]
    pub health_check: Option<HealthCheckPatch>,
    #[serde(default)]
    pub readiness_health_check: Option<HealthCheckPatch>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckPatch {
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub data: HealthCheckDataPatch,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthCheckDataPatch {
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Option<i64>>,
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub invocation_timeout: Option<Option<i64>>,
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub interval: Option<Option<i64>>,
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Option<String>>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScaleProcess {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instances: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_in_mb: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_in_mb: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_rate_limit_in_bytes_per_second: Option<i64>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessInstance {
    pub index: u32,
    pub state: String,
    /// Seconds in that state.
    pub since: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ProcessInstances {
    pub resources: Vec<ProcessInstance>,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Stats {
    pub resources: Vec<InstanceStats>,
}

/// One instance. Of one that is down only the first fields are there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceStats {
    #[serde(rename = "type")]
    pub kind: String,
    pub index: u32,
    pub state: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_guid: Option<String>,
    #[serde(default)]
    pub routable: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_internal_ip: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_ports: Option<Vec<InstancePort>>,
    pub uptime: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem_quota: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_quota: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_rate_limit: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fds_quota: Option<u64>,
    pub isolation_segment: Option<String>,
    pub details: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstancePort {
    pub external: u16,
    pub internal: u16,
    pub external_tls_proxy_port: Option<u16>,
    pub internal_tls_proxy_port: Option<u16>,
}

/// Empty for an instance that does not run.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<String>,
    /// 1 is one core.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mem: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_rate: Option<u64>,
}
