//! Droplets: staged apps, as layers addressed by digest.

use std::{collections::BTreeMap, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, DropletId, PackageId},
    orgs::Metadata,
    sidecars::SidecarSpec,
    time::Timestamp,
};

/// The SHA-256 of a layer's canonical, uncompressed tar: the `diff_id` of the OCI image
/// specification, so that a layer keeps its digest when it is exported.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LayerDigest(String);

/// A text that is not `sha256:` and 64 lower-case hexadecimal digits.
#[derive(Debug, thiserror::Error)]
#[error("`{0}` is not a layer digest: expected sha256: and 64 lower-case hexadecimal digits")]
pub struct NotALayerDigest(String);

impl LayerDigest {
    pub fn from_sha256(hash: [u8; 32]) -> Self {
        use fmt::Write;
        let mut text = String::from("sha256:");
        for byte in hash {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The digits without `sha256:`, safe as a file name.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl FromStr for LayerDigest {
    type Err = NotALayerDigest;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.strip_prefix("sha256:").unwrap_or_default();
        let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if digits.len() == 64 && digits.bytes().all(is_lower_hex) {
            Ok(Self(text.to_owned()))
        } else {
            Err(NotALayerDigest(text.to_owned()))
        }
    }
}

impl TryFrom<String> for LayerDigest {
    type Error = NotALayerDigest;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<LayerDigest> for String {
    fn from(digest: LayerDigest) -> Self {
        digest.0
    }
}

impl fmt::Display for LayerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for LayerDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One buildpack that took part in staging.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsedBuildpack {
    /// The name that it was asked for by: `nodejs_buildpack` or a URL.
    pub name: String,
    /// What its `detect` printed.
    pub detect_output: Option<String>,
    /// From `config.yml` of its dependency folder.
    pub buildpack_name: Option<String>,
    pub version: Option<String>,
    /// Which version of its language it has chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime: Option<Runtime>,
}

/// The interpreter or compiler that a buildpack has chosen: `runtime` in its `config.yml`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runtime {
    /// `node`, `python`, `go`, ...
    pub name: String,
    pub version: String,
    /// The variable by which a build is told to take exactly this version.
    pub pin: String,
}

/// The version of droplet metadata. A newer one than this build knows cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct DropletVersion(u32);

/// Droplet metadata of a newer platform.
#[derive(Debug, thiserror::Error)]
#[error("droplet metadata has version {0}, and this platform knows only up to 1; upgrade it")]
pub struct NewerDroplet(u32);

impl DropletVersion {
    /// What this build writes.
    pub const CURRENT: Self = Self(1);
}

impl TryFrom<u32> for DropletVersion {
    type Error = NewerDroplet;

    fn try_from(version: u32) -> Result<Self, Self::Error> {
        if version <= Self::CURRENT.0 { Ok(Self(version)) } else { Err(NewerDroplet(version)) }
    }
}

impl From<DropletVersion> for u32 {
    fn from(version: DropletVersion) -> Self {
        version.0
    }
}

/// The outcome of staging: the droplet metadata, which outlives the build that wrote it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DropletContents {
    pub version: DropletVersion,
    /// Lowest first; each is a tree relative to the root of the container.
    pub layers: Vec<LayerDigest>,
    /// Start command by process type.
    pub process_types: BTreeMap<String, String>,
    /// Those that its buildpacks name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sidecars: Vec<SidecarSpec>,
    pub buildpacks: Vec<UsedBuildpack>,
    pub stack: String,
    /// Release and package list of the stack it was staged on, hashed.
    pub stack_digest: String,
}

impl DropletContents {
    /// Of a droplet whose archive is still to be uploaded.
    pub const fn empty(stack: String) -> Self {
        Self {
            version: DropletVersion::CURRENT,
            layers: Vec::new(),
            process_types: BTreeMap::new(),
            sidecars: Vec::new(),
            buildpacks: Vec::new(),
            stack,
            stack_digest: String::new(),
        }
    }
}

/// Where a droplet is on its way to something that can be started.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DropletState {
    AwaitingUpload,
    ProcessingUpload,
    /// It can be started. What a build makes is never in another state.
    #[default]
    Staged,
    Failed {
        error: String,
    },
}

impl DropletState {
    /// As the API and the database name it.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AwaitingUpload => "AWAITING_UPLOAD",
            Self::ProcessingUpload => "PROCESSING_UPLOAD",
            Self::Staged => "STAGED",
            Self::Failed { .. } => "FAILED",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Droplet {
    pub id: DropletId,
    pub app_id: AppId,
    pub package_id: Option<PackageId>,
    /// Rows of older platforms are of staged droplets only.
    #[serde(default)]
    pub state: DropletState,
    /// Without layers until the state is `STAGED`.
    pub contents: DropletContents,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

impl Droplet {
    pub fn is_staged(&self) -> bool {
        self.state == DropletState::Staged
    }

    /// What was uploaded is there. Start commands that were given with the droplet win over those of
    /// its archive.
    pub fn become_staged(&mut self, contents: DropletContents) {
        let given = std::mem::replace(&mut self.contents, contents).process_types;
        self.contents.process_types.extend(given);
        self.state = DropletState::Staged;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_whole_lower_case_sha256_is_a_digest() {
        let good = LayerDigest::from_sha256([0xab; 32]);

        assert_eq!(good.to_string().parse::<LayerDigest>().unwrap(), good);
        assert!("sha256:../../etc".parse::<LayerDigest>().is_err());
        assert!(good.to_string().to_uppercase().parse::<LayerDigest>().is_err());
    }

    const GOLDEN: &str = r#"{"version":1,"layers":["sha256:abababababababababababababababababababababababababababababababab"],"process_types":{"web":"./run"},"buildpacks":[{"name":"binary_buildpack","detect_output":null,"buildpack_name":"binary","version":null}],"stack":"host","stack_digest":"sha256:00"}"#;

    #[test]
    fn version_1_is_read_and_written_as_it_was_first_written() {
        let contents: DropletContents = serde_json::from_str(GOLDEN).unwrap();

        assert_eq!(contents.layers, [LayerDigest::from_sha256([0xab; 32])]);
        assert_eq!(serde_json::to_string(&contents).unwrap(), GOLDEN);
    }

    #[test]
    fn newer_version_is_refused_and_says_what_to_do() {
        let newer = GOLDEN.replace(r#""version":1"#, r#""version":2"#);

        let error = serde_json::from_str::<DropletContents>(&newer).unwrap_err().to_string();

        assert!(error.contains("upgrade"), "{error}");
    }
}
