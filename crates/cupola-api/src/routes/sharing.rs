//! `/v3/routes/:guid/relationships`: other spaces that use a route, and the one that has it.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, get, patch},
};
use cupola_control::ControlError;
use cupola_domain::ids::{RouteId, SpaceId};
use cupola_wire::{domains::ToMany, list::ToOne};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/routes/{guid}/relationships/shared_spaces", get(list).post(share))
        .route("/v3/routes/{guid}/relationships/shared_spaces/{space_guid}", delete(unshare))
        .route("/v3/routes/{guid}/relationships/space", patch(transfer))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
) -> Result<Json<Value>, ApiFailure> {
    let spaces = api.control.shared_spaces(&caller, id).await?;
    Ok(present(&api, id, &spaces))
}

async fn share(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Body(body): Body<ToMany>,
) -> Result<Json<Value>, ApiFailure> {
    let with = body.data.into_iter().map(|space| space.guid).collect();
    let spaces = api.control.share_route(&caller, id, with).await?;
    Ok(present(&api, id, &spaces))
}

async fn unshare(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Path((_, space)): Path<(String, String)>,
) -> Result<StatusCode, ApiFailure> {
    api.control.unshare_route(&caller, id, &space).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn transfer(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RouteId>,
    Body(body): Body<ToOne>,
) -> Result<StatusCode, ApiFailure> {
    let space = body.data.ok_or_else(|| ControlError::unprocessable("Data can't be blank"))?;
    api.control.transfer_route(&caller, id, &space.guid).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn present(api: &Api, id: RouteId, spaces: &[SpaceId]) -> Json<Value> {
    let own = format!("/v3/routes/{id}/relationships/shared_spaces");
    let data: Vec<_> = spaces.iter().map(|space| json!({ "guid": space.to_string() })).collect();
    Json(json!({ "data": data, "links": api.links([("self", own)]) }))
}
