//! Lets a route lead to apps of other spaces, and gives it to another space.

use cupola_domain::{
    access::Access,
    ids::{RouteId, SpaceId},
    orgs::Org,
    spaces::Space,
};
use cupola_ports::store::{self, Condition, Query, ReadTx};
use serde_json::json;

use super::{FoundRoute, destinations::destinations_of};
use crate::{
    Control, ControlError,
    apps::{distinct, may},
    caller::Caller,
    launch_spec::route_address,
};

const FLAG: &str = "route_sharing";

impl Control {
    /// The spaces that a route is shared with.
    pub async fn shared_spaces(
        &self,
        caller: &Caller,
        id: RouteId,
    ) -> Result<Vec<SpaceId>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let found = self.readable_route(&mut *tx, &access, id).await?;
        shared_spaces(&mut *tx, &found).await
    }

    /// Shares a route with more spaces, for those who may change all of them.
    pub async fn share_route(
        &self,
        caller: &Caller,
        id: RouteId,
        with: Vec<String>,
    ) -> Result<Vec<SpaceId>, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut found = self.readable_route(&mut *tx, &access, id).await?;
        found.may_map(&access)?;
        self.require_flag(&mut *tx, FLAG).await?;
        let spaces = spaces_to_share(&mut *tx, &access, &found, &with).await?;
        found.route.shared_spaces.extend(spaces);
        found.route.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &found.route).await?;
        let event = found.event("audit.route.share", json!({ "target_space_guids": with }));
        self.record(&mut *tx, caller.party(), event).await?;
        let shared = shared_spaces(&mut *tx, &found).await?;
        tx.commit().await?;
        Ok(shared)
    }

    /// Takes a route back from a space. It leads no longer to the apps there.
    pub async fn unshare_route(
        &self,
        caller: &Caller,
        id: RouteId,
        from: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut found = self.readable_route(&mut *tx, &access, id).await?;
        found.may_map(&access)?;
        self.require_flag(&mut *tx, FLAG).await?;
        let refused = |why: &str| found.refused("unshare", "from", from, why);
        let (space, org) = readable_target(&mut *tx, &access, from)
            .await?
            .ok_or_else(|| refused("Ensure the space exists and that you have access to it."))?;
        if space.id == found.space.id {
            return Err(refused("Routes cannot be removed from the space that owns them."));
        }
        may(&access, &org, access.can_support(space.id))
            .map_err(|_| refused("You don't have write permission for the target space."))?;
        found.route.shared_spaces.remove(&space.id);
        found.route.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &found.route).await?;
        for destination in destinations_of(&mut *tx, id).await? {
            let app = store::get::<cupola_domain::apps::App>(&mut *tx, destination.app_id).await?;
            if app.is_some_and(|app| app.space_id == space.id) {
                self.unmap(&mut *tx, caller, &found, &destination).await?;
            }
        }
        let event = found.event("audit.route.unshare", json!({ "target_space_guid": from }));
        self.record(&mut *tx, caller.party(), event).await?;
        Ok(tx.commit().await?)
    }

    /// Gives a route to another space; its own keeps it as a shared one.
    pub async fn transfer_route(
        &self,
        caller: &Caller,
        id: RouteId,
        to: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut found = self.readable_route(&mut *tx, &access, id).await?;
        found.may_change(&access)?;
        self.require_flag(&mut *tx, FLAG).await?;
        let refused = |why: &str| found.refused("transfer owner of", "to", to, why);
        let (space, org) = readable_target(&mut *tx, &access, to)
            .await?
            .ok_or_else(|| refused("Ensure the space exists and that you have access to it."))?;
        may(&access, &org, access.can_develop(space.id)).map_err(|_| match org.suspended {
            true => refused("The target organization is suspended."),
            false => refused("You don't have write permission for the target space."),
        })?;
        if !found.domain.is_usable_by(org.id) {
            return Err(refused("Target space does not have access to route's domain"));
        }
        if space.id == found.space.id {
            return Ok(());
        }
        found.route.space_id = space.id;
        found.route.shared_spaces.remove(&space.id);
        found.route.shared_spaces.insert(found.space.id);
        found.route.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &found.route).await?;
        let event = found.event("audit.route.transfer-owner", json!({ "target_space_guid": to }));
        self.record(&mut *tx, caller.party(), event).await?;
        Ok(tx.commit().await?)
    }
}

impl FoundRoute {
    fn refused(&self, what: &str, with: &str, space: &str, why: &str) -> ControlError {
        let address = route_address(&self.route, &self.domain);
        let detail = format!("Unable to {what} route '{address}' {with} space '{space}'. {why}");
        ControlError::Unprocessable(detail)
    }
}

/// Those that are still there. What was deleted since is not taken out of the route's row.
async fn shared_spaces(
    tx: &mut (impl ReadTx + ?Sized),
    found: &FoundRoute,
) -> Result<Vec<SpaceId>, ControlError> {
    let ids = distinct(found.route.shared_spaces.iter().copied());
    let query = Query::all().and(Condition::In("id", ids));
    Ok(store::list::<Space>(tx, &query).await?.items.iter().map(|space| space.id).collect())
}

/// The spaces of these ids. All that are wrong are told at once, as upstream.
async fn spaces_to_share(
    tx: &mut (impl ReadTx + ?Sized),
    access: &Access,
    found: &FoundRoute,
    with: &[String],
) -> Result<Vec<SpaceId>, ControlError> {
    let (mut shared, mut unknown, mut refused) = (Vec::new(), Vec::new(), Vec::new());
    for guid in with {
        match readable_target(tx, access, guid).await? {
            None => unknown.push(format!("'{guid}'")),
            Some((space, _)) if space.id == found.space.id => {
                let why = "Routes cannot be shared into the space where they were created.";
                return Err(found.refused("share", "with", guid, why));
            }
            Some((space, org)) if may(access, &org, access.can_develop(space.id)).is_ok() => {
                shared.push(space.id);
            }
            Some(_) => refused.push(format!("'{guid}'")),
        }
    }
    let address = route_address(&found.route, &found.domain);
    let told = |guids: &[String], why: &str| {
        let guids = guids.join(", ");
        (!guids.is_empty())
            .then(|| format!("Unable to share route {address} with spaces [{guids}]. {why}"))
    };
    let unknown = told(&unknown, "Ensure the spaces exist and that you have access to them.");
    let refused = told(
        &refused,
        "Write permission is required in order to share a route with a space and the containing \
         organization must not be suspended.",
    );
    let problems: Vec<String> = unknown.into_iter().chain(refused).collect();
    if problems.is_empty() {
        Ok(shared)
    } else {
        Err(ControlError::Unprocessable(problems.join("\n")))
    }
}

/// The space of this id with its organisation, if the caller may know of it.
async fn readable_target(
    tx: &mut (impl ReadTx + ?Sized),
    access: &Access,
    guid: &str,
) -> Result<Option<(Space, Org)>, ControlError> {
    let Ok(id) = guid.parse::<SpaceId>() else { return Ok(None) };
    let Some(space) = store::get::<Space>(tx, id).await? else { return Ok(None) };
    let Some(org) = store::get::<Org>(tx, space.org_id).await? else { return Ok(None) };
    Ok(access.can_read_space(org.id, space.id).then_some((space, org)))
}
