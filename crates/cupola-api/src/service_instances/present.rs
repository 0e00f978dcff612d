//! How a service instance is written.

use cupola_domain::{services::ServiceInstance, time::Timestamp};
use cupola_wire::{
    list::ToOne,
    services::{self, InSpace, LastOperation},
};

use crate::{Api, metadata};

pub(super) fn instance(api: &Api, instance: &ServiceInstance) -> services::ServiceInstance {
    let id = instance.id;
    let own = format!("/v3/service_instances/{id}");
    let bindings = |what: &str| format!("/v3/{what}?service_instance_guids={id}");
    services::ServiceInstance {
        guid: id.to_string(),
        created_at: instance.created_at.rfc3339(),
        updated_at: instance.updated_at.rfc3339(),
        name: instance.name.clone(),
        tags: instance.tags.clone(),
        kind: "user-provided".to_owned(),
        syslog_drain_url: instance.syslog_drain_url.clone(),
        route_service_url: instance.route_service_url.clone(),
        last_operation: last_operation(instance.created_at, instance.updated_at),
        relationships: InSpace { space: ToOne::to(instance.space_id) },
        metadata: metadata::present(&instance.metadata),
        links: api.links([
            ("self", own.clone()),
            ("space", format!("/v3/spaces/{}", instance.space_id)),
            ("service_credential_bindings", bindings("service_credential_bindings")),
            ("service_route_bindings", bindings("service_route_bindings")),
            ("credentials", format!("{own}/credentials")),
        ]),
    }
}

/// Made, or changed since.
fn last_operation(created_at: Timestamp, updated_at: Timestamp) -> LastOperation {
    let (kind, at) =
        if updated_at > created_at { ("update", updated_at) } else { ("create", created_at) };
    LastOperation {
        kind: kind.to_owned(),
        state: "succeeded".to_owned(),
        description: Some("Operation succeeded".to_owned()),
        created_at: at.rfc3339(),
        updated_at: at.rfc3339(),
    }
}
