//! `/cupola/v1/revisions/{guid}/restore`: going back to a revision with what surrounded it.

use serde::{Deserialize, Serialize};

/// What it would do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Restore {
    pub app: String,
    pub revision: u32,
    /// The revision that runs now; none where the app has not been started.
    pub present: Option<u32>,
    /// Whether another droplet comes to run.
    pub code: bool,
    /// Names of the variables that change, come or go; never their values.
    pub environment: Vec<String>,
    /// Process types that get another command.
    pub commands: Vec<String>,
    /// Names of the sidecars that change, come or go.
    #[serde(default)]
    pub sidecars: Vec<String>,
    pub processes: Vec<RestoredProcess>,
    pub routes_added: Vec<String>,
    pub routes_removed: Vec<String>,
    /// Routes with other options or another weight.
    pub routes_changed: Vec<String>,
    /// Names of service instances.
    pub bindings_added: Vec<String>,
    pub bindings_removed: Vec<String>,
    /// What cannot be as it was.
    pub lost: Vec<LostPart>,
    /// Why it cannot be done at all.
    pub refusal: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RestoredProcess {
    pub process: String,
    /// None where the app has no such process now.
    pub from: Option<Scale>,
    pub to: Scale,
    /// Whether health or readiness check change.
    pub checks: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scale {
    pub instances: u32,
    pub memory_in_mb: u32,
    pub disk_in_mb: u32,
    pub log_rate_limit_in_bytes_per_second: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LostPart {
    pub what: String,
    pub why: String,
}

/// The body of the request that does it. Answered with a deployment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreRevision {
    /// Go on although something cannot be as it was.
    #[serde(default)]
    pub partial: bool,
    /// `rolling` or `canary`.
    pub strategy: Option<String>,
    pub max_in_flight: Option<i64>,
}
