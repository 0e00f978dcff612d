//! Turns uploads into packages and packages into droplets with ordinary buildpacks.
//!
//! Two halves meet here. The adapter [`BuildpackStager`] is trusted and runs in the platform's
//! process; the roles [`unpack_main`] and [`builder_main`] run inside a sandbox, touch what users
//! sent, and are believed nothing: what they hand back is bounded, versioned and checked.
//!
//! Invariant: nothing that a user sent is parsed, unpacked or executed outside a sandbox.

mod builder;
mod buildpacks;
mod caches;
mod config;
mod droplet_archive;
mod host_environment;
mod orders;
mod stager;
mod unpack;

pub use builder::builder_main;
pub use config::{StagerConfig, UploadLimits};
pub use host_environment::{HostEnvironment, HostFiles, host_registry_environment};
pub use stager::{BuildpackStager, StagerSetupError};
pub use unpack::unpack_main;

/// The first argument that makes the platform's binary unpack an upload inside a sandbox.
pub const UNPACK_ROLE: &str = "unpack";
/// The first argument that makes the platform's binary stage an app inside a sandbox.
pub const BUILDER_ROLE: &str = "builder";
