//! Revisions.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    list::{Guid, Links, ToOne},
    metadata::MetadataBody,
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Revision {
    pub guid: String,
    pub version: u32,
    pub droplet: Guid,
    /// By process type.
    pub processes: BTreeMap<String, RevisionProcess>,
    pub sidecars: Vec<RevisionSidecar>,
    pub description: String,
    /// Its droplet is still there.
    pub deployable: bool,
    pub relationships: RevisionRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionSidecar {
    pub name: String,
    /// For those who may see it.
    pub command: Option<String>,
    pub process_types: Vec<String>,
    pub memory_in_mb: Option<u32>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionProcess {
    pub command: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionRelationships {
    pub app: ToOne,
}
