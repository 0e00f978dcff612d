//! `/v3/audit_events`.

use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::get,
};
use cupola_domain::{
    audit::{AuditEvent as DomainEvent, Party as DomainParty},
    ids::EventId,
};
use cupola_ports::store::Direction;
use cupola_wire::{
    audit_events::{AuditEvent, Party},
    list::Guid,
};

use crate::{
    Api,
    error::ApiFailure,
    extract::{Authenticated, Id},
    list::ListQuery,
};

pub(crate) fn routes() -> Router<Api> {
    Router::new().route("/v3/audit_events", get(list)).route("/v3/audit_events/{guid}", get(show))
}

async fn list(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    query: ListQuery,
) -> Result<Response, ApiFailure> {
    let (request, presenter) = query
        .filter("guids", "id")
        .filter("types", "kind")
        .filter("target_guids", "target_id")
        .filter("space_guids", "space_id")
        .filter("organization_guids", "org_id")
        .finish(&["created_at", "updated_at"], ("created_at", Direction::Ascending))?;
    let page = api.control.list_events(&caller, &request).await?;
    Ok(Json(presenter.present(&api, page, |event| present(&api, event))).into_response())
}

async fn show(
    State(api): State<Api>,
    Authenticated(caller): Authenticated,
    Id(id): Id<EventId>,
) -> Result<Response, ApiFailure> {
    let event = api.control.event(&caller, id).await?;
    Ok(Json(present(&api, event)).into_response())
}

fn present(api: &Api, event: DomainEvent) -> AuditEvent {
    AuditEvent {
        guid: event.id.to_string(),
        created_at: event.created_at.rfc3339(),
        updated_at: event.created_at.rfc3339(),
        kind: event.kind,
        actor: party(event.actor),
        target: party(event.target),
        data: event.data,
        space: event.space_id.map(|id| Guid { guid: id.to_string() }),
        organization: event.org_id.map(|id| Guid { guid: id.to_string() }),
        links: api.links([("self", format!("/v3/audit_events/{}", event.id))]),
    }
}

fn party(party: DomainParty) -> Party {
    Party { guid: party.id, kind: party.kind, name: party.name }
}
