//! Buildpacks: the programs that turn source into a droplet.

use serde::{Deserialize, Serialize};

use crate::{ids::BuildpackId, orgs::Metadata, time::Timestamp};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buildpack {
    pub id: BuildpackId,
    /// `nodejs_buildpack`, ...
    pub name: String,
    /// Order of detection, from 1.
    pub position: u32,
    pub enabled: bool,
    pub locked: bool,
    /// The folder name of a buildpack that is part of the binary.
    pub builtin: Option<String>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
