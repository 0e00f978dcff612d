//! Request and response types of the HTTP API, shared by server, CLI and console.
//!
//! Invariant: data only, as it is on the wire. Names are the API's own.

pub mod apps;
pub mod audit_events;
pub mod buildpacks;
pub mod builds;
pub mod changes;
pub mod costs;
pub mod deployments;
pub mod domains;
pub mod dora;
pub mod droplets;
pub mod feature_flags;
pub mod jobs;
pub mod ladders;
pub mod list;
pub mod log_cache;
pub mod manifests;
pub mod metadata;
pub mod organizations;
pub mod packages;
pub mod processes;
pub mod restore;
pub mod revisions;
pub mod roles;
pub mod routes;
pub mod services;
pub mod sidecars;
pub mod spaces;
pub mod stacks;
pub mod status;
pub mod tasks;
pub mod uaa;
pub mod users;
pub mod why;

use serde::{Deserialize, Deserializer};

/// Tells a key that is `null` from one that is not there.
pub(crate) fn given<'de, T, D>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    Option::<T>::deserialize(deserializer).map(Some)
}
