//! `include`: what a client asks for beside what it lists.

use cupola_control::caller::Caller;
use cupola_domain::ids::SpaceId;
use serde_json::{Map, Value, json};

use crate::{Api, error::ApiFailure, organizations, spaces};

/// The spaces of what is listed and the organisations of those, as far as they are wanted.
pub(crate) async fn places(
    api: &Api,
    caller: &Caller,
    of: Vec<SpaceId>,
    wanted: &[String],
) -> Result<Map<String, Value>, ApiFailure> {
    let wants = |names: &[&str]| wanted.iter().any(|one| names.contains(&one.as_str()));
    let wants_spaces = wants(&["space", "space.organization"]);
    let wants_orgs = wants(&["space.organization", "org", "organization"]);
    let mut included = Map::new();
    if !wants_spaces && !wants_orgs {
        return Ok(included);
    }
    let (places, orgs) = api.control.places(of).await?;
    if wants_spaces {
        let ids: Vec<_> = places.iter().map(|space| space.id).collect();
        included.insert("spaces".to_owned(), json!(spaces::included(api, caller, &ids).await?));
    }
    if wants_orgs {
        let ids: Vec<_> = orgs.iter().map(|org| org.id).collect();
        let orgs = organizations::included(api, caller, &ids).await?;
        included.insert("organizations".to_owned(), json!(orgs));
    }
    Ok(included)
}
