//! How a droplet is written.

use cupola_control::droplets::ShownDroplet;
use cupola_domain::{
    apps::Lifecycle,
    droplets::{DropletState, UsedBuildpack},
};
use cupola_wire::{
    droplets::{self, DropletBuildpack, DropletRelationships},
    list::{Link, ToOne},
    packages::Checksum,
};

use crate::{
    Api,
    apps::{post_link, present::lifecycle},
    metadata,
};

/// `hidden` is what the text in place of a command ends with.
pub(super) fn droplet(api: &Api, shown: &ShownDroplet, hidden: &str) -> droplets::Droplet {
    let droplet = &shown.droplet;
    let contents = &droplet.contents;
    let own = format!("/v3/droplets/{}", droplet.id);
    let assign = format!("/v3/apps/{}/relationships/current_droplet", droplet.app_id);
    let mut links =
        api.links([("self", own.clone()), ("app", format!("/v3/apps/{}", droplet.app_id))]);
    match droplet.state {
        DropletState::Staged => {
            links.extend(api.links([("download", format!("{own}/download"))]));
        }
        DropletState::AwaitingUpload => {
            links.insert("upload".to_owned(), post_link(api, format!("{own}/upload")));
        }
        DropletState::ProcessingUpload | DropletState::Failed { .. } => {}
    }
    let href = format!("{}{assign}", api.control.settings().external_url);
    let assign = Link { href, method: Some("PATCH".to_owned()) };
    links.insert("assign_current_droplet".to_owned(), assign);
    if let Some(package) = droplet.package_id {
        links.extend(api.links([("package", format!("/v3/packages/{package}"))]));
    }
    let hide = |command: &String| {
        if shown.shows_commands {
            command.clone()
        } else {
            format!("[PRIVATE DATA HIDDEN {hidden}").trim_end().to_owned() + "]"
        }
    };
    let process_types =
        contents.process_types.iter().map(|(kind, command)| (kind.clone(), hide(command)));
    droplets::Droplet {
        guid: droplet.id.to_string(),
        state: droplet.state.name().to_owned(),
        error: match &droplet.state {
            DropletState::Failed { error } => Some(error.clone()),
            _ => None,
        },
        lifecycle: lifecycle(&Lifecycle {
            buildpacks: contents.buildpacks.iter().map(|used| used.name.clone()).collect(),
            stack: contents.stack.clone(),
        }),
        execution_metadata: String::new(),
        process_types: process_types.collect(),
        // The app's own layer is the last one, and differs whenever the droplet does.
        checksum: contents.layers.last().map(|layer| Checksum {
            kind: "sha256".to_owned(),
            value: Some(layer.hex().to_owned()),
        }),
        buildpacks: contents.buildpacks.iter().map(buildpack).collect(),
        stack: contents.stack.clone(),
        image: None,
        relationships: DropletRelationships { app: ToOne::to(droplet.app_id) },
        metadata: metadata::present(&droplet.metadata),
        created_at: droplet.created_at.rfc3339(),
        updated_at: droplet.updated_at.rfc3339(),
        links,
    }
}

fn buildpack(used: &UsedBuildpack) -> DropletBuildpack {
    DropletBuildpack {
        name: used.name.clone(),
        detect_output: used.detect_output.clone(),
        buildpack_name: used.buildpack_name.clone(),
        version: used.version.clone(),
    }
}
