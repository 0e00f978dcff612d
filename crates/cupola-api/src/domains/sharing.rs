//! `/v3/domains/:guid/relationships/shared_organizations`.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    routing::{delete, post},
};
use cupola_domain::ids::DomainId;
use cupola_wire::domains::ToMany;

use super::present;
use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
};

const SHARED: &str = "/v3/domains/{guid}/relationships/shared_organizations";

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .route(SHARED, post(share))
        .route(&format!("{SHARED}/{{org_guid}}"), delete(unshare))
}

async fn share(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DomainId>,
    Body(body): Body<ToMany>,
) -> Result<Json<ToMany>, ApiFailure> {
    let with = body.data.into_iter().map(|org| org.guid).collect();
    let shared = api.control.share_domain(&caller, id, with).await?;
    Ok(Json(present::organizations(&shared)))
}

async fn unshare(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<DomainId>,
    Path((_, org)): Path<(String, String)>,
) -> Result<StatusCode, ApiFailure> {
    api.control.unshare_domain(&caller, id, &org).await?;
    Ok(StatusCode::NO_CONTENT)
}
