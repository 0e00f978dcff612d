//! `/v3/routes`, and the routes of an app and of a space.

mod destinations;
mod present;
mod sharing;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete as delete_method, get},
};
use cupola_control::{
    ControlError,
    caller::Caller,
    routes::{NewRoute, RouteFilter, ShownRoute},
};
use cupola_domain::ids::{AppId, RouteId, SpaceId};
use cupola_ports::store::{Direction, Page};
use cupola_wire::routes::{CreateRoute, UpdateRoute};
use serde_json::{Value, json};

use crate::{
    Api, apps, domains,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    include,
    jobs::accepted,
    list::{ListQuery, Presenter},
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/routes", get(list).post(create))
        .route("/v3/routes/{guid}", get(show).patch(update).delete(delete))
        .route("/v3/apps/{guid}/routes", get(list_of_app))
        .route("/v3/spaces/{guid}/routes", delete_method(delete_unmapped))
        .merge(destinations::routes())
        .merge(sharing::routes())
}

const INCLUDES: &[&str] = &["domain", "space", "space.organization"];
const ORDERABLE: &[&str] = &["created_at", "updated_at"];
const DEFAULT_ORDER: (&str, Direction) = ("created_at", Direction::Ascending);

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let filter = RouteFilter { owners: query.take_owners(), apps: query.take_list("app_guids") };
    let (query, include) = common(query)?;
    let query = query.filter("guids", "id");
    let (request, presenter) = query.labels()?.finish(ORDERABLE, DEFAULT_ORDER)?;
    let page = api.control.list_routes(&caller, &filter, &request).await?;
    written(&api, &caller, page, &presenter, &include).await
}

async fn list_of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (query, include) = common(query)?;
    let (request, presenter) = query.labels()?.finish(ORDERABLE, DEFAULT_ORDER)?;
    let page = api.control.list_app_routes(&caller, app, &request).await?;
    written(&api, &caller, page, &presenter, &include).await
}

/// The filters that every list of routes has.
fn common(mut query: ListQuery) -> Result<(ListQuery, Vec<String>), ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    // There are no ports, and HTTP alone; what is filtered by others matches nothing. The CLI asks
    // for port 0 when it means none.
    let ports = query.take_list("ports");
    let has_port = ports.is_some_and(|ports| ports.iter().any(|port| port != "0"));
    let protocols = query.take_list("protocols");
    let other_protocol = protocols.is_some_and(|all| !all.iter().any(|one| one == "http"));
    let services = query.take_list("service_instance_guids").is_some();
    let query = query
        .filter_lower("hosts", "host")
        .filter("paths", "path")
        .filter("domain_guids", "domain_id");
    let matches_nothing = has_port || other_protocol || services;
    Ok((if matches_nothing { query.nothing("id") } else { query }, include))
}

async fn written(
    api: &Api,
    caller: &Caller,
    page: Page<ShownRoute>,
    presenter: &Presenter,
    include: &[String],
) -> Result<Response, ApiFailure> {
    let included = included(api, caller, &page.items, include).await?;
    let mut list = presenter.present(api, page, |route| present::route(api, &route));
    list.included = included;
    Ok(Json(list).into_response())
}

async fn included(
    api: &Api,
    caller: &Caller,
    routes: &[ShownRoute],
    wanted: &[String],
) -> Result<Option<Value>, ApiFailure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let spaces = routes.iter().map(|shown| shown.route.space_id).collect();
    let mut included = include::places(api, caller, spaces, wanted).await?;
    if wanted.iter().any(|one| one == "domain") {
        let ids = routes.iter().map(|shown| shown.route.domain_id).collect();
        let all = api.control.domains_of(ids).await?;
        let all = domains::shown(api, caller, all).await?;
        let all: Vec<_> = all.iter().map(|shown| domains::present::domain(api, shown)).collect();
        included.insert("domains".to_owned(), json!(all));
    }
    Ok(Some(Value::Object(included)))
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateRoute>,
) -> Result<Response, ApiFailure> {
    let domain = body.relationships.domain.data.and_then(|data| data.guid.parse().ok());
    let domain = domain.ok_or_else(|| {
        let detail = "Invalid domain. Ensure that the domain exists and you have access to it.";
        ControlError::unprocessable(detail)
    })?;
    let new = NewRoute {
        space: apps::space_of(&body.relationships.space)?,
        domain,
        host: body.host.unwrap_or_default(),
        path: body.path.unwrap_or_default(),
        has_port: body.port.is_some_and(|port| port != 0),
        options: body.options.unwrap_or_default(),
        metadata: metadata::initial(body.metadata)?,
    };
    let route = api.control.create_route(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::route(&api, &route))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let route = api.control.route(&caller, id).await?;
    let included = included(&api, &caller, std::slice::from_ref(&route), &include).await?;
    let mut body = json!(present::route(&api, &route));
    if let Some(included) = included {
        body["included"] = included;
    }
    Ok(Json(body).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Body(body): Body<UpdateRoute>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let options = body.options.unwrap_or_default();
    let route = api.control.update_route(&caller, id, options, change).await?;
    Ok(Json(present::route(&api, &route)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_route(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn delete_unmapped(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(space): Id<SpaceId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    api.control.check_may_delete_routes(&caller, space).await?;
    if query.take("unmapped").is_none_or(|text| text != "true") {
        let detail = "Mass delete not supported for routes. \
                      Use 'unmapped=true' parameter to delete all unmapped routes.";
        return Err(ControlError::unprocessable(detail).into());
    }
    let job = api.control.delete_unmapped_routes(&caller, space).await?;
    Ok(accepted(&api, &job))
}
