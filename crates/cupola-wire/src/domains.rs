//! Domains.

use serde::{Deserialize, Serialize};

use crate::{
    list::{Guid, Links, ToOne},
    metadata::{MetadataBody, MetadataPatch},
};

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    pub guid: String,
    pub name: String,
    pub internal: bool,
    pub router_group: Option<Guid>,
    pub supported_protocols: Vec<String>,
    pub relationships: DomainRelationships,
    pub metadata: MetadataBody,
    pub created_at: String,
    pub updated_at: String,
    pub links: Links,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DomainRelationships {
    /// None: shared by every organisation.
    pub organization: ToOne,
    pub shared_organizations: ToMany,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct ToMany {
    pub data: Vec<Guid>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateDomain {
    pub name: String,
    #[serde(default)]
    pub internal: Option<bool>,
    #[serde(default)]
    pub router_group: Option<Guid>,
    #[serde(default)]
    pub relationships: CreateDomainRelationships,
    #[serde(default)]
    pub metadata: Option<MetadataPatch>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CreateDomainRelationships {
    #[serde(default)]
    pub organization: Option<ToOne>,
    #[serde(default)]
    pub shared_organizations: Option<ToMany>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouteReservation {
    pub matching_route: bool,
}
