//! `GET /cupola/v1/apps/{guid}/changes`: what changed in an app, newest first.

use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Change {
    /// That of the audit event which tells of it.
    pub guid: String,
    pub at: String,
    /// The user, or what the platform did it for.
    pub who: String,
    /// `build`, `revision`, `environment`, `scale`, `route`, `deployment`, `crash`, ...
    pub kind: String,
    /// In one line, for people.
    pub summary: String,
    /// The type of the audit event.
    pub event: String,
    /// The version of the revision that it made or started.
    pub revision: Option<u64>,
    pub commit: Option<ChangeCommit>,
    /// What came of the deployment that it began.
    pub deployment: Option<ChangeDeployment>,
    /// The data of the audit event; `changed` in it has what was before and after.
    pub details: serde_json::Value,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChangeCommit {
    pub id: String,
    pub branch: Option<String>,
    /// Whether pushed files differed from it; null where nobody said.
    pub dirty: Option<bool>,
    pub committed_at: Option<String>,
    pub repository: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ChangeDeployment {
    /// `DEPLOYING`, `PAUSED`, `CANCELING`, `DEPLOYED`, `CANCELED` or `SUPERSEDED`.
    pub state: String,
    /// When it came to that.
    pub since: String,
    pub error: Option<String>,
}
