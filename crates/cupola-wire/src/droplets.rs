//! Droplets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    apps::Lifecycle,
    list::{Links, ToOne},
    metadata::MetadataBody,
    packages::Checksum,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Droplet {
    pub guid: String,
    pub state: String,
    pub error: Option<String>,
    pub lifecycle: Lifecycle,
    pub execution_metadata: String,
    /// Start command by process type.
    pub process_types: BTreeMap<String, String>,
    /// None until there is something to sum up.
    pub checksum: Option<Checksum>,
    pub buildpacks: Vec<DropletBuildpack>,
    pub stack: String,
    pub image: Option<String>,
    pub relationships: DropletRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DropletBuildpack {
    pub name: String,
    pub detect_output: Option<String>,
    pub buildpack_name: Option<String>,
    pub version: Option<String>,
}

/// A droplet to upload, or a copy of one that the query names.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CreateDroplet {
    pub relationships: DropletRelationships,
    /// Start command by process type, for a droplet to upload.
    #[serde(default)]
    pub process_types: Option<BTreeMap<String, String>>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DropletRelationships {
    pub app: ToOne,
}
