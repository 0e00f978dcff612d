//! Which apps a route leads to.

use cupola_domain::{
    access::Access,
    apps::App,
    ids::{AppId, DestinationId, RouteId},
    orgs::Org,
    processes::{APP_PORT, WEB},
    routes::Destination,
    spaces::Space,
};
use cupola_ports::store::{self, Query, WriteTx};
use serde_json::json;

use super::FoundRoute;
use crate::{Control, ControlError, apps::PlacedApp, caller::Caller, launch_spec::route_address};

/// What a client says of a destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewDestination {
    pub app: AppId,
    pub process_type: String,
    pub port: Option<u16>,
    pub protocol: Option<String>,
    pub weight: Option<u8>,
}

impl NewDestination {
    /// The web process of an app, on the port it is told.
    pub const fn web(app: AppId, protocol: Option<String>) -> Self {
        Self { app, process_type: String::new(), port: None, protocol, weight: None }
    }

    fn process_type(&self) -> &str {
        if self.process_type.is_empty() { WEB } else { &self.process_type }
    }
}

/// What happens to the destinations that a client does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Others {
    Stay,
    Go,
}

/// A route may lead to this many apps, as upstream.
const DESTINATIONS_MAX: usize = 100;

const PROCESS_TYPE_CHARS_MAX: usize = 255;

impl Control {
    pub async fn destinations(
        &self,
        caller: &Caller,
        route: RouteId,
    ) -> Result<Vec<Destination>, ControlError> {
        Ok(self.route(caller, route).await?.destinations)
    }

    /// Adds destinations to a route, or makes them the only ones.
    pub async fn map_route(
        &self,
        caller: &Caller,
        route: RouteId,
        wanted: Vec<NewDestination>,
        others: Others,
    ) -> Result<Vec<Destination>, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let found = self.readable_route(&mut *tx, &access, route).await?;
        found.may_map(&access)?;
        // Each is looked up and compared with the others while nobody else can write.
        if wanted.len() > DESTINATIONS_MAX {
            return Err(too_many());
        }
        let mut apps = Vec::with_capacity(wanted.len());
        for one in &wanted {
            let app = store::get::<App>(&mut *tx, one.app).await?;
            apps.push(self.mappable_app(&mut *tx, &access, &found, one.app, app).await?);
        }
        let present = destinations_of(&mut *tx, route).await?;
        let (mut all, gone): (Vec<_>, Vec<_>) = present
            .into_iter()
            .partition(|old| others == Others::Stay || wanted.iter().any(|new| is_same(new, old)));
        for old in &gone {
            self.unmap(&mut *tx, caller, &found, old).await?;
        }
        for old in &mut all {
            let new = wanted.iter().find(|new| is_same(new, old));
            let weight = match (new, others) {
                (Some(new), Others::Go) => new.weight,
                (new, _) => new.and_then(|new| new.weight).or(old.weight),
            };
            self.weigh(&mut *tx, caller, &found, old, weight).await?;
        }
        for (new, app) in wanted.into_iter().zip(apps) {
            self.map_beside(&mut *tx, caller, &found, app, new, &mut all).await?;
        }
        tx.commit().await?;
        Ok(all)
    }

    /// Gives a destination its share of the requests.
    pub(crate) async fn weigh(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &FoundRoute,
        destination: &mut Destination,
        weight: Option<u8>,
    ) -> Result<(), ControlError> {
        check_weight(weight)?;
        if weight == destination.weight {
            return Ok(());
        }
        destination.weight = weight;
        destination.updated_at = self.ports.clock.now();
        store::update(tx, destination).await?;
        let Some(app) = store::get::<App>(tx, destination.app_id).await? else { return Ok(()) };
        self.record_mapping(tx, caller, found, "audit.app.map-route", app, destination).await
    }

    /// The app, if the caller sees it and the route may lead to it.
    async fn mappable_app(
        &self,
        tx: &mut (impl store::ReadTx + ?Sized),
        access: &Access,
        found: &FoundRoute,
        id: AppId,
        app: Option<App>,
    ) -> Result<App, ControlError> {
        let unknown = || {
            let detail =
                format!("App(s) with guid(s) \"{id}\" do not exist or you do not have access.");
            ControlError::Unprocessable(detail)
        };
        let app = app.ok_or_else(unknown)?;
        if app.space_id != found.space.id {
            let space = store::get::<Space>(tx, app.space_id).await?.ok_or_else(unknown)?;
            if !access.can_read_space(space.org_id, space.id) {
                return Err(unknown());
            }
            if !found.route.serves(space.id) {
                let detail = "Routes destinations must be in either the route's space or the \
                              route's shared spaces";
                return Err(ControlError::unprocessable(detail));
            }
        }
        Ok(app)
    }

    /// Writes one destination, unless the route leads there already.
    pub(crate) async fn map(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &FoundRoute,
        app: App,
        new: NewDestination,
    ) -> Result<(), ControlError> {
        let mut all = destinations_of(tx, found.route.id).await?;
        self.map_beside(tx, caller, found, app, new, &mut all).await
    }

    /// As `map`, for a route with these destinations, which the new one joins.
    async fn map_beside(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &FoundRoute,
        app: App,
        new: NewDestination,
        all: &mut Vec<Destination>,
    ) -> Result<(), ControlError> {
        let protocol = new.protocol.clone().unwrap_or_else(|| "http1".to_owned());
        check_protocol(&protocol)?;
        check_process_type(new.process_type())?;
        check_weight(new.weight)?;
        if new.port.is_some_and(|port| port != APP_PORT) {
            let detail = format!(
                "Destination port must be {APP_PORT}: it is the only one that instances are told."
            );
            return Err(ControlError::Unprocessable(detail));
        }
        if all.iter().any(|old| is_same(&new, old)) {
            return Ok(());
        }
        if all.len() >= DESTINATIONS_MAX {
            return Err(too_many());
        }
        let now = self.ports.clock.now();
        let destination = Destination {
            id: DestinationId::random(),
            route_id: found.route.id,
            app_id: app.id,
            process_type: new.process_type().to_owned(),
            port: None,
            protocol,
            weight: new.weight,
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &destination).await?;
        self.record_mapping(tx, caller, found, "audit.app.map-route", app, &destination).await?;
        all.push(destination);
        Ok(())
    }

    /// The destination, if the protocol that a client wants for it is the one that it has.
    pub async fn check_destination_protocol(
        &self,
        caller: &Caller,
        route: RouteId,
        destination: DestinationId,
        protocol: &str,
    ) -> Result<Destination, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let found = self.readable_route(&mut *tx, &access, route).await?;
        found.may_map(&access)?;
        check_protocol(protocol)?;
        let present = store::get::<Destination>(&mut *tx, destination).await?;
        present.filter(|one| one.route_id == route).ok_or_else(|| {
            ControlError::unprocessable(
                "Unable to update destination. Ensure the route has a destination with this guid.",
            )
        })
    }

    /// Removes one destination of a route.
    pub async fn unmap_route(
        &self,
        caller: &Caller,
        route: RouteId,
        destination: DestinationId,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let found = self.readable_route(&mut *tx, &access, route).await?;
        found.may_map(&access)?;
        let present = store::get::<Destination>(&mut *tx, destination).await?;
        let Some(present) = present.filter(|one| one.route_id == route) else {
            let detail = "Unable to unmap route from destination. Ensure the route has a destination with this guid.";
            return Err(ControlError::unprocessable(detail));
        };
        self.unmap(&mut *tx, caller, &found, &present).await?;
        Ok(tx.commit().await?)
    }

    pub(crate) async fn unmap(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &FoundRoute,
        destination: &Destination,
    ) -> Result<(), ControlError> {
        store::delete::<Destination>(tx, destination.id).await?;
        self.record_unmapping(tx, caller, found, destination).await
    }

    /// Records that a destination goes, or goes with its route.
    pub(super) async fn record_unmapping(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &FoundRoute,
        destination: &Destination,
    ) -> Result<(), ControlError> {
        let Some(app) = store::get::<App>(tx, destination.app_id).await? else { return Ok(()) };
        self.record_mapping(tx, caller, found, "audit.app.unmap-route", app, destination).await
    }

    async fn record_mapping(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        found: &FoundRoute,
        kind: &str,
        app: App,
        destination: &Destination,
    ) -> Result<(), ControlError> {
        let data = json!({
            "route_guid": found.route.id.to_string(),
            "route": route_address(&found.route, &found.domain),
            "app_port": APP_PORT,
            "destination_guid": destination.id.to_string(),
            "route_mapping_guid": destination.id.to_string(),
            "process_type": destination.process_type,
            "protocol": destination.protocol,
            "weight": destination.weight,
        });
        // An app of a space that the route is shared with tells it there.
        let space = store::get::<Space>(tx, app.space_id).await?;
        let space = space.unwrap_or_else(|| found.space.clone());
        let org = store::get::<Org>(tx, space.org_id).await?.unwrap_or_else(|| found.org.clone());
        let placed = PlacedApp { app, space, org };
        self.record(tx, caller.party(), placed.event(kind, data)).await
    }
}

pub(crate) async fn destinations_of(
    tx: &mut (impl store::ReadTx + ?Sized),
    route: RouteId,
) -> Result<Vec<Destination>, ControlError> {
    let query = Query::by("route_id", route.to_string());
    Ok(store::list::<Destination>(tx, &query).await?.items)
}

fn check_protocol(protocol: &str) -> Result<(), ControlError> {
    if protocol == "http1" {
        return Ok(());
    }
    let detail = "Destination protocol must be 'http1': this platform speaks no other to apps yet.";
    Err(ControlError::unprocessable(detail))
}

fn check_process_type(process_type: &str) -> Result<(), ControlError> {
    if process_type.chars().count() <= PROCESS_TYPE_CHARS_MAX {
        return Ok(());
    }
    let detail = format!(
        "Process type of a destination is too long (maximum is {PROCESS_TYPE_CHARS_MAX} characters)"
    );
    Err(ControlError::Unprocessable(detail))
}

fn check_weight(weight: Option<u8>) -> Result<(), ControlError> {
    if weight.is_none_or(|weight| (1..=100).contains(&weight)) {
        return Ok(());
    }
    Err(ControlError::unprocessable(
        "Destination weight must be a number from 1 to 100: a percentage.",
    ))
}

fn too_many() -> ControlError {
    let detail = format!("Routes can be mapped to at most {DESTINATIONS_MAX} destinations.");
    ControlError::Unprocessable(detail)
}

fn is_same(new: &NewDestination, old: &Destination) -> bool {
    new.app == old.app_id && new.process_type() == old.process_type
}
