//! `/v3/roles`.

mod present;

use axum::{
    Json, Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_control::{ControlError, caller::Caller, roles::Holder};
use cupola_domain::{
    ids::{OrgId, RoleId, SpaceId, UserId},
    roles::{Role, RoleKind, RoleScope},
};
use cupola_ports::store::Direction;
use cupola_wire::{
    list::ToOne,
    roles::{CreateRole, CreateRoleRelationships, RoleHolderData},
};
use serde_json::{Value, json};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Body, Id},
    jobs::accepted,
    list::ListQuery,
    organizations, spaces, users,
};

const INCLUDES: &[&str] = &["user", "organization", "space"];

pub(crate) fn routes() -> Router<Api> {
    Router::new()
        .route("/v3/roles", get(list).post(create))
        .route("/v3/roles/{guid}", get(show).delete(delete))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let (request, presenter) = query
        .filter("guids", "id")
        .filter("types", "kind")
        .filter("organization_guids", "org_id")
        .filter("space_guids", "space_id")
        .filter("user_guids", "user_id")
        .finish(&["created_at", "updated_at"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_roles(&caller, &request).await?;
    let included = included(&api, &caller, &include, &page.items).await?;
    let mut list = presenter.present(&api, page, |role| present::role(&api, &role));
    list.included = included;
    Ok(Json(list).into_response())
}

async fn create(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Body(body): Body<CreateRole>,
) -> Result<Response, ApiFailure> {
    let kind = kind_named(&body.kind)?;
    let scope = scope(kind, &body.relationships)?;
    let holder = holder(body.relationships.user.data)?;
    let role = api.control.create_role(&caller, kind, holder, scope).await?;
    Ok((StatusCode::CREATED, Json(present::role(&api, &role))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RoleId>,
    mut query: ListQuery,
) -> Result<Response, ApiFailure> {
    let include = query.take_include(INCLUDES)?;
    let role = api.control.role(&caller, id).await?;
    let mut body = json!(present::role(&api, &role));
    if let Some(included) = included(&api, &caller, &include, &[role]).await? {
        body["included"] = included;
    }
    Ok(Json(body).into_response())
}

async fn delete(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<RoleId>,
) -> Result<Response, ApiFailure> {
    let job = api.control.delete_role(&caller, id).await?;
    Ok(accepted(&api, &job))
}

/// What a client asked for beside the roles.
async fn included(
    api: &Api,
    caller: &Caller,
    wanted: &[String],
    roles: &[Role],
) -> Result<Option<Value>, ApiFailure> {
    if wanted.is_empty() {
        return Ok(None);
    }
    let mut included = serde_json::Map::new();
    for wanted in wanted {
        let (key, value) = match wanted.as_str() {
            "user" => {
                let ids: Vec<UserId> = roles.iter().map(|role| role.user_id).collect();
                ("users", json!(users::included(api, caller, &ids).await?))
            }
            "organization" => {
                let of = |role: &Role| match role.scope {
                    RoleScope::Org(org) => Some(org),
                    RoleScope::Space(_) => None,
                };
                let ids: Vec<OrgId> = roles.iter().filter_map(of).collect();
                ("organizations", json!(organizations::included(api, caller, &ids).await?))
            }
            _ => {
                let of = |role: &Role| match role.scope {
                    RoleScope::Space(space) => Some(space),
                    RoleScope::Org(_) => None,
                };
                let ids: Vec<SpaceId> = roles.iter().filter_map(of).collect();
                ("spaces", json!(spaces::included(api, caller, &ids).await?))
            }
        };
        included.insert(key.to_owned(), value);
    }
    Ok(Some(Value::Object(included)))
}

fn kind_named(name: &str) -> Result<RoleKind, ControlError> {
    const KINDS: &[RoleKind] = &[
        RoleKind::OrganizationAuditor,
        RoleKind::OrganizationBillingManager,
        RoleKind::OrganizationManager,
        RoleKind::OrganizationUser,
        RoleKind::SpaceAuditor,
        RoleKind::SpaceDeveloper,
        RoleKind::SpaceManager,
        RoleKind::SpaceSupporter,
    ];
    KINDS.iter().find(|kind| kind.name() == name).copied().ok_or_else(|| {
        let names: Vec<&str> = KINDS.iter().map(|kind| kind.name()).collect();
        let names = names.join(", ");
        ControlError::Unprocessable(format!("Type must be one of the allowed types [{names}]"))
    })
}

fn scope(kind: RoleKind, at: &CreateRoleRelationships) -> Result<RoleScope, ControlError> {
    let guid = |one: &Option<ToOne>| {
        one.as_ref().and_then(|one| one.data.as_ref()).map(|data| data.guid.clone())
    };
    match (guid(&at.organization), guid(&at.space)) {
        (Some(_), Some(_)) => Err(ControlError::unprocessable(
            "Role cannot be associated with both an organization and a space.",
        )),
        (Some(org), None) if kind.is_of_org() => {
            org.parse().map(RoleScope::Org).map_err(|_| invalid("organization"))
        }
        (None, Some(space)) if !kind.is_of_org() => {
            space.parse().map(RoleScope::Space).map_err(|_| invalid("space"))
        }
        _ if kind.is_of_org() => Err(ControlError::unprocessable(
            "Role with organization role type must be associated with an organization.",
        )),
        _ => Err(ControlError::unprocessable(
            "Role with space role type must be associated with a space.",
        )),
    }
}

fn invalid(noun: &str) -> ControlError {
    ControlError::Unprocessable(format!(
        "Invalid {noun}. Ensure that the {noun} exists and you have access to it."
    ))
}

fn holder(data: RoleHolderData) -> Result<Holder, ControlError> {
    match (data.guid, data.username) {
        (Some(guid), None) if data.origin.is_none() => guid.parse().map(Holder::Id).map_err(|_| {
            ControlError::Unprocessable(format!("No user exists with the guid '{guid}'."))
        }),
        (None, Some(username)) => Ok(Holder::Named { username, origin: data.origin }),
        _ => Err(ControlError::unprocessable(
            "User must be given by guid, or by username and perhaps origin, and not by both.",
        )),
    }
}
