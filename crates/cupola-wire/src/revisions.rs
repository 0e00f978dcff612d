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
    pub sidecars: Vec<serde_json::Value>,
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
pub struct RevisionProcess {
    pub command: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RevisionRelationships {
    pub app: ToOne,
}
