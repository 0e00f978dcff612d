//! How a revision is written.

use cupola_control::revisions::ShownRevision;
use cupola_domain::{revisions::commands, sidecars::SidecarSpec};
use cupola_wire::{
    list::{Guid, ToOne},
    revisions::{self, RevisionProcess, RevisionRelationships, RevisionSidecar},
};

use crate::{Api, metadata};

pub(super) fn revision(api: &Api, shown: &ShownRevision) -> revisions::Revision {
    let revision = &shown.revision;
    let own = format!("/v3/revisions/{}", revision.id);
    let process = |(kind, command): (&str, Option<&str>)| {
        let command = command.filter(|_| shown.shows_commands).map(str::to_owned);
        (kind.to_owned(), RevisionProcess { command })
    };
    let sidecar = |one: &SidecarSpec| RevisionSidecar {
        name: one.name.clone(),
        command: shown.shows_commands.then(|| one.command.clone()),
        process_types: one.process_types.clone(),
        memory_in_mb: one.memory_mib,
    };
    revisions::Revision {
        guid: revision.id.to_string(),
        version: revision.version,
        droplet: Guid { guid: revision.release.droplet.to_string() },
        processes: commands(&revision.release).into_iter().map(process).collect(),
        sidecars: revision.release.sidecars.iter().map(sidecar).collect(),
        description: revision.description.clone(),
        deployable: shown.deployable,
        relationships: RevisionRelationships { app: ToOne::to(revision.app_id) },
        metadata: metadata::present(&revision.metadata),
        created_at: revision.created_at.rfc3339(),
        updated_at: revision.updated_at.rfc3339(),
        links: api.links([
            ("self", own.clone()),
            ("app", format!("/v3/apps/{}", revision.app_id)),
            ("environment_variables", format!("{own}/environment_variables")),
        ]),
    }
}
