//! Sidecars: further commands that run in the container of each instance of some processes.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, SidecarId},
    processes::Process,
    time::Timestamp,
};

/// Who named a sidecar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SidecarOrigin {
    User,
    /// A buildpack of the current droplet. A user's of the same name goes before it.
    Buildpack,
}

impl SidecarOrigin {
    /// As the API names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Buildpack => "buildpack",
        }
    }
}

/// What a sidecar is, wherever it is written down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SidecarSpec {
    /// Unique within the app.
    pub name: String,
    pub command: String,
    /// Sorted, each once.
    pub process_types: Vec<String>,
    /// Of the memory of the process, which has to be more than all of its sidecars have.
    pub memory_mib: Option<u32>,
    pub origin: SidecarOrigin,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    pub id: SidecarId,
    pub app_id: AppId,
    pub spec: SidecarSpec,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// An instance may have this many: each has two pipes and a process of the platform's limits.
pub const SIDECARS_MAX: usize = 10;

/// The sidecars of processes of this type.
pub fn of_process<'a>(
    all: &'a [SidecarSpec],
    kind: &'a str,
) -> impl Iterator<Item = &'a SidecarSpec> {
    all.iter().filter(move |one| one.process_types.iter().any(|other| other == kind))
}

/// Why the sidecars of a process cannot run with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misfit {
    /// Together they have as much memory as the process, or more.
    Memory,
    TooMany,
}

/// Whether a process and its sidecars fit together.
pub fn misfit(all: &[SidecarSpec], process: &Process) -> Option<Misfit> {
    let memory_mib: u64 = of_process(all, &process.kind)
        .filter_map(|sidecar| sidecar.memory_mib)
        .map(u64::from)
        .sum();
    if memory_mib > 0 && memory_mib >= u64::from(process.limits.memory_mib) {
        Some(Misfit::Memory)
    } else if of_process(all, &process.kind).count() > SIDECARS_MAX {
        Some(Misfit::TooMany)
    } else {
        None
    }
}
