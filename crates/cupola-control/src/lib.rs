//! Use cases (one file per noun), reconcilers (one file per loop), jobs and audit.
//!
//! Invariant: knows ports only. No HTTP, no SQL, no container.

mod app_log;
mod control;
mod crashes;
mod error;
mod launch_spec;
mod names;
mod paging;
mod reconcile;
mod release_phase;
mod scope;

pub mod apps;
pub mod bootstrap;
pub mod buildpacks;
pub mod builds;
pub mod caller;
pub mod changes;
pub mod deployments;
pub mod domains;
pub mod dora;
pub mod droplets;
pub mod events;
pub mod feature_flags;
pub mod identity;
pub mod jobs;
pub mod ladders;
pub mod manifest;
pub mod orgs;
pub mod packages;
pub mod processes;
pub mod restoring;
pub mod revisions;
pub mod roles;
pub mod routes;
pub mod services;
pub mod sidecars;
pub mod spaces;
pub mod tasks;
pub mod usage;
pub mod users;
pub mod vault;
pub mod why;

pub use apps::told::HIDDEN;
pub use control::{Control, InstanceSettings, Ports, Settings, StagingSettings};
pub use error::ControlError;
pub use paging::{ListRequest, order_by};
pub use reconcile::Loops;
pub use scope::Owners;
