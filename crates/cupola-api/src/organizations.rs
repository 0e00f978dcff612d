//! `/v3/organizations`.

pub(crate) mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{
    ListRequest,
    caller::Caller,
    orgs::{NewOrg, OrgChange},
};
use cupola_domain::ids::OrgId;
use cupola_ports::store::Direction;
use cupola_wire::organizations::{CreateOrganization, Organization, UpdateOrganization};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/organizations", get(list).post(create))
        .route("/v3/organizations/{guid}", get(show).patch(update).delete(delete))
        // The `cf` CLI changes and deletes with a slash at the end.
        .route("/v3/organizations/{guid}/", get(show).patch(update).delete(delete))
        .route(
            "/v3/organizations/{guid}/relationships/default_isolation_segment",
            get(isolation_segment).patch(set_isolation_segment),
        )
        .route("/v3/organizations/{guid}/users", get(users))
        .route("/v3/organizations/{guid}/usage_summary", get(usage))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query
        .filter_lower("names", "name_lower")
        .filter("guids", "id")
        .labels()?
        .finish(&["created_at", "updated_at", "name"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_orgs(&caller, &request).await?;
    Ok(Json(presenter.present(&api, page, |org| present::org(&api, &org))).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateOrganization>,
) -> Result<Response, ApiFailure> {
    let new = NewOrg {
        name: body.name,
        suspended: body.suspended.unwrap_or(false),
        metadata: metadata::initial(body.metadata)?,
    };
    let org = api.control.create_org(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::org(&api, &org))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
) -> Result<Response, ApiFailure> {
    let org = api.control.org(&caller, id).await?;
    Ok(Json(present::org(&api, &org)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
    Body(body): Body<UpdateOrganization>,
) -> Result<Response, ApiFailure> {
    let change = OrgChange {
        name: body.name,
        suspended: body.suspended,
        metadata: metadata::change(body.metadata)?,
    };
    let org = api.control.update_org(&caller, id, change).await?;
    Ok(Json(present::org(&api, &org)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_org(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn isolation_segment(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
) -> Result<Response, ApiFailure> {
    api.control.org(&caller, id).await?;
    Ok(no_isolation_segment(&api, id))
}

async fn set_isolation_segment(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
    Body(body): Body<Value>,
) -> Result<Response, ApiFailure> {
    api.control.require_org_manager(&caller, id).await?;
    crate::empty::require_no_isolation_segment(&body)?;
    Ok(no_isolation_segment(&api, id))
}

fn no_isolation_segment(api: &Api, id: OrgId) -> Response {
    let own = format!("/v3/organizations/{id}/relationships/default_isolation_segment");
    Json(json!({ "data": null, "links": api.links([("self", own)]) })).into_response()
}

/// The users with a role in the organisation.
async fn users(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.org(&caller, id).await?;
    crate::users::with_roles(&api, &caller, query, ("org_id", id.to_string())).await
}

/// The organisations with these ids that the caller sees, for what a list includes.
pub(crate) async fn included(
    api: &Api,
    caller: &Caller,
    ids: &[OrgId],
) -> Result<Vec<Organization>, ApiFailure> {
    let page = api.control.list_orgs(caller, &ListRequest::of_ids(ids)).await?;
    Ok(page.items.iter().map(|org| present::org(api, org)).collect())
}

async fn usage(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<OrgId>,
) -> Result<Response, ApiFailure> {
    let usage = api.control.org_usage(&caller, id).await?;
    let own = format!("/v3/organizations/{id}");
    let links = api.links([("self", format!("{own}/usage_summary")), ("organization", own)]);
    Ok(Json(json!({ "usage_summary": present::usage(&usage), "links": links })).into_response())
}
