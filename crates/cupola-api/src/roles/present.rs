//! How a role is written.

use cupola_domain::roles::{Role as DomainRole, RoleScope};
use cupola_wire::{
    list::ToOne,
    roles::{Role, RoleRelationships},
};

use crate::Api;

pub(crate) fn role(api: &Api, role: &DomainRole) -> Role {
    let mut links = api.links([
        ("self", format!("/v3/roles/{}", role.id)),
        ("user", format!("/v3/users/{}", role.user_id)),
    ]);
    let none = ToOne { data: None };
    let (organization, space) = match role.scope {
        RoleScope::Org(org) => {
            links.extend(api.links([("organization", format!("/v3/organizations/{org}"))]));
            (ToOne::to(org), none)
        }
        RoleScope::Space(space) => {
            links.extend(api.links([("space", format!("/v3/spaces/{space}"))]));
            (none, ToOne::to(space))
        }
    };
    Role {
        guid: role.id.to_string(),
        kind: role.kind.name().to_owned(),
        relationships: RoleRelationships { user: ToOne::to(role.user_id), organization, space },
        created_at: role.created_at.rfc3339(),
        updated_at: role.updated_at.rfc3339(),
        links,
    }
}
