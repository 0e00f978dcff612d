//! Generations: what the instances that were started together are started from.
//!
//! Invariant: a generation never changes. What is set later shows in the next one, so that an
//! instance that is started again after a crash is the one that it was.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{
    apps::App,
    ids::{AppId, DropletId, GenerationId, RevisionId},
    processes::{HealthCheck, InstanceLimits, Process},
    sealed::Sealed,
    sidecars::SidecarSpec,
    time::Timestamp,
};

/// What a start takes from an app and its processes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    pub droplet: DropletId,
    pub environment: BTreeMap<String, String>,
    /// By process type.
    pub processes: BTreeMap<String, ReleasedProcess>,
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<SidecarSpec>,
}

/// What a start takes from one process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasedProcess {
    /// Set by the user; none means the one that the droplet names.
    pub command: Option<String>,
    pub limits: InstanceLimits,
    pub health_check: HealthCheck,
    pub readiness_check: HealthCheck,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    pub id: GenerationId,
    pub app_id: AppId,
    pub release: Release,
    /// `BoundServices` as they were. None where the app was bound to none, and had no feature on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<Sealed>,
    /// None where the app keeps no revisions.
    pub revision: Option<RevisionId>,
    pub created_at: Timestamp,
}

/// The indices of a process that shall be of one generation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    pub generation: GenerationId,
    pub indices: BTreeSet<u32>,
}

impl Share {
    /// The indices below `instances`.
    pub fn of(generation: GenerationId, instances: u32) -> Self {
        Self { generation, indices: (0..instances).collect() }
    }
}

impl Release {
    /// As the app is set now. None while it has no droplet.
    pub fn of<'a>(
        app: &App,
        processes: impl IntoIterator<Item = &'a Process>,
        sidecars: Vec<SidecarSpec>,
    ) -> Option<Self> {
        let released = |process: &Process| ReleasedProcess {
            command: process.command.clone(),
            limits: process.limits,
            health_check: process.health_check.clone(),
            readiness_check: process.readiness_check.clone(),
        };
        let processes = processes.into_iter();
        Some(Self {
            droplet: app.current_droplet?,
            environment: app.environment.clone(),
            processes: processes.map(|one| (one.kind.clone(), released(one))).collect(),
            sidecars,
        })
    }

    /// Sets the app and one of its processes as they were.
    pub fn restore(&self, app: &mut App, process: &mut Process) {
        app.current_droplet = Some(self.droplet);
        app.environment.clone_from(&self.environment);
        if let Some(released) = self.processes.get(&process.kind) {
            process.command.clone_from(&released.command);
            process.limits = released.limits;
            process.health_check.clone_from(&released.health_check);
            process.readiness_check.clone_from(&released.readiness_check);
        }
    }
}
