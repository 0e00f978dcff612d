//! `fields[space]=name,guid`: which fields of what belongs to an instance a client asks for.

use cupola_control::ControlError;
use cupola_domain::ids::SpaceId;
use serde_json::{Map, Value, json};

use crate::{Api, error::ApiFailure, list::ListQuery};

/// What may be asked for, under which name it is included, and its fields.
const KNOWN: &[(&str, &str, &[&str])] = &[
    ("space", "spaces", &["name", "guid", "relationships.organization"]),
    ("space.organization", "organizations", &["name", "guid"]),
    ("service_plan", "service_plans", &["name", "guid", "relationships.service_offering"]),
    (
        "service_plan.service_offering",
        "service_offerings",
        &[
            "name",
            "guid",
            "description",
            "documentation_url",
            "tags",
            "relationships.service_broker",
        ],
    ),
    ("service_plan.service_offering.service_broker", "service_brokers", &["name", "guid"]),
];

/// Fields by what they are of.
pub(super) type Fields = Vec<(&'static str, Vec<String>)>;

pub(super) fn take(query: &mut ListQuery) -> Result<Fields, ApiFailure> {
    let mut fields = Vec::new();
    for (of, _, known) in KNOWN {
        let Some(wanted) = query.take_list(&format!("fields[{of}]")) else { continue };
        if let Some(unknown) = wanted.iter().find(|field| !known.contains(&field.as_str())) {
            let known = known.join("', '");
            let detail = format!("Fields [{of}] has no '{unknown}'; valid values are: '{known}'");
            return Err(ControlError::BadQuery(detail).into());
        }
        fields.push((*of, wanted));
    }
    Ok(fields)
}

/// What is asked for of the spaces of instances. Plans and brokers have no instances yet.
pub(super) async fn included(
    api: &Api,
    fields: &Fields,
    spaces: Vec<SpaceId>,
) -> Result<Option<Value>, ApiFailure> {
    if fields.is_empty() {
        return Ok(None);
    }
    let (spaces, orgs) = api.control.places(spaces).await?;
    let mut included = Map::new();
    for (of, wanted) in fields {
        let resources: Vec<Value> = match *of {
            "space" => spaces
                .iter()
                .map(|space| {
                    let org = json!({ "data": { "guid": space.org_id.to_string() } });
                    picked(
                        wanted,
                        &[
                            ("guid", json!(space.id.to_string())),
                            ("name", json!(space.name)),
                            ("relationships", json!({ "organization": org })),
                        ],
                    )
                })
                .collect(),
            "space.organization" => orgs
                .iter()
                .map(|org| {
                    let of_org = [("guid", json!(org.id.to_string())), ("name", json!(org.name))];
                    picked(wanted, &of_org)
                })
                .collect(),
            _ => Vec::new(),
        };
        let name = KNOWN.iter().find(|(known, _, _)| known == of).map_or(*of, |(_, name, _)| name);
        included.insert(name.to_owned(), Value::Array(resources));
    }
    Ok(Some(Value::Object(included)))
}

/// The fields that are asked for; of `relationships.organization` the first part names it.
fn picked(wanted: &[String], all: &[(&str, Value)]) -> Value {
    let is_wanted = |name: &str| wanted.iter().any(|field| field.split('.').next() == Some(name));
    let picked = all.iter().filter(|(name, _)| is_wanted(name));
    Value::Object(picked.map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
}
