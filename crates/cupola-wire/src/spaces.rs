//! Spaces.

use serde::{Deserialize, Serialize};

use crate::{
    list::{Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Space {
    pub guid: String,
    pub name: String,
    pub relationships: SpaceRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SpaceRelationships {
    pub organization: ToOne,
    #[serde(default)]
    pub quota: Option<ToOne>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateSpace {
    pub name: String,
    pub relationships: SpaceRelationships,
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateSpace {
    pub name: Option<String>,
    pub metadata: Option<MetadataPatch>,
}

/// A feature of a space or an app that can be on or off.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Feature {
    pub name: String,
    pub description: String,
    pub enabled: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateFeature {
    pub enabled: bool,
}
