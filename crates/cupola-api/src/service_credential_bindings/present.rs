//! How a binding is written.

use cupola_domain::services::ServiceBinding;
use cupola_wire::{
    list::ToOne,
    services::{BindingRelationships, LastOperation, ServiceCredentialBinding},
};

use crate::{Api, metadata};

pub(super) fn binding(api: &Api, binding: &ServiceBinding) -> ServiceCredentialBinding {
    let own = format!("/v3/service_credential_bindings/{}", binding.id);
    let (instance, app) = (binding.service_instance_id, binding.app_id);
    ServiceCredentialBinding {
        guid: binding.id.to_string(),
        created_at: binding.created_at.rfc3339(),
        updated_at: binding.updated_at.rfc3339(),
        name: binding.name.clone(),
        kind: "app".to_owned(),
        last_operation: LastOperation {
            kind: "create".to_owned(),
            state: "succeeded".to_owned(),
            description: None,
            created_at: binding.created_at.rfc3339(),
            updated_at: binding.created_at.rfc3339(),
        },
        relationships: BindingRelationships {
            service_instance: ToOne::to(instance),
            app: Some(ToOne::to(app)),
        },
        metadata: metadata::present(&binding.metadata),
        links: api.links([
            ("self", own.clone()),
            ("details", format!("{own}/details")),
            ("parameters", format!("{own}/parameters")),
            ("service_instance", format!("/v3/service_instances/{instance}")),
            ("app", format!("/v3/apps/{app}")),
        ]),
    }
}
