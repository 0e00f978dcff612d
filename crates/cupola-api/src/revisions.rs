//! `/v3/revisions`, and the revisions of an app.

mod present;

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_domain::ids::{AppId, RevisionId};
use cupola_ports::store::{Condition, Direction, Page, Value};
use cupola_wire::{apps::EnvironmentVariables, packages::UpdateMetadata};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/apps/{guid}/revisions", get(list_of_app))
        .route("/v3/apps/{guid}/revisions/deployed", get(list_deployed))
        .route("/v3/revisions/{guid}", get(show).patch(update))
        .route("/v3/revisions/{guid}/environment_variables", get(environment))
}

async fn list_of_app(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    if let Some(versions) = query.take_list("versions") {
        let numbers = versions.iter().flat_map(|text| text.parse::<i64>());
        query = query.and(Condition::In("version", numbers.map(Value::Integer).collect()));
    }
    let orderable: &[&str] = &["created_at", "updated_at"];
    let (request, presenter) = query.finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_revisions(&caller, app, &request).await?;
    let present = |revision| present::revision(&api, &revision);
    Ok(Json(presenter.present(&api, page, present)).into_response())
}

async fn list_deployed(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(app): Id<AppId>,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) =
        query.finish(&["created_at"], ("created_at", Direction::Ascending))?;
    let page: Page<_> = request.cut(api.control.deployed_revisions(&caller, app).await?);
    let present = |revision| present::revision(&api, &revision);
    Ok(Json(presenter.present(&api, page, present)).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RevisionId>,
) -> Result<Response, ApiFailure> {
    let revision = api.control.revision(&caller, id).await?;
    Ok(Json(present::revision(&api, &revision)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RevisionId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let revision = api.control.update_revision(&caller, id, change).await?;
    Ok(Json(present::revision(&api, &revision)).into_response())
}

async fn environment(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RevisionId>,
) -> Result<Response, ApiFailure> {
    let var = api.control.revision_environment(&caller, id).await?;
    let own = format!("/v3/revisions/{id}");
    let body = EnvironmentVariables {
        var,
        links: api.links([("self", format!("{own}/environment_variables")), ("revision", own)]),
    };
    Ok(Json(body).into_response())
}
