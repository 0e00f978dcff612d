//! The files by which control, shims and later versions of both tell each other what is so.
//!
//! Invariant: each has a version, is written whole (temporary file, then rename), and has a golden
//! file in the tests. A reader refuses a version that it does not know.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use cupola_domain::time::Timestamp;
use cupola_ports::cells::DesiredInstance;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::{Doing, RuntimeError};

/// The version that all formats of this module have now.
pub(crate) const VERSION: u32 = 1;

/// What a shim must know to start and watch one container: `launch.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Launch {
    pub version: u32,
    pub id: String,
    pub kind: Kind,
    /// The boot in which the container runs: after another one it is gone.
    pub boot_id: String,
    pub runtime: PathBuf,
    pub runtime_root: PathBuf,
    pub cgroup: String,
    /// Where the shim finds the namespaces that were made for it.
    pub user_namespace: PathBuf,
    pub net_namespace: PathBuf,
    pub uid_base: u32,
    /// Trees, lowest first.
    pub lowers: Vec<PathBuf>,
    /// Whether the trees have container-relative owners and must be mounted id-mapped.
    pub idmapped: bool,
    /// Becomes the disk of the container; removed as soon as it is mounted.
    pub disk_image: PathBuf,
    pub disk_mib: u32,
    pub memory_mib: u32,
    pub hosts: String,
    pub resolv_conf: String,
    pub binds: Vec<LaunchBind>,
    /// Bytes per second; -1 is unlimited.
    pub log_rate_bytes_per_s: i64,
    /// How much output is kept while control is away or slow.
    pub spool_bytes_max: u64,
    /// How many programs run beside the first: each has a pair of pipes of its own.
    #[serde(default, skip_serializing_if = "is_none")]
    pub sidecars: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_none(count: &u16) -> bool {
    *count == 0
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Instance,
    Sandbox,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LaunchBind {
    pub source: PathBuf,
    pub writable: bool,
}

/// What control must know to adopt an instance: `instance.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct InstanceRecord {
    pub version: u32,
    pub desired: DesiredInstance,
    pub address: std::net::Ipv4Addr,
}

/// The container's first process, seen from the host: `started.json`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Started {
    pub version: u32,
    pub pid: i32,
    /// In clock ticks since boot, so that a reused process id is noticed.
    pub start_ticks: u64,
    pub at: Timestamp,
}

/// How a container ended: `exit.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub version: u32,
    pub end: End,
    /// The sidecar whose end that was, counted from 0. None: the instance's first program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sidecar: Option<u16>,
    /// How many processes the kernel ended because of the memory limit.
    pub oom_kills: u64,
    /// It was told to end.
    pub stop_asked: bool,
    /// It had to be killed.
    pub killed: bool,
    pub disk_full: bool,
    pub memory_peak_bytes: Option<u64>,
    pub started_at: Timestamp,
    pub ended_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "end", rename_all = "snake_case")]
pub(crate) enum End {
    Exited { code: i32 },
    Signaled { signal: i32 },
    NotStarted { detail: String },
    Unknown,
}

/// What `cupola down` must know when control is not there: `runtime.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Description {
    pub version: u32,
    pub installation: String,
    pub runtime: PathBuf,
    pub nft: PathBuf,
    pub subnet: crate::config::Cidr,
}

/// What a finished layer is: `layer.json` beside its tree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    pub version: u32,
    pub digest: cupola_domain::droplets::LayerDigest,
    pub bytes: u64,
    pub entries: u64,
    /// The boot in which it was written, until it is known to be on the disk: after another boot its
    /// files may be short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsynced_boot: Option<String>,
}

/// A record with a version.
pub(crate) trait Versioned: Serialize + DeserializeOwned {
    fn version(&self) -> u32;
}

macro_rules! versioned {
    ($($name:ident)*) => {$(
        impl Versioned for $name {
            fn version(&self) -> u32 {
                self.version
            }
        }
    )*};
}

versioned! { Launch InstanceRecord Started ExitRecord Description LayerRecord }

/// Reads a record; none if the file is not there.
pub(crate) fn read<T: Versioned>(path: &Path) -> Result<Option<T>, RuntimeError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).doing(|| format!("read `{}`", path.display())),
    };
    let format = |detail| RuntimeError::Format { what: path.display().to_string(), detail };
    let record: T = serde_json::from_slice(&bytes).map_err(|error| format(error.to_string()))?;
    if record.version() > VERSION {
        return Err(format(format!(
            "version {} is newer than this program; upgrade it",
            record.version()
        )));
    }
    Ok(Some(record))
}

/// Writes a record whole.
pub(crate) fn write<T: Versioned>(path: &Path, record: &T) -> Result<(), RuntimeError> {
    let bytes = serde_json::to_vec(record).map_err(|error| RuntimeError::Format {
        what: "record".into(),
        detail: error.to_string(),
    })?;
    let unfinished = path.with_extension("unfinished");
    write_private(&unfinished, &bytes).doing(|| format!("write `{}`", unfinished.display()))?;
    fs::rename(&unfinished, path).doing(|| format!("write `{}`", path.display()))
}

/// Records may hold the environment of an app.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file =
        fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(bytes)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn golden(name: &str) -> Value {
        let all: Value =
            serde_json::from_str(include_str!("../tests/golden/records-v1.json")).unwrap();
        all[name].clone()
    }

    fn reads_and_writes_back<T: Versioned>(name: &str) {
        let record: T = serde_json::from_value(golden(name)).unwrap();

        assert_eq!(record.version(), 1);
        assert_eq!(serde_json::to_value(&record).unwrap(), golden(name));
    }

    #[test]
    fn records_keep_the_form_of_version_1() {
        reads_and_writes_back::<Launch>("launch");
        reads_and_writes_back::<InstanceRecord>("instance");
        reads_and_writes_back::<Started>("started");
        reads_and_writes_back::<ExitRecord>("exit");
        reads_and_writes_back::<Launch>("launch_with_sidecars");
        reads_and_writes_back::<InstanceRecord>("instance_with_sidecars");
        reads_and_writes_back::<ExitRecord>("exit_of_sidecar");
        reads_and_writes_back::<Description>("description");
        reads_and_writes_back::<LayerRecord>("layer");
        reads_and_writes_back::<LayerRecord>("unsynced_layer");
    }

    #[test]
    fn a_record_of_a_newer_version_is_refused() {
        let folder = tempfile::TempDir::new().unwrap();
        let path = folder.path().join("started.json");
        let mut newer = golden("started");
        newer["version"] = 2.into();
        fs::write(&path, newer.to_string()).unwrap();

        let refused = read::<Started>(&path).unwrap_err().to_string();

        assert!(refused.contains("newer than this program"), "{refused}");
        assert!(read::<Started>(&folder.path().join("none")).unwrap().is_none());
    }
}
