//! `GET /cupola/v1/apps/{guid}/why`: why an app is as it is.

use serde::{Deserialize, Serialize};

use crate::costs::DeploymentCost;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Why {
    pub app: String,
    /// `STARTED` or `STOPPED`: what the user wants.
    pub desired: String,
    pub instances: Vec<WhyInstance>,
    /// The last runs that ended by themselves or had to be killed, newest first.
    pub exits: Vec<WhyExit>,
    /// The last build, if it failed.
    pub failed_build: Option<WhyBuild>,
    /// What the last deployment cost the users.
    #[serde(default)]
    pub last_deployment: Option<DeploymentCost>,
    /// The command that runs before the first instance of a new release, while it has not succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub release_phase: Option<WhyReleasePhase>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyReleasePhase {
    /// `PENDING` or `FAILED`.
    pub state: String,
    /// The task that runs it.
    pub task: String,
    pub detail: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyInstance {
    pub process: String,
    pub index: u32,
    /// `starting`, `running`, `draining`, `stopping`, `crashed` or `down`.
    pub state: String,
    pub since: String,
    /// Whether requests are sent to it.
    pub routable: bool,
    /// The last failed check or exit.
    pub detail: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyExit {
    pub process: String,
    pub index: u32,
    pub at: String,
    pub cause: String,
    pub uptime_s: u64,
    pub memory_peak_bytes: Option<u64>,
    /// Crashes in a row of this index, this one included.
    pub crash_count: u32,
    /// What the platform did about it.
    pub reaction: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct WhyBuild {
    pub at: String,
    pub error: String,
}
