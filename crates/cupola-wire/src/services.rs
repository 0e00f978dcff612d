//! Service instances and their bindings.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    list::{Guid, Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceInstance {
    pub guid: String,
    pub created_at: String,
    pub updated_at: String,
    pub name: String,
    pub tags: Vec<String>,
    /// `user-provided`.
    #[serde(rename = "type")]
    pub kind: String,
    pub syslog_drain_url: Option<String>,
    pub route_service_url: Option<String>,
    pub last_operation: LastOperation,
    pub relationships: InSpace,
    pub metadata: MetadataBody,
    pub links: Links,
}

/// The last thing that was done with an instance or binding. It succeeded: it was done at once.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LastOperation {
    #[serde(rename = "type")]
    pub kind: String,
    pub state: String,
    pub description: Option<String>,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InSpace {
    pub space: ToOne,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceInstance {
    #[serde(rename = "type")]
    pub kind: String,
    pub name: String,
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub credentials: Option<Map<String, Value>>,
    #[serde(default)]
    pub syslog_drain_url: Option<String>,
    #[serde(default)]
    pub route_service_url: Option<String>,
    pub relationships: InSpace,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateServiceInstance {
    #[serde(default)]
    pub name: Option<String>,
    #[serde(default)]
    pub tags: Option<Vec<String>>,
    #[serde(default)]
    pub credentials: Option<Map<String, Value>>,
    /// `null` and the empty text take it away.
    #[serde(default, deserialize_with = "crate::given")]
    pub syslog_drain_url: Option<Option<String>>,
    #[serde(default, deserialize_with = "crate::given")]
    pub route_service_url: Option<Option<String>>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceInstancePermissions {
    pub read: bool,
    pub manage: bool,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceCredentialBinding {
    pub guid: String,
    pub created_at: String,
    pub updated_at: String,
    pub name: Option<String>,
    /// `app`.
    #[serde(rename = "type")]
    pub kind: String,
    pub last_operation: LastOperation,
    pub relationships: BindingRelationships,
    pub metadata: MetadataBody,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BindingRelationships {
    pub service_instance: ToOne,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<ToOne>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateServiceCredentialBinding {
    #[serde(rename = "type")]
    pub kind: String,
    #[serde(default)]
    pub name: Option<String>,
    pub relationships: BindingRelationships,
    #[serde(default)]
    pub parameters: Option<Value>,
    /// `single` or `multiple`.
    #[serde(default)]
    pub strategy: Option<String>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

/// A secret: what an app finds of a binding.
#[derive(Clone, Serialize, Deserialize)]
pub struct BindingDetails {
    pub credentials: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syslog_drain_url: Option<String>,
}

/// Spaces that something is shared with.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct SharedSpaces {
    pub data: Vec<Guid>,
    pub links: Links,
}
