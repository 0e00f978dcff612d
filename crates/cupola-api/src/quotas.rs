//! `/v3/organization_quotas`: the one quota there is, without limits.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use cupola_control::{ControlError, ListRequest, caller::Caller};
use cupola_domain::ids::OrgId;
use cupola_ports::store::Direction;
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Guid},
    list::ListQuery,
};

/// The quota is no row yet, so that its id and times are fixed.
pub(crate) const DEFAULT_QUOTA: &str = "00000000-0000-4000-8000-00000000c0de";
const EPOCH: &str = "1970-01-01T00:00:00Z";

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/organization_quotas", get(list).post(refuse_change))
        .route(
            "/v3/organization_quotas/{guid}",
            get(show).patch(refuse_change).delete(refuse_change),
        )
        .route("/v3/organization_quotas/{guid}/relationships/organizations", post(apply))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let names = query.take_list("names");
    let guids = query.take_list("guids");
    let orgs = query.take_list("organization_guids");
    let (request, presenter) = query
        .finish(&["created_at", "updated_at", "name"], ("created_at", Direction::Ascending))?;
    let visible = visible_orgs(&api, &caller).await?;
    let is_wanted = names.is_none_or(|names| names.iter().any(|name| name == "default"))
        && guids.is_none_or(|guids| guids.iter().any(|guid| guid == DEFAULT_QUOTA))
        && orgs.is_none_or(|orgs| visible.iter().any(|org| orgs.contains(&org.to_string())));
    let quotas = is_wanted.then(|| quota(&api, &visible)).into_iter().collect();
    let page = request.cut(quotas);
    Ok(Json(presenter.present(&api, page, |quota| quota)).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Guid(guid): Guid,
) -> Result<Response, ApiFailure> {
    require_known(&guid)?;
    let visible = visible_orgs(&api, &caller).await?;
    Ok(Json(quota(&api, &visible)).into_response())
}

async fn refuse_change(Authenticated(caller): Authenticated) -> Result<Response, ApiFailure> {
    if !caller.admin {
        return Err(ControlError::NotAuthorized.into());
    }
    let detail = "quotas cannot be made or changed on this platform yet; every organization has \
                  the quota 'default', which has no limits";
    Err(ControlError::unprocessable(detail).into())
}

/// Every organisation has the quota already, so that giving it changes nothing.
async fn apply(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Guid(guid): Guid,
    Body(body): Body<Value>,
) -> Result<Response, ApiFailure> {
    require_known(&guid)?;
    if !caller.admin {
        return Err(ControlError::NotAuthorized.into());
    }
    let wanted = body["data"].as_array().cloned().unwrap_or_default();
    let visible = visible_orgs(&api, &caller).await?;
    let is_there = |one: &Value| visible.iter().any(|org| one["guid"] == org.to_string());
    if let Some(missing) = wanted.iter().find(|one| !is_there(one)) {
        let guid = missing["guid"].as_str().unwrap_or_default();
        let detail = format!("Organizations with guids [\"{guid}\"] do not exist");
        return Err(ControlError::Unprocessable(detail).into());
    }
    let data: Vec<Value> = visible.iter().map(|org| json!({ "guid": org.to_string() })).collect();
    let path = format!("/v3/organization_quotas/{guid}/relationships/organizations");
    Ok(Json(json!({ "data": data, "links": api.links([("self", path)]) })).into_response())
}

fn require_known(guid: &str) -> Result<(), ControlError> {
    if guid == DEFAULT_QUOTA {
        Ok(())
    } else {
        Err(ControlError::NotFound { noun: "Organization quota" })
    }
}

async fn visible_orgs(api: &Api, caller: &Caller) -> Result<Vec<OrgId>, ControlError> {
    let request = ListRequest {
        page: 1,
        per_page: ListRequest::PER_PAGE_MAX,
        order: None,
        conditions: Vec::new(),
    };
    let orgs = api.control.list_orgs(caller, &request).await?.items;
    Ok(orgs.into_iter().map(|org| org.id).collect())
}

fn quota(api: &Api, orgs: &[OrgId]) -> Value {
    let data: Vec<Value> = orgs.iter().map(|org| json!({ "guid": org.to_string() })).collect();
    json!({
        "guid": DEFAULT_QUOTA,
        "created_at": EPOCH,
        "updated_at": EPOCH,
        "name": "default",
        "apps": {
            "total_memory_in_mb": null,
            "per_process_memory_in_mb": null,
            "total_instances": null,
            "per_app_tasks": null,
            "log_rate_limit_in_bytes_per_second": null,
        },
        "services": {
            "paid_services_allowed": true,
            "total_service_instances": null,
            "total_service_keys": null,
        },
        "routes": { "total_routes": null, "total_reserved_ports": null },
        "domains": { "total_domains": null },
        "relationships": { "organizations": { "data": data } },
        "links": api.links([("self", format!("/v3/organization_quotas/{DEFAULT_QUOTA}"))]),
    })
}
