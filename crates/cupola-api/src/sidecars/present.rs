//! How a sidecar is written.

use cupola_control::{HIDDEN, sidecars::ShownSidecar};
use cupola_domain::sidecars::Sidecar;
use cupola_wire::{
    list::ToOne,
    sidecars::{self, SidecarRelationships},
};

use crate::Api;

/// As the caller may see it.
pub(super) fn shown(api: &Api, shown: &ShownSidecar) -> sidecars::Sidecar {
    let mut body = sidecar(api, &shown.sidecar);
    if !shown.shows_command {
        body.command = HIDDEN.to_owned();
    }
    body
}

/// To whom it was made or changed by, with its command.
pub(super) fn sidecar(api: &Api, sidecar: &Sidecar) -> sidecars::Sidecar {
    let spec = &sidecar.spec;
    sidecars::Sidecar {
        guid: sidecar.id.to_string(),
        name: spec.name.clone(),
        command: spec.command.clone(),
        process_types: spec.process_types.clone(),
        memory_in_mb: spec.memory_mib,
        origin: spec.origin.name().to_owned(),
        relationships: SidecarRelationships { app: ToOne::to(sidecar.app_id) },
        created_at: sidecar.created_at.rfc3339(),
        updated_at: sidecar.updated_at.rfc3339(),
        links: api.links([
            ("self", format!("/v3/sidecars/{}", sidecar.id)),
            ("app", format!("/v3/apps/{}", sidecar.app_id)),
        ]),
    }
}
