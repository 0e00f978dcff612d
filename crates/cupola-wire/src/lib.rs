//! Request and response types of the HTTP API, shared by server, CLI and console.
//!
//! Invariant: data only, as it is on the wire. Names are the API's own.

pub mod audit_events;
pub mod buildpacks;
pub mod feature_flags;
pub mod jobs;
pub mod list;
pub mod metadata;
pub mod organizations;
pub mod roles;
pub mod spaces;
pub mod stacks;
pub mod status;
pub mod uaa;
pub mod users;
pub mod why;
