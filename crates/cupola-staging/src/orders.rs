//! The words between the trusted half and the roles inside a sandbox: an order in, a result out.
//!
//! Both halves are one binary, but a sandbox may outlive an upgrade of it, and the result comes
//! from a place where users' programs run. So both carry a version, and the reader checks it.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Path, PathBuf},
};

use cupola_domain::{droplets::UsedBuildpack, sidecars::SidecarSpec};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

pub(crate) const VERSION: u32 = 1;
/// Results are small; a larger one was not written by a role.
pub(crate) const RESULT_BYTES_MAX: u64 = 1 << 20;
const ORDER_BYTES_MAX: u64 = 64 << 20;

/// Where things are inside a sandbox.
pub(crate) mod inside {
    pub(crate) const HOME: &str = "/home/vcap";
    pub(crate) const APP: &str = cupola_domain::launch::APP_DIR;
    pub(crate) const DEPS: &str = cupola_domain::launch::DEPS_DIR;
    pub(crate) const TMP: &str = cupola_domain::launch::TMP_DIR;
    pub(crate) const PROFILE: &str = "/home/vcap/profile.d";
    pub(crate) const LOGS: &str = "/home/vcap/logs";
    pub(crate) const STAGING_INFO: &str = "/home/vcap/staging_info.yml";
    /// The roles' own folder: in no layer.
    pub(crate) const WORK: &str = "/home/vcap/.cupola";
    pub(crate) const RESULT: &str = "/home/vcap/.cupola/result.json";
    pub(crate) const ORDER: &str = "/in/order.json";
    pub(crate) const DROPLET: &str = "/in/droplet.tgz";
    pub(crate) const ZIP: &str = "/in/upload.zip";
    pub(crate) const KNOWN: &str = "/in/known";
    pub(crate) const BUILDPACKS: &str = "/in/buildpacks";
    pub(crate) const CACHE: &str = "/in/cache";
    pub(crate) const HOST_FILES: &str = "/in/host";
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versioned<T> {
    pub(crate) version: u32,
    #[serde(flatten)]
    pub(crate) content: T,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnpackOrder {
    pub(crate) zip: Option<PathBuf>,
    /// The archive of a droplet, instead of all other content.
    #[serde(default)]
    pub(crate) droplet: Option<PathBuf>,
    /// Holds the content of each known file under its SHA-1.
    pub(crate) known_dir: PathBuf,
    pub(crate) known: Vec<KnownFile>,
    pub(crate) into: PathBuf,
    pub(crate) result: PathBuf,
    pub(crate) limits: UnpackLimits,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KnownFile {
    pub(crate) sha1: String,
    pub(crate) path: String,
    pub(crate) mode: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct UnpackLimits {
    pub(crate) entries_max: usize,
    pub(crate) bytes_max: u64,
    pub(crate) ratio_max: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum UnpackOutcome {
    Unpacked {
        files: u64,
        bytes: u64,
    },
    Droplet(FoundDroplet),
    Empty,
    Invalid {
        reason: String,
    },
    TooLarge,
    /// The role could not do its work, whatever the upload was.
    Failed {
        reason: String,
    },
}

/// What the archive of a droplet says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FoundDroplet {
    /// The metadata that a Cupola packed with it, as text.
    pub(crate) record: Option<String>,
    /// Of `staging_info.yml` and the Procfile.
    pub(crate) process_types: BTreeMap<String, String>,
    pub(crate) detected_buildpack: Option<String>,
    pub(crate) has_deps: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildOrder {
    pub(crate) buildpacks: Vec<BuildpackSource>,
    /// Whether the first whose `detect` matches is taken; otherwise all are run, in order.
    pub(crate) detect: bool,
    pub(crate) paths: BuildPaths,
    /// What legacy buildpacks find as files in their third argument.
    pub(crate) user_environment: BTreeMap<String, String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct BuildPaths {
    pub(crate) app: PathBuf,
    pub(crate) deps: PathBuf,
    pub(crate) cache: PathBuf,
    pub(crate) profile: PathBuf,
    pub(crate) logs: PathBuf,
    pub(crate) tmp: PathBuf,
    pub(crate) staging_info: PathBuf,
    pub(crate) work: PathBuf,
    pub(crate) result: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum BuildpackSource {
    Folder { name: String, path: PathBuf },
    Git { name: String, url: String, branch: Option<String> },
}

impl BuildpackSource {
    pub(crate) fn name(&self) -> &str {
        match self {
            Self::Folder { name, .. } | Self::Git { name, .. } => name,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum BuildOutcome {
    Staged {
        process_types: BTreeMap<String, String>,
        #[serde(default)]
        sidecars: Vec<SidecarSpec>,
        buildpacks: Vec<UsedBuildpack>,
        has_deps: bool,
    },
    Failed {
        step: BuildStep,
        buildpack: Option<String>,
        cause: String,
        shortage: Option<Shortage>,
    },
}

/// What a build ran out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shortage {
    Memory,
    Disk,
}

/// Where a build ended. The numbers are the exit codes of Cloud Foundry's own builder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum BuildStep {
    Prepare,
    Detect,
    Supply,
    Compile,
    Finalize,
    Release,
    Processes,
}

impl BuildStep {
    pub(crate) const fn exit_code(self) -> u8 {
        match self {
            Self::Prepare | Self::Processes => 1,
            Self::Detect => 222,
            Self::Compile => 223,
            Self::Release => 224,
            Self::Supply => 225,
            Self::Finalize => 226,
        }
    }

    pub(crate) fn from_exit_code(code: i32) -> Self {
        [Self::Detect, Self::Compile, Self::Release, Self::Supply, Self::Finalize]
            .into_iter()
            .find(|step| i32::from(step.exit_code()) == code)
            .unwrap_or(Self::Prepare)
    }
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum OrderError {
    #[error("cannot {action} {path}")]
    File {
        action: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("not in the expected form")]
    Form(#[from] serde_json::Error),
    #[error("has version {found}; this binary knows {VERSION}")]
    Version { found: u32 },
}

/// Writes an order or a result: whole, or not at all.
pub(crate) fn write<T: Serialize>(path: &Path, content: T) -> Result<(), OrderError> {
    let failed = |source| OrderError::File { action: "write", path: path.to_owned(), source };
    let text = serde_json::to_vec(&Versioned { version: VERSION, content })?;
    let new = path.with_extension("new");
    fs::write(&new, text).and_then(|()| fs::rename(&new, path)).map_err(failed)
}

pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<T, OrderError> {
    let failed = |source| OrderError::File { action: "read", path: path.to_owned(), source };
    parse(&crate::builder::files::read_bounded(path, ORDER_BYTES_MAX).map_err(failed)?)
}

pub(crate) fn parse<T: DeserializeOwned>(text: &[u8]) -> Result<T, OrderError> {
    #[derive(Deserialize)]
    struct Head {
        version: u32,
    }
    let head: Head = serde_json::from_slice(text)?;
    if head.version != VERSION {
        return Err(OrderError::Version { found: head.version });
    }
    Ok(serde_json::from_slice::<Versioned<T>>(text)?.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn result_of_another_version_is_refused_before_its_content_is_read() {
        let error = parse::<UnpackOutcome>(br#"{"version":2,"outcome":"from the future"}"#);

        assert!(matches!(error, Err(OrderError::Version { found: 2 })));
    }

    #[test]
    fn result_of_version_one_is_read() {
        let golden = br#"{"version":1,"outcome":"failed","step":"finalize","buildpack":"go","cause":"it exited with 1","shortage":"disk"}"#;

        let outcome = parse::<BuildOutcome>(golden).unwrap();

        let expected = BuildOutcome::Failed {
            step: BuildStep::Finalize,
            buildpack: Some("go".into()),
            cause: "it exited with 1".into(),
            shortage: Some(Shortage::Disk),
        };
        assert_eq!(outcome, expected);
    }
}
