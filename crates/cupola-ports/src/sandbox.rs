//! One-off confined programs: unpacking of uploads, and staging.
//!
//! The same containers as instances have, with limits of their own and a result that outlives them:
//! the listed trees of the container's file system are frozen as layers when it ends well.

use std::{path::PathBuf, time::Duration};

use async_trait::async_trait;
use cupola_domain::droplets::LayerDigest;
use tokio::sync::{mpsc, watch};

/// Where every sandbox finds the platform's own binary, so that a role of it can be run inside:
/// `[ROLE_BINARY, "unpack", ...]`. It is the file that its init is, read-only, and executable by
/// `vcap`.
pub const ROLE_BINARY: &str = "/.cupola/init";

/// What to run and what to keep of it.
#[derive(Clone, Debug)]
pub struct SandboxSpec {
    /// A name for its folder, container and cgroup: letters, digits and `-`.
    pub id: String,
    /// Lowest first, above the stack.
    pub layers: Vec<LayerDigest>,
    pub stack: String,
    pub argv: Vec<String>,
    pub environment: Vec<(String, String)>,
    pub working_directory: String,
    pub binds: Vec<Bind>,
    pub limits: SandboxLimits,
    /// Whether it may reach package registries; otherwise it has no network at all.
    pub network: bool,
    /// Trees to keep when it exits with 0, each as a layer.
    pub freeze: Vec<Freeze>,
    /// Files to hand back whatever its exit code was, such as a result in JSON.
    pub hand_back: Vec<HandBack>,
}

/// A file or folder of the host that the container sees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bind {
    pub source: PathBuf,
    pub target: String,
    /// A writable folder is shown as owned by `vcap`.
    pub writable: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SandboxLimits {
    pub memory_mib: u32,
    pub disk_mib: u32,
    pub pids: u32,
    /// Relative to the 100 of an instance.
    pub cpu_weight: u32,
    pub time_max: Duration,
}

/// These trees, absolute in the container, become one layer. A path that is not there is left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Freeze {
    pub name: String,
    pub paths: Vec<String>,
}

/// One file, absolute in the container, of at most this size. Larger or missing: not handed back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandBack {
    pub path: String,
    pub bytes_max: u64,
}

/// A line that the program wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputLine {
    pub is_stderr: bool,
    /// Without its line end. Not always UTF-8.
    pub message: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SandboxExit {
    Exited { code: i32 },
    Signaled { signal: i32 },
    OutOfMemory,
    TimeUp,
    Cancelled,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SandboxOutcome {
    pub exit: SandboxExit,
    /// Lines that were lost because the program wrote faster than they were taken.
    pub lines_lost: u64,
    pub frozen: Vec<FrozenLayer>,
    /// Content by path, for those that were there.
    pub handed_back: Vec<(String, Vec<u8>)>,
}

/// A layer that was made, under the name that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrozenLayer {
    pub name: String,
    pub digest: LayerDigest,
    pub bytes: u64,
}

#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The host is at fault, not the program.
    #[error("cannot run a confined program: {action}")]
    Host {
        action: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("the layer {digest} is not there")]
    LayerMissing { digest: LayerDigest },
    /// The program filled its disk, so that its result could not be kept.
    #[error("the program wrote more than its {limit_mib} MiB of disk")]
    DiskFull { limit_mib: u32 },
}

#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs it to its end. When `cancel` turns true, or the future is dropped, the program is
    /// killed and nothing is kept. Lines are dropped and counted when `output` is full.
    async fn run(
        &self,
        spec: SandboxSpec,
        output: mpsc::Sender<OutputLine>,
        cancel: watch::Receiver<bool>,
    ) -> Result<SandboxOutcome, SandboxError>;
}

/// The layers that sandboxes froze and instances run on.
#[async_trait]
pub trait Layers: Send + Sync {
    async fn exists(&self, digest: &LayerDigest) -> bool;

    /// The regular files of a layer below `prefix`, for reading by trusted code: path relative to
    /// the prefix, size, mode bits and the host's path.
    async fn files(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Vec<LayerFile>, SandboxError>;

    /// The host's path of the folder `prefix` of a layer, for reading by trusted code that follows
    /// no link in it. None if the layer has no such folder.
    async fn folder(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Option<PathBuf>, SandboxError>;

    /// Removes the layers that are not in `used` and that are older than a day, so that one whose
    /// droplet is just being written is kept. Says how many bytes were freed.
    async fn retain(&self, used: &[LayerDigest]) -> Result<u64, SandboxError>;

    /// Release and package list of the stack, hashed.
    async fn stack_digest(&self, stack: &str) -> Result<String, SandboxError>;
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LayerFile {
    pub path: String,
    pub bytes: u64,
    pub mode: u32,
    pub host_path: PathBuf,
}
