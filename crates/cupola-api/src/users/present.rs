//! How a user is written.

use cupola_domain::users::User as DomainUser;
use cupola_wire::users::User;

use crate::{Api, metadata};

pub(crate) fn user(api: &Api, user: &DomainUser) -> User {
    User {
        guid: user.id.to_string(),
        username: Some(user.username.clone()),
        presentation_name: user.username.clone(),
        origin: Some(user.origin.clone()),
        metadata: metadata::present(&user.metadata),
        created_at: user.created_at.rfc3339(),
        updated_at: user.updated_at.rfc3339(),
        links: api.links([("self", format!("/v3/users/{}", user.id))]),
    }
}
