//! Tasks: commands that run once in the environment of an app, and end.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, DropletId, GenerationId, InstanceId, TaskId},
    orgs::Metadata,
    processes::InstanceLimits,
    sealed::Sealed,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskState {
    /// Wanted of the cell.
    Pending,
    Running,
    /// Told to end.
    Canceling,
    Succeeded,
    Failed {
        reason: String,
    },
}

impl TaskState {
    /// As the API names it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Running => "RUNNING",
            Self::Canceling => "CANCELING",
            Self::Succeeded => "SUCCEEDED",
            Self::Failed { .. } => "FAILED",
        }
    }

    pub const fn has_ended(&self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed { .. })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: TaskId,
    pub app_id: AppId,
    /// Counts from 1 within the app.
    pub sequence: u32,
    pub name: String,
    pub command: String,
    pub limits: InstanceLimits,
    pub droplet: DropletId,
    /// The app's own variables as they were when the task was made.
    pub environment: BTreeMap<String, String>,
    /// `BoundServices` as they were then. None where the app was bound to none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Sealed>,
    /// The generation whose release phase it is; none where a user began it.
    #[serde(default)]
    pub generation: Option<GenerationId>,
    pub state: TaskState,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Task {
    /// What the cell knows it by.
    pub const fn instance(&self) -> InstanceId {
        InstanceId::from_uuid(self.id.uuid())
    }
}
