//! How an app is written.

use cupola_domain::apps::{App, AppState, Lifecycle};
use cupola_wire::{
    apps::{self, AppRelationships, LifecycleData},
    list::ToOne,
};

use super::post_link;
use crate::{Api, metadata};

pub(crate) fn app(api: &Api, app: &App) -> apps::App {
    let own = format!("/v3/apps/{}", app.id);
    let of = |rest: &str| format!("{own}/{rest}");
    let mut links = api.links([
        ("self", own.clone()),
        ("space", format!("/v3/spaces/{}", app.space_id)),
        ("processes", of("processes")),
        ("packages", of("packages")),
        ("environment_variables", of("environment_variables")),
        ("current_droplet", of("droplets/current")),
        ("droplets", of("droplets")),
        ("tasks", of("tasks")),
        ("revisions", of("revisions")),
        ("deployed_revisions", of("revisions/deployed")),
        ("features", of("features")),
    ]);
    links.insert("start".to_owned(), post_link(api, of("actions/start")));
    links.insert("stop".to_owned(), post_link(api, of("actions/stop")));
    let droplet = app.current_droplet.map_or(ToOne { data: None }, ToOne::to);
    apps::App {
        guid: app.id.to_string(),
        name: app.name.clone(),
        state: state(app.desired).to_owned(),
        lifecycle: lifecycle(&app.lifecycle),
        relationships: AppRelationships {
            space: ToOne::to(app.space_id),
            current_droplet: droplet,
        },
        metadata: metadata::present(&app.metadata),
        created_at: app.created_at.rfc3339(),
        updated_at: app.updated_at.rfc3339(),
        links,
    }
}

pub(crate) fn lifecycle(lifecycle: &Lifecycle) -> apps::Lifecycle {
    apps::Lifecycle {
        kind: "buildpack".to_owned(),
        data: LifecycleData {
            buildpacks: lifecycle.buildpacks.clone(),
            stack: lifecycle.stack.clone(),
        },
    }
}

const fn state(state: AppState) -> &'static str {
    match state {
        AppState::Started => "STARTED",
        AppState::Stopped => "STOPPED",
    }
}
