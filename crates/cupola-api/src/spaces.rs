//! `/v3/spaces`.

pub(crate) mod present;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{
    ControlError, ListRequest,
    caller::Caller,
    spaces::{NewSpace, SpaceChange},
};
use cupola_domain::ids::{OrgId, SpaceId};
use cupola_ports::store::Direction;
use cupola_wire::spaces::{CreateSpace, Feature, Space, UpdateFeature, UpdateSpace};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::ListQuery,
    metadata, organizations,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/spaces", get(list).post(create))
        .route("/v3/spaces/{guid}", get(show).patch(update).delete(delete))
        .route("/v3/spaces/{guid}/features", get(features))
        .route("/v3/spaces/{guid}/features/{name}", get(feature).patch(set_feature))
        .route("/v3/spaces/{guid}/running_security_groups", get(no_security_groups))
        .route("/v3/spaces/{guid}/staging_security_groups", get(no_security_groups))
        .route(
            "/v3/spaces/{guid}/relationships/isolation_segment",
            get(isolation_segment).patch(set_isolation_segment),
        )
        .route("/v3/spaces/{guid}/users", get(users))
        .route("/v3/spaces/{guid}/usage_summary", get(usage))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(&["org", "organization"])?;
    let (request, presenter) = query
        .filter_lower("names", "name_lower")
        .filter("guids", "id")
        .filter("organization_guids", "org_id")
        .labels()?
        .finish(&["created_at", "updated_at", "name"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_spaces(&caller, &request).await?;
    let org_ids: Vec<OrgId> = page.items.iter().map(|space| space.org_id).collect();
    let mut list = presenter.present(&api, page, |space| present::space(&api, &space));
    if !include.is_empty() {
        let orgs = organizations::included(&api, &caller, &org_ids).await?;
        list.included = Some(json!({ "organizations": orgs }));
    }
    Ok(Json(list).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateSpace>,
) -> Result<Response, ApiFailure> {
    let org = body.relationships.organization.data.map(|org| org.guid).unwrap_or_default();
    let org_id = org.parse().map_err(|_| {
        let detail =
            "Invalid organization. Ensure the organization exists and you have access to it.";
        ControlError::unprocessable(detail)
    })?;
    let new = NewSpace { org_id, name: body.name, metadata: metadata::initial(body.metadata)? };
    let space = api.control.create_space(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::space(&api, &space))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(&["org", "organization"])?;
    let space = api.control.space(&caller, id).await?;
    let mut body = json!(present::space(&api, &space));
    if !include.is_empty() {
        let orgs = organizations::included(&api, &caller, &[space.org_id]).await?;
        body["included"] = json!({ "organizations": orgs });
    }
    Ok(Json(body).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    Body(body): Body<UpdateSpace>,
) -> Result<Response, ApiFailure> {
    let change = SpaceChange { name: body.name, metadata: metadata::change(body.metadata)? };
    let space = api.control.update_space(&caller, id, change).await?;
    Ok(Json(present::space(&api, &space)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_space(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn features(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
) -> Result<Response, ApiFailure> {
    api.control.space(&caller, id).await?;
    Ok(Json(json!({ "resources": [ssh()] })).into_response())
}

async fn feature(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    Path((_, name)): Path<(String, String)>,
) -> Result<Response, ApiFailure> {
    api.control.space(&caller, id).await?;
    require_known_feature(&name)?;
    Ok(Json(ssh()).into_response())
}

async fn set_feature(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    Path((_, name)): Path<(String, String)>,
    Body(body): Body<UpdateFeature>,
) -> Result<Response, ApiFailure> {
    api.control.require_space_manager(&caller, id).await?;
    require_known_feature(&name)?;
    if body.enabled {
        let detail = "SSH into apps is not available on this platform yet";
        return Err(ControlError::unprocessable(detail).into());
    }
    Ok(Json(ssh()).into_response())
}

fn ssh() -> Feature {
    Feature {
        name: "ssh".to_owned(),
        description: "Enable SSHing into apps in the space.".to_owned(),
        enabled: false,
    }
}

fn require_known_feature(name: &str) -> Result<(), ControlError> {
    if name == "ssh" { Ok(()) } else { Err(ControlError::NotFound { noun: "Feature" }) }
}

async fn no_security_groups(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.space(&caller, id).await?;
    crate::empty::empty_list(&api, query)
}

async fn isolation_segment(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
) -> Result<Response, ApiFailure> {
    api.control.space(&caller, id).await?;
    let path = format!("/v3/spaces/{id}/relationships/isolation_segment");
    Ok(Json(json!({ "data": null, "links": api.links([("self", path)]) })).into_response())
}

async fn set_isolation_segment(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    Body(body): Body<Value>,
) -> Result<Response, ApiFailure> {
    let space = api.control.space(&caller, id).await?;
    api.control.require_org_manager(&caller, space.org_id).await?;
    crate::empty::require_no_isolation_segment(&body)?;
    let path = format!("/v3/spaces/{id}/relationships/isolation_segment");
    Ok(Json(json!({ "data": null, "links": api.links([("self", path)]) })).into_response())
}

async fn usage(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
) -> Result<Response, ApiFailure> {
    let usage = organizations::present::usage(&api.control.space_usage(&caller, id).await?);
    let own = format!("/v3/spaces/{id}");
    let links = api.links([("self", format!("{own}/usage_summary")), ("space", own)]);
    Ok(Json(json!({ "usage_summary": usage, "links": links })).into_response())
}

/// The users with a role in the space.
async fn users(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<SpaceId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.space(&caller, id).await?;
    crate::users::with_roles(&api, &caller, query, ("space_id", id.to_string())).await
}

/// The spaces with these ids that the caller sees, for what a list includes.
pub(crate) async fn included(
    api: &Api,
    caller: &Caller,
    ids: &[SpaceId],
) -> Result<Vec<Space>, ApiFailure> {
    let page = api.control.list_spaces(caller, &ListRequest::of_ids(ids)).await?;
    Ok(page.items.iter().map(|space| present::space(api, space)).collect())
}
