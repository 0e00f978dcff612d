//! Organisations.

use serde::{Deserialize, Serialize};

use crate::{
    list::Links,
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Organization {
    pub guid: String,
    pub name: String,
    pub suspended: bool,
    pub relationships: serde_json::Value,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateOrganization {
    pub name: String,
    pub suspended: Option<bool>,
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateOrganization {
    pub name: Option<String>,
    pub suspended: Option<bool>,
    pub metadata: Option<MetadataPatch>,
}
