//! What the stager is told by the binary's configuration.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use crate::host_environment::HostEnvironment;

/// Folders, limits and the host's way to its package registries.
#[derive(Clone, Debug)]
pub struct StagerConfig {
    /// Embedded buildpacks are extracted here. Lost content is made again.
    pub buildpacks_dir: PathBuf,
    /// One folder per app, kept between builds.
    pub caches_dir: PathBuf,
    /// Emptied at start: what running sandboxes are shown.
    pub scratch_dir: PathBuf,
    /// The stack that uploads are unpacked on; the role that does it needs nothing of it.
    pub upload_stack: String,
    pub host_environment: HostEnvironment,
    pub upload_limits: UploadLimits,
    /// For archives of droplets, which hold dependencies too.
    pub droplet_limits: UploadLimits,
    /// Files above this size are never known to a later push.
    pub resource_bytes_max: u64,
    /// Of one package, how many bytes may be known.
    pub resources_bytes_max: u64,
    /// The lists of the files of all packages together; beyond it, what was not used for longest
    /// goes.
    pub lists_bytes_max: u64,
    /// A cache that is larger after a build is dropped.
    pub cache_bytes_max: u64,
    /// Processes and threads of one build.
    pub build_pids_max: u32,
    /// Relative to the 100 of an instance: builds yield to running apps.
    pub build_cpu_weight: u32,
}

impl StagerConfig {
    /// The default limits, with every folder below `data_dir`, on the stack of the host.
    pub fn below(data_dir: &Path, host_environment: HostEnvironment) -> Self {
        Self {
            buildpacks_dir: data_dir.join("buildpacks"),
            caches_dir: data_dir.join("caches"),
            scratch_dir: data_dir.join("staging"),
            upload_stack: "host".to_owned(),
            host_environment,
            upload_limits: UploadLimits::default(),
            droplet_limits: UploadLimits {
                entries_max: 300_000,
                unpacked_mib_max: 4096,
                memory_mib: 512,
                time_max: Duration::from_secs(600),
                ..UploadLimits::default()
            },
            resource_bytes_max: 64 << 20,
            resources_bytes_max: 1 << 30,
            lists_bytes_max: 256 << 20,
            cache_bytes_max: 1 << 30,
            build_pids_max: 1024,
            build_cpu_weight: 20,
        }
    }
}

/// What an upload may unpack to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadLimits {
    /// Files, folders and links, those that are only implied by a path included.
    pub entries_max: u32,
    pub unpacked_mib_max: u32,
    /// How many times its own size a zip may unpack to. Small archives are let off.
    pub ratio_max: u32,
    pub memory_mib: u32,
    pub time_max: Duration,
}

impl Default for UploadLimits {
    fn default() -> Self {
        Self {
            entries_max: 60_000,
            unpacked_mib_max: 1024,
            ratio_max: 200,
            memory_mib: 256,
            time_max: Duration::from_secs(180),
        }
    }
}
