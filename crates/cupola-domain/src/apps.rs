//! Apps: the unit of currency. Everything that runs belongs to one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, DropletId, GenerationId, SpaceId},
    ladders::Pulled,
    orgs::Metadata,
    release_phase::ReleasePhase,
    services::ServiceDelivery,
    time::Timestamp,
};

/// What the user wants of an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum AppState {
    Started,
    Stopped,
}

/// How source becomes a droplet: buildpacks by name or URL (empty: detect) on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifecycle {
    pub buildpacks: Vec<String>,
    pub stack: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct App {
    pub id: AppId,
    pub space_id: SpaceId,
    pub name: String,
    pub desired: AppState,
    pub lifecycle: Lifecycle,
    /// User-provided environment. Values are strings; the API turns other JSON into text.
    pub environment: BTreeMap<String, String>,
    pub current_droplet: Option<DropletId>,
    /// Instances of another generation are replaced. A start or restart makes a new one.
    pub generation: GenerationId,
    /// Of that generation. Its instances are started once it has succeeded.
    #[serde(default)]
    pub release_phase: Option<ReleasePhase>,
    pub revisions_enabled: bool,
    pub ssh_enabled: bool,
    /// Somebody has named the commit of the next package in this app's metadata.
    #[serde(default)]
    pub names_commit: bool,
    #[serde(default)]
    pub service_delivery: ServiceDelivery,
    /// Capabilities beyond those that every app has.
    #[serde(default)]
    pub pulled: Pulled,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl App {
    /// Whether instances of its generation may be started.
    pub fn is_released(&self) -> bool {
        self.release_phase.as_ref().is_none_or(ReleasePhase::has_succeeded)
    }
}
