//! Processes: the kinds of instance an app has, `web` and others.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, GenerationId, ProcessId},
    orgs::Metadata,
    time::Timestamp,
};

/// How it is decided whether an instance is well.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Check {
    /// A TCP connection to the port is accepted.
    Port,
    /// GET of `endpoint` on the port answers 200.
    Http { endpoint: String },
    /// The process exists.
    Process,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthCheck {
    pub check: Check,
    /// How long an instance may take to become healthy first; none means 60 s. Liveness only.
    pub start_timeout_s: Option<u32>,
    /// How long one check may take; none means 1 s.
    pub invocation_timeout_s: Option<u32>,
    /// Time between checks of a running instance; none means 30 s.
    pub interval_s: Option<u32>,
}

impl HealthCheck {
    /// A check of this kind with every time at its default.
    pub const fn with_defaults(check: Check) -> Self {
        Self { check, start_timeout_s: None, invocation_timeout_s: None, interval_s: None }
    }
}

/// What one instance may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstanceLimits {
    pub memory_mib: u32,
    pub disk_mib: u32,
    /// -1 is unlimited.
    pub log_rate_bytes_per_s: i64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Process {
    /// The `web` process has the same value as its app, as in Cloud Foundry.
    pub id: ProcessId,
    pub app_id: AppId,
    /// `web`, `worker`, ...: the API's `type`.
    pub kind: String,
    /// Set by the user; none means the one that the droplet names for this kind.
    pub command: Option<String>,
    pub instances: u32,
    pub limits: InstanceLimits,
    pub health_check: HealthCheck,
    pub readiness_check: HealthCheck,
    /// Instances of another generation are replaced. Changes of limits or command make a new one
    /// at the next start, not at once, as in Cloud Foundry.
    pub generation: GenerationId,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// The process that gets routes, one instance and a port check by default.
pub const WEB: &str = "web";

/// The port that an instance is told to listen on.
pub const APP_PORT: u16 = 8080;
