//! Jobs: long operations of the API, as rows, so that they outlive a restart.

use serde::{Deserialize, Serialize};

use crate::{ids::JobId, time::Timestamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum JobState {
    Processing,
    Polling,
    Complete,
    Failed,
}

/// An error as the v3 API writes it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiError {
    pub code: u32,
    pub title: String,
    pub detail: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    pub id: JobId,
    /// `app.delete`, `space.apply_manifest`, ...
    pub operation: String,
    pub state: JobState,
    pub errors: Vec<ApiError>,
    pub warnings: Vec<String>,
    /// How often it was begun and ended by a failure of the platform itself.
    #[serde(default)]
    pub failures: u32,
    /// What is needed to go on with it after a restart; its form belongs to the operation.
    pub input: serde_json::Value,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
