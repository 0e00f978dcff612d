//! Sidecars.

use serde::{Deserialize, Serialize};

use crate::list::{Links, ToOne};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sidecar {
    pub guid: String,
    pub name: String,
    pub command: String,
    pub process_types: Vec<String>,
    pub memory_in_mb: Option<u32>,
    /// `user` or `buildpack`.
    pub origin: String,
    pub relationships: SidecarRelationships,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SidecarRelationships {
    pub app: ToOne,
}

/// A new sidecar, or a change of one.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SidecarBody {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub command: Option<String>,
    #[serde(default)]
    pub process_types: Option<Vec<String>>,
    /// Null takes the bound away.
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub memory_in_mb: Option<Option<i64>>,
}
