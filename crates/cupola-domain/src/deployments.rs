//! Deployments: replacing the instances of an app's `web` process, some at a time.

pub mod plan;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    audit::Party,
    generations::Share,
    ids::{AppId, DeploymentId, DropletId, GenerationId, RevisionId},
    orgs::Metadata,
    processes::{InstanceLimits, Process},
    release_phase::ReleasePhase,
    restoring::Restoration,
    sidecars::SidecarSpec,
    time::Timestamp,
    traffic::{Cost, CostPhase},
};

/// How the new instances come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "strategy", rename_all = "snake_case")]
pub enum Strategy {
    /// Until all are new.
    Rolling,
    /// As many as each step says, and then waiting to be continued. The weights are per cent of the
    /// instances, ascending; without any there is one pause, with one new instance beside all old.
    Canary { weights: Vec<u8> },
}

impl Strategy {
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Rolling => "rolling",
            Self::Canary { .. } => "canary",
        }
    }

    /// How many pauses there are.
    pub fn steps(&self) -> usize {
        match self {
            Self::Rolling => 0,
            Self::Canary { weights } => weights.len().max(1),
        }
    }
}

/// Where a deployment is. The first three are `ACTIVE`, the others `FINALIZED`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DeploymentState {
    Deploying,
    /// A canary step is reached; waits to be continued.
    Paused,
    /// The old instances come back.
    Canceling,
    Deployed,
    Canceled,
    /// A newer deployment, a restart or a stop took its place.
    Superseded,
}

impl DeploymentState {
    pub const ALL: [Self; 6] = [
        Self::Deploying,
        Self::Paused,
        Self::Canceling,
        Self::Deployed,
        Self::Canceled,
        Self::Superseded,
    ];

    /// As the API names it: `status.reason`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Deploying => "DEPLOYING",
            Self::Paused => "PAUSED",
            Self::Canceling => "CANCELING",
            Self::Deployed => "DEPLOYED",
            Self::Canceled => "CANCELED",
            Self::Superseded => "SUPERSEDED",
        }
    }

    pub const fn is_active(self) -> bool {
        matches!(self, Self::Deploying | Self::Paused | Self::Canceling)
    }
}

/// What the `web` process gets with its new instances; none leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WebOptions {
    pub instances: Option<u32>,
    pub memory_mib: Option<u32>,
    pub disk_mib: Option<u32>,
    pub log_rate_bytes_per_s: Option<i64>,
}

impl WebOptions {
    /// These limits with what is asked for.
    pub fn limits(self, limits: InstanceLimits) -> InstanceLimits {
        InstanceLimits {
            memory_mib: self.memory_mib.unwrap_or(limits.memory_mib),
            disk_mib: self.disk_mib.unwrap_or(limits.disk_mib),
            log_rate_bytes_per_s: self.log_rate_bytes_per_s.unwrap_or(limits.log_rate_bytes_per_s),
        }
    }

    pub fn apply(self, process: &mut Process) {
        process.instances = self.instances.unwrap_or(process.instances);
        process.limits = self.limits(process.limits);
    }
}

/// What the app had before, for the case that the deployment is cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    pub droplet: Option<DropletId>,
    pub environment: BTreeMap<String, String>,
    /// The users' own commands by process type.
    pub commands: BTreeMap<String, Option<String>>,
    #[serde(default)]
    pub sidecars: Vec<SidecarSpec>,
}

/// A rollback of what surrounds an app, and who asked for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restores {
    pub restoration: Restoration,
    pub actor: Party,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deployment {
    pub id: DeploymentId,
    pub app_id: AppId,
    pub strategy: Strategy,
    /// So many instances may be in the making at a time, beyond those that are wanted.
    pub max_in_flight: u32,
    pub web: WebOptions,
    pub droplet: DropletId,
    pub before: Before,
    /// What changes around the app when this is deployed.
    #[serde(default)]
    pub restores: Option<Restores>,
    /// With its version.
    pub revision: Option<(RevisionId, u32)>,
    /// Of the new generation. No new instance is started before it has succeeded.
    #[serde(default)]
    pub release_phase: Option<ReleasePhase>,
    pub state: DeploymentState,
    /// Canary steps that were begun, counted from 1; 0 for a rolling deployment. One more than there
    /// are steps: the last pause is over.
    pub step: usize,
    /// The new instances.
    pub new: Share,
    /// What they replace, oldest first: more than one after a deployment that was superseded.
    pub replaces: Vec<Share>,
    /// Why it does not get on, or did not.
    pub error: Option<String>,
    /// When a new instance was found healthy last.
    pub healthy_at: Option<Timestamp>,
    pub state_changed_at: Timestamp,
    /// What it cost the users. None of those that are older than the counting.
    #[serde(default)]
    pub cost: Option<Cost>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Deployment {
    /// Every generation that its app has instances of.
    pub fn shares(&self) -> impl DoubleEndedIterator<Item = &Share> {
        self.replaces.iter().chain([&self.new])
    }

    /// Whether its requests are still being counted.
    pub fn is_cost_due(&self) -> bool {
        self.cost.as_ref().is_some_and(|cost| cost.phase != CostPhase::Final)
    }

    /// The generation that a cancelled deployment goes back to.
    pub fn oldest(&self) -> Option<GenerationId> {
        self.replaces.first().map(|share| share.generation)
    }
}
