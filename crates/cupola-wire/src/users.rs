//! Users of the v3 API.

use serde::{Deserialize, Serialize};

use crate::{
    list::Links,
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    pub guid: String,
    pub username: Option<String>,
    pub presentation_name: String,
    pub origin: Option<String>,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

/// By `guid`, or by `username` and `origin`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    pub guid: Option<String>,
    pub username: Option<String>,
    pub origin: Option<String>,
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateUser {
    pub metadata: Option<MetadataPatch>,
}
