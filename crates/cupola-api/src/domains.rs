//! `/v3/domains`, and the domains of an organisation.

pub(crate) mod present;
mod sharing;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{ControlError, caller::Caller, domains::NewDomain, routes::Reservation};
use cupola_domain::{
    domains::Domain,
    ids::{DomainId, OrgId},
};
use cupola_ports::store::{Direction, Page};
use cupola_wire::{
    domains::{CreateDomain, RouteReservation},
    packages::UpdateMetadata,
};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::{ListQuery, Presenter},
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/domains", get(list).post(create))
        .route("/v3/domains/{guid}", get(show).patch(update).delete(delete))
        .route("/v3/domains/{guid}/route_reservations", get(reservations))
        .route("/v3/organizations/{guid}/domains", get(list_of_org))
        .route("/v3/organizations/{guid}/domains/default", get(default))
        .merge(sharing::routes())
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query
        .filter_lower("names", "name")
        .filter("guids", "id")
        .filter("organization_guids", "owner_id")
        .labels()?
        .finish(&["created_at", "updated_at", "name"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_domains(&caller, &request).await?;
    written(&api, &caller, page, &presenter).await
}

async fn list_of_org(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(org): Id<OrgId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query
        .filter_lower("names", "name")
        .filter("guids", "id")
        .filter("organization_guids", "owner_id")
        .labels()?
        .finish(&["created_at", "updated_at", "name"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_org_domains(&caller, org, &request).await?;
    written(&api, &caller, page, &presenter).await
}

async fn written(
    api: &Api,
    caller: &Caller,
    page: Page<Domain>,
    presenter: &Presenter,
) -> Result<Response, ApiFailure> {
    let page = Page { items: shown(api, caller, page.items).await?, total: page.total };
    let list = presenter.present(api, page, |domain| present::domain(api, &domain));
    Ok(Json(list).into_response())
}

/// Domains with the organisations that share them, as far as the caller may know of those.
pub(crate) async fn shown(
    api: &Api,
    caller: &Caller,
    domains: Vec<Domain>,
) -> Result<Vec<present::Shown>, ApiFailure> {
    let shared = api.control.shared_orgs_of(caller, &domains).await?;
    Ok(domains.into_iter().zip(shared).collect())
}

async fn one(api: &Api, caller: &Caller, domain: Domain) -> Result<Json<Value>, ApiFailure> {
    let all = shown(api, caller, vec![domain]).await?;
    Ok(Json(all.first().map_or(Value::Null, |shown| json!(present::domain(api, shown)))))
}

async fn default(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(org): Id<OrgId>,
) -> Result<Response, ApiFailure> {
    let domain = api.control.default_domain(&caller, org).await?;
    Ok(one(&api, &caller, domain).await?.into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateDomain>,
) -> Result<Response, ApiFailure> {
    if body.internal == Some(true) || body.router_group.is_some() {
        let detail = "Internal and TCP domains are not supported by this platform yet: \
                      leave out 'internal' and 'router_group'.";
        return Err(ControlError::unprocessable(detail).into());
    }
    let relationships = body.relationships;
    let shared = relationships.shared_organizations.unwrap_or_default();
    let shared_with = shared.data.into_iter().map(|org| org.guid).collect();
    let owner = match relationships.organization.and_then(|org| org.data) {
        None => None,
        Some(org) => Some(org.guid.parse().map_err(|_| {
            let detail = format!(
                "Organization with guid '{}' does not exist or you do not have access to it.",
                org.guid
            );
            ControlError::Unprocessable(detail)
        })?),
    };
    let metadata = metadata::initial(body.metadata)?;
    let new = NewDomain { name: body.name, owner, shared_with, metadata };
    let domain = api.control.create_domain(&caller, new).await?;
    Ok((StatusCode::CREATED, one(&api, &caller, domain).await?).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DomainId>,
) -> Result<Response, ApiFailure> {
    let domain = api.control.domain(&caller, id).await?;
    Ok(one(&api, &caller, domain).await?.into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DomainId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let domain = api.control.update_domain(&caller, id, change).await?;
    Ok(one(&api, &caller, domain).await?.into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DomainId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_domain(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn reservations(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DomainId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let wanted = Reservation {
        host: query.take("host").unwrap_or_default(),
        path: query.take("path").unwrap_or_default(),
        has_port: query.take("port").is_some_and(|port| port != "0"),
    };
    let matching_route = api.control.is_route_taken(&caller, id, &wanted).await?;
    Ok(Json(RouteReservation { matching_route }).into_response())
}
