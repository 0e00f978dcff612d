//! `/v3/service_instances`: those that users provide. There are no brokers yet.

mod fields;
mod present;

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{delete, get},
};
use cupola_control::{
    ControlError, ListRequest,
    caller::Caller,
    services::{NewServiceInstance, ServiceInstanceChange},
};
use cupola_domain::ids::ServiceInstanceId;
use cupola_ports::store::Direction;
use cupola_wire::services::{
    CreateServiceInstance, ServiceInstancePermissions, SharedSpaces, UpdateServiceInstance,
};
use serde_json::{Value, json};

use crate::{
    Api,
    apps::space_of,
    error::{ApiFailure, no_instance_parameters},
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata,
};

pub(crate) fn routes() -> Router<Api> {
    let shared = "/v3/service_instances/{guid}/relationships/shared_spaces";
    Router::new()
        .route("/v3/service_instances", get(list).post(create))
        .route("/v3/service_instances/{guid}", get(show).patch(update).delete(remove))
        .route("/v3/service_instances/{guid}/credentials", get(credentials))
        .route("/v3/service_instances/{guid}/parameters", get(parameters))
        .route("/v3/service_instances/{guid}/permissions", get(permissions))
        .route(shared, get(shared_spaces).post(share))
        .route(&format!("{shared}/usage_summary"), get(usage_summary))
        .route(&format!("{shared}/{{space_guid}}"), delete(unshare))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let fields = fields::take(&mut query)?;
    let owners = query.take_owners();
    let is_of_broker = ["service_plan_guids", "service_plan_names"]
        .into_iter()
        .filter_map(|name| query.take_list(name))
        .count()
        > 0;
    let kind = query.take("type");
    let query = query.filter_lower("names", "name_lower").filter("guids", "id").labels()?;
    let query = match kind.as_deref() {
        None | Some("user-provided") if !is_of_broker => query,
        None | Some("managed" | "user-provided") => query.nothing("id"),
        Some(_) => {
            let detail = "Type must be one of 'managed', 'user-provided'";
            return Err(ControlError::BadQuery(detail.to_owned()).into());
        }
    };
    let orderable: &[&str] = &["created_at", "updated_at", "name"];
    let (request, presenter) = query.finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_service_instances(&caller, &owners, &request).await?;
    let spaces = page.items.iter().map(|instance| instance.space_id).collect();
    let included = fields::included(&api, &fields, spaces).await?;
    let mut list = presenter.present(&api, page, |one| present::instance(&api, &one));
    list.included = included;
    Ok(Json(list).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<Value>,
) -> Result<Response, ApiFailure> {
    refuse_other_kinds(body["type"].as_str())?;
    let body: CreateServiceInstance = read(body)?;
    let new = NewServiceInstance {
        space: space_of(&body.relationships.space)?,
        name: body.name,
        tags: body.tags.unwrap_or_default(),
        credentials: body.credentials.unwrap_or_default(),
        syslog_drain_url: not_empty(body.syslog_drain_url),
        route_service_url: not_empty(body.route_service_url),
        metadata: metadata::initial(body.metadata)?,
    };
    let instance = api.control.create_service_instance(&caller, new).await?;
    Ok((StatusCode::CREATED, Json(present::instance(&api, &instance))).into_response())
}

/// Before the body is read as one of a user-provided instance, so that the answer is about this.
fn refuse_other_kinds(kind: Option<&str>) -> Result<(), ControlError> {
    match kind {
        Some("user-provided") => Ok(()),
        Some("managed") => {
            let detail = "this platform has no service brokers yet; describe a service that runs \
                          elsewhere with cf create-user-provided-service";
            Err(ControlError::unprocessable(detail))
        }
        _ => Err(ControlError::unprocessable("Type must be one of 'managed', 'user-provided'")),
    }
}

/// The errors of serde tell what is wrong with a value and, of text, the value: not of secrets.
fn read<T: serde::de::DeserializeOwned>(mut body: Value) -> Result<T, ControlError> {
    if body.get("credentials").is_some_and(|value| !value.is_object() && !value.is_null()) {
        body["credentials"] = Value::Null;
        return Err(ControlError::unprocessable("Credentials must be an object"));
    }
    serde_json::from_value(body).map_err(|error| ControlError::Unprocessable(error.to_string()))
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let fields = fields::take(&mut query)?;
    let instance = api.control.service_instance(&caller, id).await?;
    let mut body = json!(present::instance(&api, &instance));
    if let Some(included) = fields::included(&api, &fields, vec![instance.space_id]).await? {
        body["included"] = included;
    }
    Ok(Json(body).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
    Body(body): Body<Value>,
) -> Result<Response, ApiFailure> {
    let body: UpdateServiceInstance = read(body)?;
    let change = ServiceInstanceChange {
        name: body.name,
        tags: body.tags,
        credentials: body.credentials,
        syslog_drain_url: body.syslog_drain_url.map(not_empty),
        route_service_url: body.route_service_url.map(not_empty),
        metadata: metadata::change(body.metadata)?,
    };
    let instance = api.control.update_service_instance(&caller, id, change).await?;
    Ok(Json(present::instance(&api, &instance)).into_response())
}

async fn remove(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let purge = query.take("purge").as_deref() == Some("true");
    api.control.delete_service_instance(&caller, id, purge).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn credentials(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
) -> Result<Response, ApiFailure> {
    Ok(Json(api.control.service_credentials(&caller, id).await?).into_response())
}

async fn parameters(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
) -> Result<Response, ApiFailure> {
    api.control.service_instance(&caller, id).await?;
    Err(no_instance_parameters())
}

async fn permissions(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
) -> Result<Response, ApiFailure> {
    let (read, manage) = api.control.service_instance_permissions(&caller, id).await?;
    Ok(Json(ServiceInstancePermissions { read, manage }).into_response())
}

async fn shared_spaces(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let fields = fields::take(&mut query)?;
    api.control.service_instance(&caller, id).await?;
    let own = format!("/v3/service_instances/{id}/relationships/shared_spaces");
    let shared = SharedSpaces { data: Vec::new(), links: api.links([("self", own)]) };
    let mut body = json!(shared);
    if let Some(included) = fields::included(&api, &fields, Vec::new()).await? {
        body["included"] = included;
    }
    Ok(Json(body).into_response())
}

async fn usage_summary(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
) -> Result<Response, ApiFailure> {
    api.control.service_instance(&caller, id).await?;
    let instance = format!("/v3/service_instances/{id}");
    let shared = format!("{instance}/relationships/shared_spaces");
    let links = api.links([
        ("self", format!("{shared}/usage_summary")),
        ("shared_spaces", shared),
        ("service_instance", instance),
    ]);
    Ok(Json(json!({ "usage_summary": [], "links": links })).into_response())
}

async fn share(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
) -> Result<Response, ApiFailure> {
    api.control.share_service_instance(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn unshare(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceInstanceId>,
    Path((_, space)): Path<(String, String)>,
) -> Result<Response, ApiFailure> {
    api.control.unshare_service_instance(&caller, id, &space).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The instances of these ids that the caller sees, for what a list includes.
pub(crate) async fn included(
    api: &Api,
    caller: &Caller,
    ids: &[ServiceInstanceId],
) -> Result<Vec<cupola_wire::services::ServiceInstance>, ApiFailure> {
    let request = ListRequest::of_ids(ids);
    let page = api.control.list_service_instances(caller, &Default::default(), &request).await?;
    Ok(page.items.iter().map(|instance| present::instance(api, instance)).collect())
}

fn not_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}
