//! `GET /cupola/v1/status`: how the platform is.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub api: String,
    pub apps_domain: String,
    pub apps: StatusApps,
    pub router: StatusRouter,
    pub logs: StatusLogs,
    /// What this installation cannot survive, in sentences.
    pub limits: Vec<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusApps {
    pub started: u64,
    pub stopped: u64,
    pub instances_running: u64,
    pub instances_starting: u64,
    pub instances_crashed: u64,
    pub builds_running: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusRouter {
    pub is_serving: bool,
    pub table_version: Option<u64>,
    pub in_flight: u64,
    /// Since control started.
    pub restarts: u64,
    pub access_lines_lost: u64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct StatusLogs {
    pub taken: u64,
    pub lost: u64,
    pub evicted: u64,
}
