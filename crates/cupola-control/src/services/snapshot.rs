//! The services of an app at the moment of a start: read, sealed, and opened again for each
//! instance of that start.

use cupola_domain::{
    apps::App,
    ids::{AppId, GenerationId, TaskId},
    sealed::Sealed,
    services::{BoundService, BoundServices, Materialized, ServiceDelivery, ServiceInstance},
};
use cupola_ports::store::{self, ReadTx};

use super::bindings;
use crate::{Control, ControlError};

/// What a snapshot is sealed together with.
#[derive(Clone, Copy, Debug)]
pub(crate) enum SnapshotOf {
    Generation(GenerationId),
    Task(TaskId),
}

impl SnapshotOf {
    fn owner(self) -> String {
        match self {
            Self::Generation(id) => format!("generation/{id}"),
            Self::Task(id) => format!("task/{id}"),
        }
    }
}

impl Control {
    /// What an app is bound to now.
    pub(crate) async fn bound_services(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        app: &App,
    ) -> Result<BoundServices, ControlError> {
        let mut bound = Vec::new();
        for binding in bindings::of_app(tx, app.id).await? {
            let instance = store::get::<ServiceInstance>(tx, binding.service_instance_id).await?;
            let Some(instance) = instance else { continue };
            let credentials = self.credentials_of(&instance)?;
            bound.push(BoundService::new(&instance, &binding, credentials));
        }
        Ok(BoundServices { delivery: app.service_delivery, bindings: bound })
    }

    /// Refuses bindings that no instance could be told of.
    pub(crate) async fn check_bound_services(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        app: &App,
    ) -> Result<(), ControlError> {
        let services = self.bound_services(tx, app).await?;
        services.materialize().map(drop).map_err(incompatible)
    }

    /// What an app is bound to now, sealed, once it is known that an instance can be told of it.
    /// None where there is nothing to tell.
    pub(crate) async fn snapshot_services(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        app: &App,
        of: SnapshotOf,
    ) -> Result<Option<Sealed>, ControlError> {
        let services = self.bound_services(tx, app).await?;
        if services.bindings.is_empty() && services.delivery == ServiceDelivery::Variable {
            return Ok(None);
        }
        services.materialize().map_err(incompatible)?;
        self.vault.seal(&of.owner(), &services).map(Some)
    }

    /// What an instance is told of its services. None: the snapshot cannot be read, which is
    /// logged, and must not keep others from being started.
    pub(crate) fn services_of_snapshot(
        &self,
        app: AppId,
        sealed: Option<&Sealed>,
        of: SnapshotOf,
    ) -> Option<Materialized> {
        let services = match sealed {
            Some(sealed) => self.vault.open(&of.owner(), sealed),
            None => Ok(BoundServices::none()),
        };
        let found = services
            .and_then(|services: BoundServices| services.materialize().map_err(incompatible));
        if let Err(error) = &found {
            let error = error as &dyn std::error::Error;
            tracing::error!(app.id = %app, error, "an app's services cannot be told to it");
        }
        found.ok()
    }
}

fn incompatible(error: cupola_domain::services::IncompatibleBindings) -> ControlError {
    ControlError::Unprocessable(error.to_string())
}
