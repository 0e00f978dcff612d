//! The API through its router, on a platform whose cells and stager are fakes.

#![expect(clippy::unwrap_used, reason = "a test ends at its first surprise")]

mod accounts;
mod apps;
mod authorization;
mod buildpacks;
mod builds;
mod changes;
mod crashes;
mod cupola;
mod deployments;
mod droplets;
mod empty;
mod error_details;
mod feature_flags;
mod jobs;
mod lists;
mod log_cache;
mod manifests;
mod organizations;
mod packages;
mod pull;
mod push;
mod release_phase;
mod restoring;
mod roles;
mod root;
mod routes;
mod routes_of_teams;
mod services;
mod sidecars;
mod spaces;
mod staging_queue;
mod tasks;
mod tokens;
mod users;
