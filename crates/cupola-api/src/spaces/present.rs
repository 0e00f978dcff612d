//! How a space is written.

use cupola_domain::spaces::Space as DomainSpace;
use cupola_wire::{
    list::{Link, ToOne},
    spaces::{Space, SpaceRelationships},
};

use crate::{Api, metadata};

pub(crate) fn space(api: &Api, space: &DomainSpace) -> Space {
    let own = format!("/v3/spaces/{}", space.id);
    let base = &api.control.settings().external_url;
    let mut links = api.links([
        ("self", own.clone()),
        ("organization", format!("/v3/organizations/{}", space.org_id)),
        ("features", format!("{own}/features")),
    ]);
    let apply = Link::post(format!("{base}{own}/actions/apply_manifest"));
    links.insert("apply_manifest".to_owned(), apply);
    Space {
        guid: space.id.to_string(),
        name: space.name.clone(),
        relationships: SpaceRelationships {
            organization: ToOne::to(space.org_id),
            quota: Some(ToOne { data: None }),
        },
        metadata: metadata::present(&space.metadata),
        created_at: space.created_at.rfc3339(),
        updated_at: space.updated_at.rfc3339(),
        links,
    }
}
