//! What changed in an app, and what came of it: a view of its audit events.

use std::collections::HashMap;

use cupola_domain::{
    audit::AuditEvent,
    changes::{KINDS, Told, tell},
    commits::Commit,
    deployments::Deployment,
    ids::AppId,
    routes::Destination,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx, Value};

use crate::{
    Control, ControlError, ListRequest,
    apps::{PlacedApp, distinct},
    caller::Caller,
};

/// One change with what is known of it now.
#[derive(Clone, Debug)]
pub struct Change {
    pub event: AuditEvent,
    pub told: Told,
    pub commit: Option<Commit>,
    /// The deployment that it began, while that is kept.
    pub deployment: Option<Deployment>,
}

impl Control {
    /// The changes of an app and of the routes and bindings that it has.
    pub async fn changes(
        &self,
        caller: &Caller,
        app: AppId,
        request: &ListRequest,
    ) -> Result<Page<Change>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, app).await?;
        let kinds = KINDS.iter().map(|(event, _)| Value::from(*event)).collect();
        let mut about = about(&mut *tx, &placed).await?;
        about.push(Condition::In("kind", kinds));
        let page = store::list::<AuditEvent>(&mut *tx, &request.query(about)).await?;
        let mut deployments = deployments_of(&mut *tx, &page.items).await?;
        let change = |event: AuditEvent| {
            let deployment = event.text("deployment_guid").map(str::to_owned);
            let begins = event.kind == "audit.app.deployment.create";
            Some(Change {
                told: tell(&event)?,
                commit: serde_json::from_value(event.data["commit"].clone()).ok(),
                deployment: deployment.filter(|_| begins).and_then(|id| deployments.remove(&id)),
                event,
            })
        };
        Ok(Page { items: page.items.into_iter().filter_map(change).collect(), total: page.total })
    }
}

/// The events whose target is the app or a route that leads to it, or that name the app. A route
/// that other spaces use too has events of its own there, which are not this app's.
pub(crate) async fn about(
    tx: &mut (impl ReadTx + ?Sized),
    placed: &PlacedApp,
) -> Result<Vec<Condition>, ControlError> {
    let of_app = Query::by("app_id", placed.app.id.to_string());
    let routes = store::list::<Destination>(tx, &of_app).await?.items;
    let mut targets = distinct(routes.iter().map(|one| one.route_id));
    targets.push(placed.app.id.to_string().into());
    let in_space = Condition::In("space_id", vec![placed.space.id.to_string().into()]);
    let names_it = Condition::In("app_id", vec![placed.app.id.to_string().into()]);
    Ok(vec![Condition::Any(vec![Condition::In("target_id", targets), names_it]), in_space])
}

async fn deployments_of(
    tx: &mut (impl ReadTx + ?Sized),
    events: &[AuditEvent],
) -> Result<HashMap<String, Deployment>, ControlError> {
    let ids = distinct(events.iter().filter_map(|event| event.text("deployment_guid")));
    let query = Query::all().and(Condition::In("id", ids));
    let deployments = store::list::<Deployment>(tx, &query).await?.items;
    Ok(deployments.into_iter().map(|one| (one.id.to_string(), one)).collect())
}
