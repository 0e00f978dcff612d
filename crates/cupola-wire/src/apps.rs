//! Apps, their environment and their features.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    list::{Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct App {
    pub guid: String,
    pub name: String,
    /// `STARTED` or `STOPPED`: what is wanted.
    pub state: String,
    pub lifecycle: Lifecycle,
    pub relationships: AppRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Lifecycle {
    #[serde(rename = "type")]
    pub kind: String,
    pub data: LifecycleData,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LifecycleData {
    pub buildpacks: Vec<String>,
    pub stack: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppRelationships {
    pub space: ToOne,
    pub current_droplet: ToOne,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateApp {
    pub name: String,
    pub relationships: CreateAppRelationships,
    #[serde(default)]
    pub environment_variables: Option<BTreeMap<String, serde_json::Value>>,
    #[serde(default)]
    pub lifecycle: Option<LifecyclePatch>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateAppRelationships {
    pub space: ToOne,
}

/// Relationships of an app cannot be changed; the `cf` CLI sends an empty map of them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateApp {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub lifecycle: Option<LifecyclePatch>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
    #[serde(default)]
    pub relationships: Option<NoRelationships>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoRelationships {}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifecyclePatch {
    #[serde(rename = "type", default)]
    pub kind: Option<String>,
    #[serde(default)]
    pub data: LifecycleDataPatch,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LifecycleDataPatch {
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub buildpacks: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "crate::given", skip_serializing_if = "Option::is_none")]
    pub stack: Option<Option<String>>,
    /// Only for lifecycles that this platform does not have.
    #[serde(default)]
    pub credentials: Option<serde_json::Value>,
}

/// `GET /v3/apps/:guid/env`
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppEnv {
    pub staging_env_json: serde_json::Value,
    pub running_env_json: serde_json::Value,
    pub environment_variables: BTreeMap<String, String>,
    pub system_env_json: serde_json::Value,
    pub application_env_json: serde_json::Value,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct EnvironmentVariables {
    pub var: BTreeMap<String, String>,
    pub links: Links,
}

/// In requests `null` removes a variable, and what is no text becomes one.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentVariablesPatch {
    pub var: BTreeMap<String, serde_json::Value>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SshEnabled {
    pub enabled: bool,
    pub reason: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AppPermissions {
    pub read_basic_data: bool,
    pub read_sensitive_data: bool,
}

/// A relationship with its addresses.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkedToOne {
    pub data: Option<crate::list::Guid>,
    #[serde(default)]
    pub links: Links,
}
