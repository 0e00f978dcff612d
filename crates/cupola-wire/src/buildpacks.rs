//! Buildpacks.

use serde::{Deserialize, Serialize};

use crate::{
    list::Links,
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Buildpack {
    pub guid: String,
    pub name: String,
    /// None: works on every stack.
    pub stack: Option<String>,
    pub state: String,
    pub filename: Option<String>,
    pub position: u32,
    pub lifecycle: String,
    pub enabled: bool,
    pub locked: bool,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateBuildpack {
    pub name: Option<String>,
    pub stack: Option<String>,
    pub position: Option<u32>,
    pub enabled: Option<bool>,
    pub locked: Option<bool>,
    pub metadata: Option<MetadataPatch>,
}
