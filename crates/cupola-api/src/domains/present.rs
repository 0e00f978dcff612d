//! How a domain is written.

use cupola_domain::{domains::Domain, ids::OrgId};
use cupola_wire::{
    domains::{self, DomainRelationships, ToMany},
    list::{Guid, ToOne},
};

use crate::{Api, metadata};

/// A domain, and the organisations that use it too.
pub(crate) type Shown = (Domain, Vec<OrgId>);

pub(super) fn organizations(all: &[OrgId]) -> ToMany {
    ToMany { data: all.iter().map(|org| Guid { guid: org.to_string() }).collect() }
}

pub(crate) fn domain(api: &Api, (domain, shared): &Shown) -> domains::Domain {
    let own = format!("/v3/domains/{}", domain.id);
    let mut links = api.links([
        ("self", own.clone()),
        ("route_reservations", format!("{own}/route_reservations")),
    ]);
    if let Some(org) = domain.owner {
        links.extend(api.links([
            ("organization", format!("/v3/organizations/{org}")),
            ("shared_organizations", format!("{own}/relationships/shared_organizations")),
        ]));
    }
    domains::Domain {
        guid: domain.id.to_string(),
        name: domain.name.clone(),
        internal: false,
        router_group: None,
        supported_protocols: vec!["http".to_owned()],
        relationships: DomainRelationships {
            organization: domain.owner.map_or(ToOne { data: None }, ToOne::to),
            shared_organizations: organizations(shared),
        },
        metadata: metadata::present(&domain.metadata),
        created_at: domain.created_at.rfc3339(),
        updated_at: domain.updated_at.rfc3339(),
        links,
    }
}
