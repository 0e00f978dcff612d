//! `/v3/service_credential_bindings`: which apps use which service instances.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{
    ControlError, ListRequest, Owners,
    caller::Caller,
    services::bindings::{BindingFilter, BindingTarget, NewBinding},
};
use cupola_domain::{
    ids::ServiceBindingId,
    services::{BindingStrategy, ServiceBinding},
};
use cupola_ports::store::Direction;
use cupola_wire::{
    list::ToOne,
    packages::UpdateMetadata,
    services::{BindingDetails, CreateServiceCredentialBinding},
};
use serde_json::{Map, Value, json};

use crate::{
    Api, apps,
    error::{ApiFailure, no_binding_parameters},
    extract::{Authenticated, Body, Id},
    list::ListQuery,
    metadata, service_instances,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/service_credential_bindings", get(list).post(create))
        .route("/v3/service_credential_bindings/{guid}", get(show).patch(update).delete(remove))
        .route("/v3/service_credential_bindings/{guid}/details", get(details))
        .route("/v3/service_credential_bindings/{guid}/parameters", get(parameters))
}

const INCLUDES: &[&str] = &["app", "service_instance"];

/// Filters for what comes from a broker, of which there is none yet.
const OF_BROKERS: &[&str] = &[
    "service_plan_guids",
    "service_plan_names",
    "service_offering_guids",
    "service_offering_names",
];

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let filter = BindingFilter {
        app_names: query.take_list("app_names"),
        instance_names: query.take_list("service_instance_names"),
    };
    let is_of_broker = OF_BROKERS.iter().filter_map(|name| query.take_list(name)).count() > 0;
    let kind = query.take("type");
    let query = query
        .filter("guids", "id")
        .filter("names", "name")
        .filter("app_guids", "app_id")
        .filter("service_instance_guids", "service_instance_id")
        .labels()?;
    let query = match kind.as_deref() {
        None | Some("app") if !is_of_broker => query,
        None | Some("app" | "key") => query.nothing("id"),
        Some(_) => {
            let detail = "Type must be one of 'app', 'key'";
            return Err(ControlError::BadQuery(detail.to_owned()).into());
        }
    };
    let orderable: &[&str] = &["created_at", "updated_at", "name"];
    let (request, presenter) = query.finish(orderable, ("created_at", Direction::Ascending))?;
    let page = api.control.list_service_bindings(&caller, &filter, &request).await?;
    let included = included(&api, &caller, &page.items, &include).await?;
    let mut list = presenter.present(&api, page, |one| present::binding(&api, &one));
    list.included = included;
    Ok(Json(list).into_response())
}

/// What a client asks for beside bindings.
async fn included(
    api: &Api,
    caller: &Caller,
    bindings: &[ServiceBinding],
    wanted: &[String],
) -> Result<Option<Value>, ApiFailure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let wants = |name: &str| wanted.iter().any(|one| one == name);
    let mut included = Map::new();
    if wants("app") {
        let ids: Vec<_> = bindings.iter().map(|binding| binding.app_id).collect();
        let request = ListRequest::of_ids(&ids);
        let page = api.control.list_apps(caller, &Owners::default(), &request).await?;
        let apps: Vec<_> = page.items.iter().map(|app| apps::present::app(api, app)).collect();
        included.insert("apps".to_owned(), json!(apps));
    }
    if wants("service_instance") {
        let ids: Vec<_> = bindings.iter().map(|binding| binding.service_instance_id).collect();
        let instances = service_instances::included(api, caller, &ids).await?;
        included.insert("service_instances".to_owned(), json!(instances));
    }
    Ok(Some(Value::Object(included)))
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateServiceCredentialBinding>,
) -> Result<Response, ApiFailure> {
    let target = match body.kind.as_str() {
        "app" => {
            let app = body
                .relationships
                .app
                .ok_or_else(|| ControlError::unprocessable("Relationships App can't be blank"))?;
            BindingTarget::App(named(&app, "app")?)
        }
        "key" => BindingTarget::Key,
        _ => {
            let detail = "Type must be one of 'key', 'app'";
            return Err(ControlError::unprocessable(detail).into());
        }
    };
    let instance = named(&body.relationships.service_instance, "service instance")?;
    if body.parameters.is_some() {
        let detail = "Binding parameters are not supported for user-provided service instances";
        return Err(ControlError::unprocessable(detail).into());
    }
    let strategy = match body.strategy.as_deref() {
        None | Some("single") => BindingStrategy::Single,
        Some("multiple") => BindingStrategy::Multiple,
        Some(_) => {
            let detail = "Strategy must be 'single' or 'multiple'";
            return Err(ControlError::unprocessable(detail).into());
        }
    };
    let name = body.name.filter(|name| !name.is_empty());
    let new = NewBinding { name, strategy, metadata: metadata::initial(body.metadata)? };
    let binding = api.control.create_service_binding(&caller, instance, target, new).await?;
    Ok((StatusCode::CREATED, Json(present::binding(&api, &binding))).into_response())
}

/// What a relationship names. A guid that is none names nothing.
fn named<T: std::str::FromStr>(to: &ToOne, what: &str) -> Result<T, ControlError> {
    let guid = to.data.as_ref().map(|data| data.guid.as_str()).unwrap_or_default();
    guid.parse().map_err(|_| {
        ControlError::Unprocessable(format!("The {what} could not be found: '{guid}'"))
    })
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceBindingId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let binding = api.control.service_binding(&caller, id).await?;
    let included = included(&api, &caller, std::slice::from_ref(&binding), &include).await?;
    let mut body = json!(present::binding(&api, &binding));
    if let Some(included) = included {
        body["included"] = included;
    }
    Ok(Json(body).into_response())
}

async fn update(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceBindingId>,
    Body(body): Body<UpdateMetadata>,
) -> Result<Response, ApiFailure> {
    let change = metadata::change(body.metadata)?;
    let binding = api.control.update_service_binding(&caller, id, change).await?;
    Ok(Json(present::binding(&api, &binding)).into_response())
}

async fn remove(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceBindingId>,
) -> Result<Response, ApiFailure> {
    api.control.delete_service_binding(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn details(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceBindingId>,
) -> Result<Response, ApiFailure> {
    let details = api.control.service_binding_details(&caller, id).await?;
    let body = BindingDetails {
        credentials: details.credentials,
        syslog_drain_url: details.syslog_drain_url,
    };
    Ok(Json(body).into_response())
}

async fn parameters(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<ServiceBindingId>,
) -> Result<Response, ApiFailure> {
    api.control.service_binding(&caller, id).await?;
    Err(no_binding_parameters())
}
