//! `/v3/routes/:guid/destinations`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{
    ControlError,
    routes::{NewDestination, Others},
};
use cupola_domain::ids::RouteId;
use cupola_wire::routes::{self, MapRoute, UpdateDestination};

use super::present;
use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
};

pub(super) fn routes() -> Router<Api> {
    Router::new().route("/v3/routes/{guid}/destinations", get(list).post(add).patch(replace)).route(
        "/v3/routes/{guid}/destinations/{destination}",
        axum::routing::delete(unmap).patch(update),
    )
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let apps = query.take_list("app_guids");
    let guids = query.take_list("guids");
    let mut all = api.control.destinations(&caller, id).await?;
    let is_in = |wanted: &Option<Vec<String>>, id: String| {
        wanted.as_ref().is_none_or(|wanted| wanted.contains(&id))
    };
    all.retain(|one| is_in(&apps, one.app_id.to_string()) && is_in(&guids, one.id.to_string()));
    Ok(Json(present::destinations(&api, id, &all)).into_response())
}

async fn add(
    api: State<Api>,
    caller: Authenticated,
    id: Id<RouteId>,
    body: Body<MapRoute>,
) -> Result<Response, ApiFailure> {
    map(api, caller, id, body, Others::Stay).await
}

async fn replace(
    api: State<Api>,
    caller: Authenticated,
    id: Id<RouteId>,
    body: Body<MapRoute>,
) -> Result<Response, ApiFailure> {
    map(api, caller, id, body, Others::Go).await
}

async fn map(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Body(body): Body<MapRoute>,
    others: Others,
) -> Result<Response, ApiFailure> {
    let wanted = body.destinations.into_iter().map(destination).collect::<Result<Vec<_>, _>>()?;
    let all = api.control.map_route(&caller, id, wanted, others).await?;
    Ok(Json(present::destinations(&api, id, &all)).into_response())
}

fn destination(new: routes::NewDestination) -> Result<NewDestination, ControlError> {
    let guid = new.app.guid;
    let app = guid.parse().map_err(|_| {
        let detail =
            format!("App(s) with guid(s) \"{guid}\" do not exist or you do not have access.");
        ControlError::Unprocessable(detail)
    })?;
    Ok(NewDestination {
        app,
        process_type: new.app.process.map(|process| process.kind).unwrap_or_default(),
        port: new.port,
        protocol: new.protocol,
        weight: new.weight,
    })
}

async fn unmap(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Path((_, destination)): Path<(String, String)>,
) -> Result<StatusCode, ApiFailure> {
    let destination = destination.parse().map_err(|_| no_destination("unmap route from"))?;
    api.control.unmap_route(&caller, id, destination).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// The only protocol there is can be set, and nothing else.
async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Path((_, guid)): Path<(String, String)>,
    Body(body): Body<UpdateDestination>,
) -> Result<Response, ApiFailure> {
    let protocol = body.protocol.unwrap_or_else(|| "http1".to_owned());
    let destination = guid.parse().map_err(|_| no_destination("update"))?;
    let present =
        api.control.check_destination_protocol(&caller, id, destination, &protocol).await?;
    Ok(Json(present::destination(&present)).into_response())
}

/// An id that is none names no destination.
fn no_destination(action: &str) -> ControlError {
    ControlError::Unprocessable(format!(
        "Unable to {action} destination. Ensure the route has a destination with this guid."
    ))
}
