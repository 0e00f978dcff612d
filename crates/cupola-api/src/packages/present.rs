//! How a package is written.

use cupola_domain::packages::{Package, PackageState};
use cupola_ports::stager;
use cupola_wire::{
    list::{Link, ToOne},
    packages::{self, Checksum, PackageData, PackageRelationships, ResourceChecksum},
};

use crate::{Api, apps::post_link, metadata};

pub(super) fn package(api: &Api, package: &Package) -> packages::Package {
    let own = format!("/v3/packages/{}", package.id);
    let mut links =
        api.links([("self", own.clone()), ("app", format!("/v3/apps/{}", package.app_id))]);
    links.insert("upload".to_owned(), post_link(api, format!("{own}/upload")));
    let download = format!("{}{own}/download", api.control.settings().external_url);
    let download = Link { href: download, method: Some("GET".to_owned()) };
    links.insert("download".to_owned(), download);
    let (error, checksum) = match &package.state {
        PackageState::Ready { layer } => (None, Some(layer.hex().to_owned())),
        PackageState::Failed { error } => (Some(error.clone()), None),
        PackageState::AwaitingUpload | PackageState::ProcessingUpload | PackageState::Expired => {
            (None, None)
        }
    };
    packages::Package {
        guid: package.id.to_string(),
        kind: "bits".to_owned(),
        data: PackageData {
            error,
            checksum: Checksum { kind: "sha256".to_owned(), value: checksum },
        },
        state: state(&package.state).to_owned(),
        relationships: PackageRelationships { app: ToOne::to(package.app_id) },
        metadata: metadata::present(&package.metadata),
        created_at: package.created_at.rfc3339(),
        updated_at: package.updated_at.rfc3339(),
        links,
    }
}

const fn state(state: &PackageState) -> &'static str {
    match state {
        PackageState::AwaitingUpload => "AWAITING_UPLOAD",
        PackageState::ProcessingUpload => "PROCESSING_UPLOAD",
        PackageState::Ready { .. } => "READY",
        PackageState::Failed { .. } => "FAILED",
        PackageState::Expired => "EXPIRED",
    }
}

pub(super) fn resource(file: stager::Resource) -> packages::Resource {
    packages::Resource {
        checksum: ResourceChecksum { value: file.sha1 },
        size_in_bytes: file.bytes,
        path: file.path,
        mode: format!("{:o}", file.mode),
    }
}
