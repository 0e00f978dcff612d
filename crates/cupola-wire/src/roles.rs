//! Roles.

use serde::{Deserialize, Serialize};

use crate::list::{Links, ToOne};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Role {
    pub guid: String,
    #[serde(rename = "type")]
    pub kind: String,
    pub relationships: RoleRelationships,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

/// Of organisation and space one has no data.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoleRelationships {
    pub user: ToOne,
    pub organization: ToOne,
    pub space: ToOne,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRole {
    #[serde(rename = "type")]
    pub kind: String,
    pub relationships: CreateRoleRelationships,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRoleRelationships {
    pub user: RoleHolder,
    pub organization: Option<ToOne>,
    pub space: Option<ToOne>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RoleHolder {
    pub data: RoleHolderData,
}

/// By `guid`, or by `username` and perhaps `origin`.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleHolderData {
    pub guid: Option<String>,
    pub username: Option<String>,
    pub origin: Option<String>,
}
