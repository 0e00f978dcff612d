//! The HTTP API: Cloud Foundry v3, UAA, log-cache and Cupola's own resources.
//!
//! One folder per noun, named as in the URL: its routes, and how it is presented. Use cases are
//! control's; here requests are read and answers are written.
//!
//! Invariant: the only crate that knows axum. The table error -> HTTP is in `error` alone.

mod apps;
mod audit_events;
mod buildpacks;
mod builds;
mod cupola;
mod deployments;
mod domains;
mod droplets;
mod empty;
mod error;
mod extract;
mod feature_flags;
mod include;
mod jobs;
mod list;
mod log_cache;
mod manifests;
mod metadata;
mod organizations;
mod pace;
mod packages;
mod processes;
mod quotas;
mod revisions;
mod roles;
mod root;
mod routes;
mod serve;
mod service_credential_bindings;
mod service_instances;
mod sidecars;
mod spaces;
mod stacks;
mod tasks;
mod uaa;
mod users;

pub use axum::Router;
use cupola_control::Control;
use cupola_wire::list::{Link, Links};

pub use error::ApiFailure;
pub use serve::{Listeners, serve};

/// What every handler gets.
#[derive(Clone)]
pub struct Api {
    pub(crate) control: Control,
    uploads: packages::UploadSlots,
}

impl Api {
    /// Links by name, from paths on this API.
    pub(crate) fn links<const N: usize>(&self, paths: [(&str, String); N]) -> Links {
        let base = &self.control.settings().external_url;
        let link =
            |(name, path): (&str, String)| (name.to_owned(), Link::to(format!("{base}{path}")));
        paths.into_iter().map(link).collect()
    }
}

/// The whole API.
pub fn router(control: Control) -> Router {
    Router::new()
        .merge(cupola::routes())
        .merge(jobs::routes())
        .merge(organizations::routes())
        .merge(users::routes())
        .merge(stacks::routes())
        .merge(sidecars::routes())
        .merge(spaces::routes())
        .merge(roles::routes())
        .merge(quotas::routes())
        .merge(feature_flags::routes())
        .merge(empty::routes())
        .merge(apps::routes())
        .merge(buildpacks::routes())
        .merge(builds::routes())
        .merge(deployments::routes())
        .merge(domains::routes())
        .merge(droplets::routes())
        .merge(log_cache::routes())
        .merge(manifests::routes())
        .merge(packages::routes())
        .merge(processes::routes())
        .merge(revisions::routes())
        .merge(routes::routes())
        .merge(service_credential_bindings::routes())
        .merge(service_instances::routes())
        .merge(audit_events::routes())
        .merge(tasks::routes())
        .merge(uaa::routes())
        .merge(root::routes())
        .fallback(error::unknown_request)
        .method_not_allowed_fallback(error::unknown_request)
        .with_state(Api { control, uploads: packages::UploadSlots::new() })
}
