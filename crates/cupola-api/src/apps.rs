//! `/v3/apps`.

mod environment;
mod features;
pub(crate) mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::{
    ControlError,
    apps::{AppChange, LifecycleChange, NewApp, actions::AppAction},
    caller::Caller,
};
use cupola_domain::{apps::App, ids::AppId};
use cupola_ports::store::Direction;
use cupola_wire::{
    apps::{AppPermissions, CreateApp, LifecyclePatch, LinkedToOne, UpdateApp},
    list::{Guid, Link, ToOne},
};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    include,
    jobs::accepted,
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/apps", get(list).post(create))
        .route("/v3/apps/{guid}", get(show).patch(update).delete(delete))
        .route("/v3/apps/{guid}/actions/start", post(start))
        .route("/v3/apps/{guid}/actions/stop", post(stop))
        .route("/v3/apps/{guid}/actions/restart", post(restart))
        .route("/v3/apps/{guid}/actions/clear_buildpack_cache", post(clear_cache))
        .route("/v3/apps/{guid}/permissions", get(permissions))
        .route(
            "/v3/apps/{guid}/relationships/current_droplet",
            get(current_droplet).patch(set_current_droplet),
        )
        .merge(environment::routes())
        .merge(features::routes())
}

const INCLUDES: &[&str] = &["space", "space.organization", "org", "organization"];

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let owners = query.take_owners();
    // There is only this one lifecycle.
    let kinds = query.take_list("lifecycle_type");
    let query =
        query.filter_lower("names", "name_lower").filter("guids", "id").filter("stacks", "stack");
    let query = match kinds {
        Some(kinds) if !kinds.iter().any(|kind| kind == "buildpack") => query.nothing("id"),
        _ => query,
    };
    let orderable: &[&str] = &["created_at", "updated_at", "name", "state"];
    let (request, presenter) =
        query.labels()?.finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_apps(&caller, &owners, &request).await?;
    let included = included(&api, &caller, &page.items, &include).await?;
    let mut list = presenter.present(&api, page, |app| present::app(&api, &app));
    list.included = included;
    Ok(Json(list).into_response())
}

/// What a client asks for beside apps: their spaces, and the organisations of those.
async fn included(
    api: &Api,
    caller: &Caller,
    apps: &[App],
    wanted: &[String],
) -> Result<Option<Value>, ApiFailure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let spaces = apps.iter().map(|app| app.space_id).collect();
    Ok(Some(Value::Object(include::places(api, caller, spaces, wanted).await?)))
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateApp>,
) -> Result<Response, ApiFailure> {
    let environment = body.environment_variables.unwrap_or_default();
    environment::check(environment.keys())?;
    let new = NewApp {
        space: space_of(&body.relationships.space)?,
        name: body.name,
        lifecycle: lifecycle(body.lifecycle)?,
        environment: environment
            .into_iter()
            .map(|(name, value)| (name, environment::text(value).unwrap_or_default()))
            .collect(),
        metadata: metadata::initial(body.metadata)?,
    };
    let app = api.control.create_app(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::app(&api, &app))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let app = api.control.app(&caller, id).await?.app;
    let included = included(&api, &caller, std::slice::from_ref(&app), &include).await?;
    let mut body = json!(present::app(&api, &app));
    if let Some(included) = included {
        body["included"] = included;
    }
    Ok(Json(body).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Body(body): Body<UpdateApp>,
) -> Result<Response, ApiFailure> {
    let change = AppChange {
        name: body.name,
        lifecycle: lifecycle(body.lifecycle)?,
        metadata: metadata::change(body.metadata)?,
    };
    let app = api.control.update_app(&caller, id, change).await?;
    Ok(Json(present::app(&api, &app)).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_app(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn start(
    api: State<Api>,
    caller: Authenticated,
    id: Id<AppId>,
) -> Result<Response, ApiFailure> {
    act(api, caller, id, AppAction::Start).await
}

async fn stop(
    api: State<Api>,
    caller: Authenticated,
    id: Id<AppId>,
) -> Result<Response, ApiFailure> {
    act(api, caller, id, AppAction::Stop).await
}

async fn restart(
    api: State<Api>,
    caller: Authenticated,
    id: Id<AppId>,
) -> Result<Response, ApiFailure> {
    act(api, caller, id, AppAction::Restart).await
}

async fn act(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    action: AppAction,
) -> Result<Response, ApiFailure> {
    let app = api.control.act_on_app(&caller, id, action).await?;
    Ok(Json(present::app(&api, &app)).into_response())
}

async fn clear_cache(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.clear_build_cache(&caller, id).await?;
    Ok(accepted(&api, &job))
}

async fn permissions(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let read_sensitive_data = api.control.sees_secrets(&caller, id).await?;
    Ok(Json(AppPermissions { read_basic_data: true, read_sensitive_data }).into_response())
}

async fn current_droplet(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
) -> Result<Response, ApiFailure> {
    let droplet = api.control.current_droplet_id(&caller, id).await?;
    Ok(Json(current(&api, id, droplet.to_string())).into_response())
}

async fn set_current_droplet(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<AppId>,
    Body(body): Body<ToOne>,
) -> Result<Response, ApiFailure> {
    let droplet = body.data.and_then(|data| data.guid.parse().ok());
    let droplet = api.control.set_current_droplet(&caller, id, droplet).await?;
    Ok(Json(current(&api, id, droplet.to_string())).into_response())
}

fn current(api: &Api, app: AppId, droplet: String) -> LinkedToOne {
    LinkedToOne {
        data: Some(Guid { guid: droplet }),
        links: api.links([
            ("self", format!("/v3/apps/{app}/relationships/current_droplet")),
            ("related", format!("/v3/apps/{app}/droplets/current")),
        ]),
    }
}

/// The space that a body names.
pub(crate) fn space_of(space: &ToOne) -> Result<cupola_domain::ids::SpaceId, ControlError> {
    let id = space.data.as_ref().and_then(|data| data.guid.parse().ok());
    id.ok_or_else(|| {
        let detail = "Invalid space. Ensure that the space exists and you have access to it.";
        ControlError::unprocessable(detail)
    })
}

/// What a body says of a lifecycle.
pub(crate) fn lifecycle(patch: Option<LifecyclePatch>) -> Result<LifecycleChange, ControlError> {
    let Some(LifecyclePatch { kind, data }) = patch else { return Ok(LifecycleChange::default()) };
    Ok(LifecycleChange {
        kind,
        buildpacks: data.buildpacks.map(Option::unwrap_or_default),
        stack: data.stack,
    })
}

/// A link that is followed with POST.
pub(crate) fn post_link(api: &Api, path: String) -> Link {
    Link::post(format!("{}{path}", api.control.settings().external_url))
}
