//! `/v3/buildpacks`.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{ControlError, buildpacks::BuildpackChange};
use cupola_domain::{buildpacks::Buildpack as DomainBuildpack, ids::BuildpackId};
use cupola_ports::store::{Condition, Direction};
use cupola_wire::buildpacks::{Buildpack, UpdateBuildpack};

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
        .route("/v3/buildpacks", get(list).post(create))
        // The `cf` CLI posts with a slash at the end.
        .route("/v3/buildpacks/", get(list).post(create))
        .route("/v3/buildpacks/{guid}", get(show).patch(update).delete(delete))
}

async fn list(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let lifecycle = query.take("lifecycle");
    let stacks = query.take_list("stacks");
    let mut query = query.filter("names", "name");
    // The built-in ones are of the lifecycle `buildpack` and of no stack of their own.
    let of_other_lifecycle = lifecycle.is_some_and(|wanted| wanted != "buildpack");
    if of_other_lifecycle || stacks.is_some_and(|stacks| !stacks.contains(&String::new())) {
        query = query.and(Condition::In("id", Vec::new()));
    }
    let (request, presenter) = query
        .labels()?
        .finish(&["created_at", "updated_at", "position"], ("position", Direction::Ascending))?;
    let page = api.control.list_buildpacks(&request).await?;
    Ok(Json(presenter.present(&api, page, |one| present(&api, &one))).into_response())
}

async fn create(
    State(_): State<Api>,
    Authenticated(caller): Authenticated,
) -> Result<Response, ApiFailure> {
    if !caller.admin {
        return Err(ControlError::NotAuthorized.into());
    }
    let detail = "buildpacks cannot be uploaded to this platform yet; push with -b and the URL of \
                  a git repository instead";
    Err(ControlError::unprocessable(detail).into())
}

async fn show(
    State(api): State<Api>,
    Authenticated(_): Authenticated,
    Id(id): Id<BuildpackId>,
) -> Result<Response, ApiFailure> {
    let buildpack = api.control.buildpack(id).await?;
    Ok(Json(present(&api, &buildpack)).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<BuildpackId>,
    Body(body): Body<UpdateBuildpack>,
) -> Result<Response, ApiFailure> {
    if caller.admin && (body.name.is_some() || body.stack.is_some()) {
        let detail = "name and stack of a buildpack that is part of Cupola cannot be changed";
        return Err(ControlError::unprocessable(detail).into());
    }
    let change = BuildpackChange {
        position: body.position,
        enabled: body.enabled,
        locked: body.locked,
        metadata: metadata::change(body.metadata)?,
    };
    let buildpack = api.control.update_buildpack(&caller, id, change).await?;
    Ok(Json(present(&api, &buildpack)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<BuildpackId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_buildpack(&caller, id).await?;
    Ok(accepted(&api, &job))
}

fn present(api: &Api, buildpack: &DomainBuildpack) -> Buildpack {
    let own = format!("/v3/buildpacks/{}", buildpack.id);
    Buildpack {
        guid: buildpack.id.to_string(),
        name: buildpack.name.clone(),
        stack: None,
        state: "READY".to_owned(),
        filename: None,
        position: buildpack.position,
        lifecycle: "buildpack".to_owned(),
        enabled: buildpack.enabled,
        locked: buildpack.locked,
        metadata: metadata::present(&buildpack.metadata),
        created_at: buildpack.created_at.rfc3339(),
        updated_at: buildpack.updated_at.rfc3339(),
        links: api.links([("self", own.clone()), ("upload", format!("{own}/upload"))]),
    }
}
