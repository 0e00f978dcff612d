//! How a build is written.

use cupola_domain::builds::{Build, BuildState, StagingErrorKind};
use cupola_wire::{
    builds::{self, BuildRelationships, CreatedBy},
    list::{Guid, ToOne},
};

use crate::{Api, apps::present::lifecycle, metadata};

pub(super) fn build(api: &Api, build: &Build) -> builds::Build {
    let mut links = api.links([
        ("self", format!("/v3/builds/{}", build.id)),
        ("app", format!("/v3/apps/{}", build.app_id)),
    ]);
    let (state, error, droplet) = match &build.state {
        BuildState::Staging => ("STAGING", None, None),
        BuildState::Staged { droplet } => ("STAGED", None, Some(droplet.to_string())),
        BuildState::Failed { kind, message } => {
            ("FAILED", Some(format!("{} - {message}", kind_name(*kind))), None)
        }
    };
    if let Some(droplet) = &droplet {
        links.extend(api.links([("droplet", format!("/v3/droplets/{droplet}"))]));
    }
    builds::Build {
        guid: build.id.to_string(),
        state: state.to_owned(),
        staging_memory_in_mb: build.memory_mib,
        staging_disk_in_mb: build.disk_mib,
        staging_log_rate_limit_bytes_per_second: -1,
        error,
        lifecycle: lifecycle(&build.lifecycle),
        package: Guid { guid: build.package_id.to_string() },
        droplet: droplet.map(|guid| Guid { guid }),
        created_by: CreatedBy {
            guid: build.created_by.map(|id| id.to_string()).unwrap_or_default(),
            name: build.created_by_name.clone(),
            email: build.created_by_name.clone(),
        },
        relationships: BuildRelationships { app: ToOne::to(build.app_id) },
        metadata: metadata::present(&build.metadata),
        created_at: build.created_at.rfc3339(),
        updated_at: build.updated_at.rfc3339(),
        links,
    }
}

/// The word that upstream's tests and the `cf` CLI's users look for.
const fn kind_name(kind: StagingErrorKind) -> &'static str {
    match kind {
        StagingErrorKind::NoAppDetectedError => "NoAppDetectedError",
        StagingErrorKind::BuildpackCompileFailed => "BuildpackCompileFailed",
        StagingErrorKind::BuildpackReleaseFailed => "BuildpackReleaseFailed",
        StagingErrorKind::InsufficientResources => "InsufficientResources",
        StagingErrorKind::StagingTimeExpired => "StagingTimeExpired",
        StagingErrorKind::StagingError => "StagingError",
    }
}
