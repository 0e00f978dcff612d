//! Bindings of service instances to apps.

use cupola_domain::{
    access::Access,
    apps::App,
    audit::AuditEvent,
    ids::{AppId, ServiceBindingId, ServiceInstanceId},
    orgs::Metadata,
    services::{BindingStrategy, Credentials, ServiceBinding, ServiceInstance},
    spaces::Space,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx, WriteTx};
use serde_json::json;

use super::PlacedInstance;
use crate::{
    Control, ControlError, ListRequest, Owners,
    apps::{PlacedApp, distinct, may},
    caller::Caller,
    events::{NewEvent, target},
    orgs::MetadataChange,
};

/// What a client says of a new binding.
#[derive(Clone, Debug)]
pub struct NewBinding {
    /// None takes the instance's.
    pub name: Option<String>,
    pub strategy: BindingStrategy,
    pub metadata: Metadata,
}

/// What a client wants bound.
#[derive(Clone, Debug)]
pub enum BindingTarget {
    App(AppId),
    /// Credentials for somebody else than an app.
    Key,
}

/// The bindings that a list is asked for, besides what its request says; none means every one.
#[derive(Clone, Debug, Default)]
pub struct BindingFilter {
    pub app_names: Option<Vec<String>>,
    pub instance_names: Option<Vec<String>>,
}

/// A binding with what an app finds of it, for those who may see secrets.
#[derive(Clone)]
pub struct BindingDetails {
    pub credentials: Credentials,
    pub syslog_drain_url: Option<String>,
}

/// With `multiple`, an app may be bound so often to one instance, as upstream.
const BINDINGS_MAX: usize = 5;
const NAME_CHARS_MAX: usize = 255;

impl Control {
    /// Binds an instance that users provide, at once: nobody has to be asked.
    pub async fn create_service_binding(
        &self,
        caller: &Caller,
        instance: ServiceInstanceId,
        target: BindingTarget,
        new: NewBinding,
    ) -> Result<ServiceBinding, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self
            .readable_instance(&mut *tx, &access, instance)
            .await
            .map_err(|error| error.unusable("service instance", instance))?;
        let BindingTarget::App(app) = target else {
            may(&access, &placed.org, access.can_develop(placed.space.id))?;
            let detail = "Service credential bindings of type 'key' are not supported for \
                          user-provided service instances.";
            return Err(ControlError::unprocessable(detail));
        };
        let app = self
            .readable_app(&mut *tx, &access, app)
            .await
            .map_err(|error| error.unusable("app", app))?;
        app.may_support(&access)?;
        let binding = self.bind(&mut *tx, caller, &app, &placed.instance, new, false).await?;
        tx.commit().await?;
        Ok(binding)
    }

    /// Binds an app to an instance within `tx`. `by_manifest` is told by the event.
    pub(crate) async fn bind(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        instance: &ServiceInstance,
        new: NewBinding,
        by_manifest: bool,
    ) -> Result<ServiceBinding, ControlError> {
        if instance.space_id != placed.space.id {
            let detail = "The service instance and the app are in different spaces";
            return Err(ControlError::unprocessable(detail));
        }
        let others = of_app(tx, placed.app.id).await?;
        check(&others, instance.id, &new)?;
        let now = self.ports.clock.now();
        let binding = ServiceBinding {
            id: ServiceBindingId::random(),
            service_instance_id: instance.id,
            app_id: placed.app.id,
            name: new.name,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &binding).await?;
        let request = json!({
            "type": "app",
            "name": binding.name,
            "relationships": {
                "service_instance": { "data": { "guid": instance.id.to_string() } },
                "app": { "data": { "guid": placed.app.id.to_string() } },
            },
        });
        let kind = "audit.service_binding.create";
        let mut event = event(kind, &placed.space, &binding, instance, request);
        if by_manifest {
            event.data["manifest_triggered"] = true.into();
        }
        self.record(tx, caller.party(), event).await?;
        Ok(binding)
    }

    /// Removes a binding within `tx`.
    pub(crate) async fn unbind(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        space: &Space,
        binding: &ServiceBinding,
    ) -> Result<(), ControlError> {
        let instance = store::get::<ServiceInstance>(tx, binding.service_instance_id).await?;
        let instance = instance.ok_or_else(not_found)?;
        store::delete::<ServiceBinding>(tx, binding.id).await?;
        let request = json!({
            "app_guid": binding.app_id.to_string(),
            "route_guid": null,
            "service_instance_guid": binding.service_instance_id.to_string(),
        });
        let event = event("audit.service_binding.delete", space, binding, &instance, request);
        self.record(tx, caller.party(), event).await
    }

    pub async fn service_binding(
        &self,
        caller: &Caller,
        id: ServiceBindingId,
    ) -> Result<ServiceBinding, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        Ok(self.readable_binding(&mut *tx, &access, id).await?.1)
    }

    /// What an app finds of the binding at its next start. For whom it is a secret, it is not there.
    pub async fn service_binding_details(
        &self,
        caller: &Caller,
        id: ServiceBindingId,
    ) -> Result<BindingDetails, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, _) = self.readable_binding(&mut *tx, &access, id).await?;
        if !access.can_read_secrets(placed.space.id) {
            return Err(not_found());
        }
        Ok(BindingDetails {
            credentials: self.credentials_of(&placed.instance)?,
            syslog_drain_url: placed.instance.syslog_drain_url,
        })
    }

    pub async fn list_service_bindings(
        &self,
        caller: &Caller,
        filter: &BindingFilter,
        request: &ListRequest,
    ) -> Result<Page<ServiceBinding>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut visible = self.of_apps(&mut *tx, &access, &Owners::default()).await?;
        if let Some(names) = &filter.app_names {
            let apps = store::list::<App>(&mut *tx, &by_names(names)).await?.items;
            visible.push(Condition::In("app_id", distinct(apps.iter().map(|app| app.id))));
        }
        if let Some(names) = &filter.instance_names {
            let found = store::list::<ServiceInstance>(&mut *tx, &by_names(names)).await?.items;
            let ids = distinct(found.iter().map(|instance| instance.id));
            visible.push(Condition::In("service_instance_id", ids));
        }
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_service_binding(
        &self,
        caller: &Caller,
        id: ServiceBindingId,
        metadata: MetadataChange,
    ) -> Result<ServiceBinding, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut binding) = self.readable_binding(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut binding.metadata);
        binding.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &binding).await?;
        let kind = "audit.service_binding.update";
        let request = json!({ "metadata": {} });
        let event = event(kind, &placed.space, &binding, &placed.instance, request);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        Ok(binding)
    }

    pub async fn delete_service_binding(
        &self,
        caller: &Caller,
        id: ServiceBindingId,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, binding) = self.readable_binding(&mut *tx, &access, id).await?;
        may(&access, &placed.org, access.can_support(placed.space.id))?;
        self.unbind(&mut *tx, caller, &placed.space, &binding).await?;
        Ok(tx.commit().await?)
    }

    /// The binding with its instance, which is in the space of the app.
    async fn readable_binding(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: ServiceBindingId,
    ) -> Result<(PlacedInstance, ServiceBinding), ControlError> {
        let binding = store::get::<ServiceBinding>(tx, id).await?.ok_or_else(not_found)?;
        let placed = self.readable_instance(tx, access, binding.service_instance_id).await;
        let noun = "Service credential binding";
        Ok((placed.map_err(|error| error.not_found_as(noun))?, binding))
    }
}

impl ControlError {
    /// What a body names and the caller may not know is refused, in upstream's words.
    fn unusable(self, what: &str, id: impl std::fmt::Display) -> Self {
        match self {
            Self::NotFound { .. } => {
                Self::Unprocessable(format!("The {what} could not be found: '{id}'"))
            }
            other => other,
        }
    }
}

/// The bindings of an app, oldest first.
pub(crate) async fn of_app(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
) -> Result<Vec<ServiceBinding>, ControlError> {
    Ok(store::list(tx, &Query::by("app_id", app.to_string())).await?.items)
}

/// The bindings of an instance, oldest first.
pub(crate) async fn of_instance(
    tx: &mut (impl ReadTx + ?Sized),
    instance: ServiceInstanceId,
) -> Result<Vec<ServiceBinding>, ControlError> {
    Ok(store::list(tx, &Query::by("service_instance_id", instance.to_string())).await?.items)
}

const fn not_found() -> ControlError {
    ControlError::NotFound { noun: "Service credential binding" }
}

fn by_names(names: &[String]) -> Query {
    let lower = names.iter().map(|name| name.to_lowercase().as_str().into()).collect();
    Query::all().and(Condition::In("name_lower", lower))
}

/// Upstream's rules for one more binding of an app.
fn check(
    others: &[ServiceBinding],
    instance: ServiceInstanceId,
    new: &NewBinding,
) -> Result<(), ControlError> {
    check_name(new.name.as_deref().unwrap_or_default())?;
    let (to_it, to_others): (Vec<_>, Vec<_>) =
        others.iter().partition(|other| other.service_instance_id == instance);
    let detail = if !to_it.is_empty() && new.strategy == BindingStrategy::Single {
        "The app is already bound to the service instance".to_owned()
    } else if to_it.iter().any(|other| other.name != new.name) {
        "The binding name cannot be changed for the same app and service instance".to_owned()
    } else if to_it.len() >= BINDINGS_MAX {
        format!(
            "The app has too many bindings to this service instance (limit: {BINDINGS_MAX}). \
             Consider deleting existing/orphaned bindings."
        )
    } else if new.name.is_some() && to_others.iter().any(|other| other.name == new.name) {
        format!(
            "The binding name is invalid. Binding names must be unique for a given service \
             instance and app. The app already has a binding with name '{}'.",
            new.name.as_deref().unwrap_or_default()
        )
    } else {
        return Ok(());
    };
    Err(ControlError::Unprocessable(detail))
}

fn check_name(name: &str) -> Result<(), ControlError> {
    let detail = if name.chars().count() > NAME_CHARS_MAX {
        "The binding name is invalid. App binding names must be less than 256 characters."
    } else if !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')) {
        "The binding name is invalid. Valid characters are alphanumeric, underscore, dash and dot."
    } else {
        return Ok(());
    };
    Err(ControlError::unprocessable(detail))
}

/// An event as Cloud Controller writes it, and beside its fields the app, by which its changes are
/// found, and what the app is bound to.
fn event<'a>(
    kind: &'a str,
    space: &Space,
    binding: &ServiceBinding,
    instance: &ServiceInstance,
    request: serde_json::Value,
) -> NewEvent<'a> {
    let name = binding.name.as_deref().unwrap_or_default();
    let mut data = json!({ "request": request, "service_instance_name": instance.name });
    data[AuditEvent::APP] = binding.app_id.to_string().into();
    NewEvent {
        kind,
        target: target("service_binding", binding.id, name),
        data,
        space_id: Some(space.id),
        org_id: Some(space.org_id),
    }
}
