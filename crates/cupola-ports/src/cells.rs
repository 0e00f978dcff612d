//! Where instances run: level-triggered, nothing else.
//!
//! The caller says which instances there should be, all of them, as often as it likes; the cell
//! starts what is missing, stops what is too much, and reports what it sees. An instance that ended
//! by itself is reported as `Exited` until it is no longer desired, one that was stopped for a
//! moment. It is never started again under the same id.
//!
//! Invariant: a cell decides nothing about restarts, routes or numbers of instances.

use std::{collections::HashMap, net::SocketAddr, sync::Arc};

use async_trait::async_trait;
use cupola_domain::{
    droplets::LayerDigest,
    ids::{AppId, InstanceId, ProcessId},
    instances::ExitCause,
    processes::{HealthCheck, InstanceLimits},
    services::ServiceFile,
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

/// Everything that is needed to start one instance. Never changes for an id.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredInstance {
    pub id: InstanceId,
    pub app_id: AppId,
    pub process_id: ProcessId,
    /// Of a task its name.
    pub process_type: String,
    #[serde(default, skip_serializing_if = "Work::is_process")]
    pub work: Work,
    pub index: u32,
    /// Lowest first, above the stack.
    pub layers: Vec<LayerDigest>,
    pub stack: String,
    /// Program and arguments, run by the init as user `vcap`.
    pub argv: Vec<String>,
    /// What runs beside it in the same container. The instance ends when any of them does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<DesiredSidecar>,
    /// The whole environment except what only the cell knows (`CF_INSTANCE_IP`, ...).
    pub environment: Vec<(String, String)>,
    pub working_directory: String,
    pub limits: InstanceLimits,
    pub port: u16,
    pub health_check: HealthCheck,
    pub readiness_check: HealthCheck,
    /// Found below `ServiceFile::ROOT`, by `vcap` alone and for reading only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<ServiceFile>,
}

/// Commands and the values of variables are secrets.
impl std::fmt::Debug for DesiredInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&String> = self.environment.iter().map(|(name, _)| name).collect();
        f.debug_struct("DesiredInstance")
            .field("id", &self.id)
            .field("app_id", &self.app_id)
            .field("process_type", &self.process_type)
            .field("index", &self.index)
            .field("environment", &names)
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

/// A further program of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DesiredSidecar {
    /// Unique within the instance.
    pub name: String,
    pub argv: Vec<String>,
}

/// What an instance is for. An instance that an older build wrote down is of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Work {
    #[default]
    Process,
    /// Runs once and ends.
    Task,
}

impl Work {
    /// Records of processes stay as they were before there were tasks.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_process(&self) -> bool {
        matches!(self, Self::Process)
    }
}

/// What the cell sees of one instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActualInstance {
    pub id: InstanceId,
    pub app_id: AppId,
    pub process_id: ProcessId,
    pub index: u32,
    pub phase: Phase,
    /// Where it can be reached from this machine, once it has a network.
    pub address: Option<SocketAddr>,
    pub started_at: Option<Timestamp>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Being started, or not healthy for the first time yet.
    Starting,
    /// Healthy. `ready` follows the readiness check; `failing` tells the last failed check.
    Running { ready: bool, failing: Option<String> },
    /// No longer desired and told to end.
    Stopping,
    /// Ended by itself, or ended by the cell because of a failed check.
    Exited(ExitReport),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitReport {
    pub cause: ExitCause,
    /// It had to be killed after the grace time.
    pub killed: bool,
    pub memory_peak_bytes: Option<u64>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
}

/// What one instance uses now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Cores in use on average since the last reading: 0.25 is a quarter of one.
    pub cpu_cores: f64,
    pub memory_bytes: u64,
    pub disk_bytes: u64,
    pub log_bytes_per_s: u64,
    pub uptime_s: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the cell failed: {action}")]
pub struct CellError {
    pub action: String,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// What the cell sees, all of it. `adopted` is false until it has looked for instances that
/// outlived the last control process: missing information means hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActualState {
    pub adopted: bool,
    pub instances: HashMap<InstanceId, ActualInstance>,
}

#[async_trait]
pub trait Cells: Send + Sync {
    /// Makes these, and no others, the instances that should be there.
    async fn apply(&self, desired: Vec<DesiredInstance>) -> Result<(), CellError>;

    /// What is there, swapped whole at each change.
    fn watch(&self) -> watch::Receiver<Arc<ActualState>>;

    /// What each running instance uses.
    async fn usage(&self) -> HashMap<InstanceId, Usage>;
}
