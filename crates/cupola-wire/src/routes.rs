//! Routes and their destinations.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{
    list::{Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Route {
    pub guid: String,
    pub protocol: String,
    pub host: String,
    pub path: String,
    pub port: Option<u16>,
    /// Host, domain and path.
    pub url: String,
    pub destinations: Vec<Destination>,
    pub options: Map<String, Value>,
    pub relationships: RouteRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteRelationships {
    pub space: ToOne,
    pub domain: ToOne,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Destination {
    pub guid: String,
    pub app: DestinationApp,
    pub weight: Option<u8>,
    pub port: u16,
    pub protocol: String,
    pub created_at: String,
    pub updated_at: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationApp {
    pub guid: String,
    pub process: DestinationProcess,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DestinationProcess {
    #[serde(rename = "type")]
    pub kind: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Destinations {
    pub destinations: Vec<Destination>,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateRoute {
    #[serde(default)]
    pub host: Option<String>,
    #[serde(default)]
    pub path: Option<String>,
    #[serde(default)]
    pub port: Option<i64>,
    pub relationships: RouteRelationships,
    #[serde(default)]
    pub options: Option<Map<String, Value>>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

/// An option with `null` is removed.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateRoute {
    #[serde(default)]
    pub options: Option<Map<String, Value>>,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MapRoute {
    pub destinations: Vec<NewDestination>,
}

/// Clients that read destinations and send them back send their guids too.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewDestination {
    pub app: NewDestinationApp,
    #[serde(default)]
    pub port: Option<u16>,
    #[serde(default)]
    pub weight: Option<u8>,
    #[serde(default)]
    pub protocol: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct NewDestinationApp {
    pub guid: String,
    #[serde(default)]
    pub process: Option<DestinationProcess>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateDestination {
    pub protocol: Option<String>,
}
