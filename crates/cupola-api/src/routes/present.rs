//! How a route and its destinations are written.

use cupola_control::routes::ShownRoute;
use cupola_domain::{ids::RouteId, processes::APP_PORT, routes::Destination};
use cupola_wire::{
    list::ToOne,
    routes::{self, DestinationApp, DestinationProcess, Destinations, RouteRelationships},
};

use crate::{Api, metadata};

pub(super) fn route(api: &Api, shown: &ShownRoute) -> routes::Route {
    let route = &shown.route;
    let own = format!("/v3/routes/{}", route.id);
    routes::Route {
        guid: route.id.to_string(),
        protocol: "http".to_owned(),
        host: route.host.clone(),
        path: route.path.clone(),
        port: None,
        url: shown.address.clone(),
        destinations: shown.destinations.iter().map(destination).collect(),
        options: route.options.clone(),
        relationships: RouteRelationships {
            space: ToOne::to(route.space_id),
            domain: ToOne::to(route.domain_id),
        },
        metadata: metadata::present(&route.metadata),
        created_at: route.created_at.rfc3339(),
        updated_at: route.updated_at.rfc3339(),
        links: api.links([
            ("self", own.clone()),
            ("space", format!("/v3/spaces/{}", route.space_id)),
            ("domain", format!("/v3/domains/{}", route.domain_id)),
            ("destinations", format!("{own}/destinations")),
        ]),
    }
}

pub(super) fn destinations(api: &Api, route: RouteId, all: &[Destination]) -> Destinations {
    let own = format!("/v3/routes/{route}");
    Destinations {
        destinations: all.iter().map(destination).collect(),
        links: api.links([("self", format!("{own}/destinations")), ("route", own.clone())]),
    }
}

pub(super) fn destination(destination: &Destination) -> routes::Destination {
    routes::Destination {
        guid: destination.id.to_string(),
        app: DestinationApp {
            guid: destination.app_id.to_string(),
            process: DestinationProcess { kind: destination.process_type.clone() },
        },
        weight: destination.weight,
        port: destination.port.unwrap_or(APP_PORT),
        protocol: destination.protocol.clone(),
        created_at: destination.created_at.rfc3339(),
        updated_at: destination.updated_at.rfc3339(),
    }
}
