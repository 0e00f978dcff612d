//! Nouns, typed ids, states and pure planners.
//!
//! Invariant: no IO and no clock. Time, randomness and the outside arrive as arguments.

pub mod access;
pub mod apps;
pub mod audit;
pub mod buildpacks;
pub mod builds;
pub mod changes;
pub mod commits;
pub mod crash_policy;
pub mod deployments;
pub mod domains;
pub mod dora;
pub mod droplets;
pub mod feature_flags;
pub mod generations;
pub mod ids;
pub mod instance_plan;
pub mod instances;
pub mod jobs;
pub mod ladders;
pub mod launch;
pub mod orgs;
pub mod packages;
pub mod processes;
pub mod release_phase;
pub mod restoring;
pub mod revisions;
pub mod roles;
pub mod route_table;
pub mod routes;
pub mod sealed;
pub mod services;
pub mod sidecars;
pub mod spaces;
pub mod tasks;
pub mod time;
pub mod traffic;
pub mod users;
