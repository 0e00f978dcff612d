//! Routes: host, domain and path under which an app answers.

use serde::{Deserialize, Serialize};

use crate::{
    ids::{AppId, DestinationId, DomainId, RouteId, SpaceId},
    orgs::Metadata,
    time::Timestamp,
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Route {
    pub id: RouteId,
    pub space_id: SpaceId,
    pub domain_id: DomainId,
    /// Lower case; empty for the domain itself, `*` for every host without a route of its own.
    pub host: String,
    /// Empty, or begins with a slash and does not end with one.
    pub path: String,
    /// Per-route options of the API, kept as given.
    pub options: serde_json::Map<String, serde_json::Value>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Which process of which app a route leads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    pub id: DestinationId,
    pub route_id: RouteId,
    pub app_id: AppId,
    pub process_type: String,
    /// None: the port that instances are told to listen on.
    pub port: Option<u16>,
    pub protocol: String,
    pub weight: Option<u8>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}
