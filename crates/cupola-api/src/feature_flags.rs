//! `/v3/feature_flags`.

use axum::{
    Json, Router,
    extract::{Path, State},
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::feature_flags::Flag;
use cupola_ports::store::Direction;
use cupola_wire::feature_flags::{FeatureFlag, UpdateFeatureFlag};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body},
    list::ListQuery,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/feature_flags", get(list))
        .route("/v3/feature_flags/{name}", get(show).patch(update))
}

async fn list(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query.finish(&["name"], ("name", Direction::Ascending))?;
    let mut flags = api.control.feature_flags().await?;
    if request.order == Some(("name", Direction::Descending)) {
        flags.reverse();
    }
    let page = request.cut(flags);
    Ok(Json(presenter.present(&api, page, |flag| present(&api, flag))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    Path(name): Path<String>,
) -> Result<Response, ApiFailure> {
    let flag = api.control.feature_flag(&name).await?;
    Ok(Json(present(&api, flag)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Path(name): Path<String>,
    Body(body): Body<UpdateFeatureFlag>,
) -> Result<Response, ApiFailure> {
    let UpdateFeatureFlag { enabled, custom_error_message } = body;
    let flag = api.control.set_feature_flag(&caller, &name, enabled, custom_error_message).await?;
    Ok(Json(present(&api, flag)).into_response())
}

fn present(api: &Api, flag: Flag) -> FeatureFlag {
    FeatureFlag {
        name: flag.name.to_owned(),
        enabled: flag.enabled,
        updated_at: flag.set.as_ref().map(|set| set.updated_at.rfc3339()),
        custom_error_message: flag.set.and_then(|set| set.custom_error_message),
        links: api.links([("self", format!("/v3/feature_flags/{}", flag.name))]),
    }
}
