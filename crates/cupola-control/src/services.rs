//! Service instances that users provide: create, read, change, delete.
//!
//! Invariant: credentials are sealed in rows, and in no audit event, log line or error.

pub mod bindings;
mod snapshot;

pub(crate) use snapshot::SnapshotOf;

use cupola_domain::{
    access::Access,
    ids::{ServiceInstanceId, SpaceId},
    orgs::{Metadata, Org},
    sealed::Sealed,
    services::{Credentials, ServiceInstance},
    spaces::Space,
};
use cupola_ports::store::{self, Page, Query, ReadTx, WriteTx};
use serde_json::{Value, json};

use crate::{
    Control, ControlError, ListRequest, Owners,
    apps::{may, told::HIDDEN},
    caller::Caller,
    events::{NewEvent, target},
    names::check_name,
    orgs::MetadataChange,
};

/// What a client says of a new instance.
#[derive(Clone)]
pub struct NewServiceInstance {
    pub space: SpaceId,
    pub name: String,
    pub tags: Vec<String>,
    pub credentials: Credentials,
    pub syslog_drain_url: Option<String>,
    pub route_service_url: Option<String>,
    pub metadata: Metadata,
}

/// What a client wants changed; none leaves it as it is. An address can be taken away.
#[derive(Clone, Default)]
pub struct ServiceInstanceChange {
    pub name: Option<String>,
    pub tags: Option<Vec<String>>,
    pub credentials: Option<Credentials>,
    pub syslog_drain_url: Option<Option<String>>,
    pub route_service_url: Option<Option<String>>,
    pub metadata: MetadataChange,
}

/// An instance and where it is.
#[derive(Clone, Debug)]
pub(crate) struct PlacedInstance {
    pub(crate) instance: ServiceInstance,
    pub(crate) space: Space,
    pub(crate) org: Org,
}

impl PlacedInstance {
    fn may_develop(&self, access: &Access) -> Result<(), ControlError> {
        may(access, &self.org, access.can_develop(self.space.id))
    }

    fn event<'a>(&self, kind: &'a str, data: Value) -> NewEvent<'a> {
        let (id, name) = (self.instance.id, self.instance.name.as_str());
        NewEvent {
            kind,
            target: target("user_provided_service_instance", id, name),
            data,
            space_id: Some(self.space.id),
            org_id: Some(self.org.id),
        }
    }
}

/// Credentials of one instance, as upstream bounds what it encrypts.
const CREDENTIALS_BYTES_MAX: usize = 1_000_000;
/// All tags of an instance, joined.
const TAGS_CHARS_MAX: usize = 2048;
const URL_CHARS_MAX: usize = 10_000;

impl Control {
    pub async fn create_service_instance(
        &self,
        caller: &Caller,
        new: NewServiceInstance,
    ) -> Result<ServiceInstance, ControlError> {
        let mut tx = self.write().await?;
        self.require_flag_or_admin(&mut *tx, caller, "service_instance_creation").await?;
        let access = self.access(&mut *tx, caller).await?;
        let (space, org) = self.place_for_new(&mut *tx, &access, new.space).await?;
        may(&access, &org, access.can_develop(space.id))?;
        let (id, now) = (ServiceInstanceId::random(), self.ports.clock.now());
        let request = json!({
            "type": "user-provided",
            "name": new.name,
            "tags": new.tags,
            "credentials": HIDDEN,
            "syslog_drain_url": new.syslog_drain_url,
            "route_service_url": new.route_service_url,
        });
        let instance = ServiceInstance {
            id,
            space_id: space.id,
            name: new.name,
            tags: new.tags,
            syslog_drain_url: new.syslog_drain_url,
            route_service_url: new.route_service_url,
            credentials: self.seal_credentials(id, &new.credentials)?,
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        check(&instance)?;
        store::insert(&mut *tx, &instance).await.map_err(|error| taken(error, &instance.name))?;
        let placed = PlacedInstance { instance, space, org };
        let data = json!({ "request": request });
        let event = placed.event("audit.user_provided_service_instance.create", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        Ok(placed.instance)
    }

    pub async fn service_instance(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
    ) -> Result<ServiceInstance, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        Ok(self.readable_instance(&mut *tx, &access, id).await?.instance)
    }

    pub async fn list_service_instances(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<ServiceInstance>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.in_spaces(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    /// The credentials, for those who may see secrets.
    pub async fn service_credentials(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
    ) -> Result<Credentials, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_instance(&mut *tx, &access, id).await?;
        if !access.can_read_secrets(placed.space.id) {
            return Err(ControlError::NotAuthorized);
        }
        let event = placed.event("audit.user_provided_service_instance.show", json!({}));
        self.record(&mut *tx, caller.party(), event).await?;
        let credentials = self.credentials_of(&placed.instance)?;
        tx.commit().await?;
        Ok(credentials)
    }

    /// Whether the caller sees the instance, and whether they may change it. Everybody may ask.
    pub async fn service_instance_permissions(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
    ) -> Result<(bool, bool), ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = placed(&mut *tx, id).await?;
        let reads = access.can_read_space(placed.org.id, placed.space.id);
        Ok((reads, placed.may_develop(&access).is_ok()))
    }

    /// Instances and tasks that run keep what they found; the next start finds what is new.
    pub async fn update_service_instance(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
        change: ServiceInstanceChange,
    ) -> Result<ServiceInstance, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_instance(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let request = told(&change);
        let instance = &mut placed.instance;
        instance.name = change.name.unwrap_or_else(|| instance.name.clone());
        instance.tags = change.tags.unwrap_or_else(|| instance.tags.clone());
        if let Some(credentials) = change.credentials {
            instance.credentials = self.seal_credentials(id, &credentials)?;
        }
        if let Some(url) = change.syslog_drain_url {
            instance.syslog_drain_url = url;
        }
        if let Some(url) = change.route_service_url {
            instance.route_service_url = url;
        }
        change.metadata.apply(&mut instance.metadata);
        instance.updated_at = self.ports.clock.now();
        check(instance)?;
        store::update(&mut *tx, instance).await.map_err(|error| taken(error, &instance.name))?;
        let event = placed.event("audit.user_provided_service_instance.update", request);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        Ok(placed.instance)
    }

    /// Removes an instance with its bindings, as Cloud Controller's v3 API does. With `purge` it is
    /// told as that; there is nobody who would have to be asked for either.
    pub async fn delete_service_instance(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
        purge: bool,
    ) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_instance(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        for binding in bindings::of_instance(&mut *tx, id).await? {
            self.unbind(&mut *tx, caller, &placed.space, &binding).await?;
        }
        store::delete::<ServiceInstance>(&mut *tx, id).await?;
        let kind = if purge {
            "audit.user_provided_service_instance.purge"
        } else {
            "audit.user_provided_service_instance.delete"
        };
        self.record(&mut *tx, caller.party(), placed.event(kind, json!({ "request": {} }))).await?;
        Ok(tx.commit().await?)
    }

    /// Refuses to share an instance, in upstream's words: this kind never is.
    pub async fn share_service_instance(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
    ) -> Result<(), ControlError> {
        let mut tx = self.read().await?;
        self.require_flag_or_admin(&mut *tx, caller, "service_instance_sharing").await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_instance(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let detail = if placed.instance.route_service_url.is_some() {
            "Route services cannot be shared."
        } else {
            "User-provided services cannot be shared."
        };
        Err(ControlError::unprocessable(detail))
    }

    /// There is nothing to take back: this kind is never shared.
    pub async fn unshare_service_instance(
        &self,
        caller: &Caller,
        id: ServiceInstanceId,
        space: &str,
    ) -> Result<(), ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_instance(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        let detail = format!(
            "Unable to unshare service instance from space {space}. Ensure the space exists and \
             the service instance has been shared to this space."
        );
        Err(ControlError::Unprocessable(detail))
    }

    pub(crate) async fn readable_instance(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: ServiceInstanceId,
    ) -> Result<PlacedInstance, ControlError> {
        let placed = placed(tx, id).await?;
        if access.can_read_space(placed.org.id, placed.space.id) {
            Ok(placed)
        } else {
            Err(not_found())
        }
    }

    fn seal_credentials(
        &self,
        id: ServiceInstanceId,
        credentials: &Credentials,
    ) -> Result<Option<Sealed>, ControlError> {
        if credentials.is_empty() {
            return Ok(None);
        }
        let bytes = Value::Object(credentials.clone()).to_string().len();
        if bytes > CREDENTIALS_BYTES_MAX {
            let detail = format!(
                "Credentials are too large: {bytes} bytes, at most {CREDENTIALS_BYTES_MAX} are \
                 allowed"
            );
            return Err(ControlError::Unprocessable(detail));
        }
        self.vault.seal(&owner(id), credentials).map(Some)
    }

    pub(crate) fn credentials_of(
        &self,
        instance: &ServiceInstance,
    ) -> Result<Credentials, ControlError> {
        match &instance.credentials {
            Some(sealed) => self.vault.open(&owner(instance.id), sealed),
            None => Ok(Credentials::new()),
        }
    }
}

/// Removes the instances of a space, whose apps are gone with their bindings already.
pub(crate) async fn delete_instances_of_space(
    tx: &mut dyn WriteTx,
    space: SpaceId,
) -> Result<(), ControlError> {
    let in_space = Query::by("space_id", space.to_string()).conditions;
    tx.delete_rows(<ServiceInstance as store::Noun>::TABLE, &in_space).await?;
    Ok(())
}

/// The instance of this name in a space.
pub(crate) async fn instance_by_name(
    tx: &mut (impl ReadTx + ?Sized),
    space: SpaceId,
    name: &str,
) -> Result<Option<ServiceInstance>, ControlError> {
    let query =
        Query::by("space_id", space.to_string()).and_by("name_lower", name.to_lowercase().as_str());
    Ok(store::first(tx, &query).await?)
}

async fn placed(
    tx: &mut (impl ReadTx + ?Sized),
    id: ServiceInstanceId,
) -> Result<PlacedInstance, ControlError> {
    let instance = store::get::<ServiceInstance>(tx, id).await?.ok_or_else(not_found)?;
    let space = store::get::<Space>(tx, instance.space_id).await?.ok_or_else(not_found)?;
    let org = store::get::<Org>(tx, space.org_id).await?.ok_or_else(not_found)?;
    Ok(PlacedInstance { instance, space, org })
}

const fn not_found() -> ControlError {
    ControlError::NotFound { noun: "Service instance" }
}

/// What its credentials are sealed together with.
fn owner(id: ServiceInstanceId) -> String {
    format!("service_instance/{id}")
}

fn check(instance: &ServiceInstance) -> Result<(), ControlError> {
    check_name(&instance.name)?;
    let chars: usize = instance.tags.iter().map(|tag| tag.chars().count() + 1).sum();
    if chars > TAGS_CHARS_MAX + 1 {
        let detail =
            format!("Combined length of tags must be {TAGS_CHARS_MAX} characters or less.");
        return Err(ControlError::Unprocessable(detail));
    }
    let urls = [
        ("Syslog drain url", &instance.syslog_drain_url),
        ("Route service url", &instance.route_service_url),
    ];
    for (what, url) in urls {
        let Some(url) = url else { continue };
        if url.len() > URL_CHARS_MAX {
            let detail = format!("{what} must be at most {URL_CHARS_MAX} characters");
            return Err(ControlError::Unprocessable(detail));
        }
        if !is_address(url) {
            return Err(ControlError::Unprocessable(format!("{what} must be a valid URI")));
        }
    }
    let is_open = |url: &String| !url.starts_with("https:");
    if instance.route_service_url.as_ref().is_some_and(is_open) {
        return Err(ControlError::unprocessable("Route service url must be https"));
    }
    Ok(())
}

/// A scheme and something after it, without what cannot be in an address.
fn is_address(url: &str) -> bool {
    let is_scheme = |scheme: &str| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    };
    url.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty())
        && !url.chars().any(|c| c.is_whitespace() || c.is_control())
}

/// What an audit event says of a change: every value but the credentials.
fn told(change: &ServiceInstanceChange) -> Value {
    let mut request = serde_json::Map::new();
    let mut put = |key: &str, value: Option<Value>| {
        request.extend(value.map(|value| (key.to_owned(), value)));
    };
    put("name", change.name.as_ref().map(|name| json!(name)));
    put("tags", change.tags.as_ref().map(|tags| json!(tags)));
    put("credentials", change.credentials.as_ref().map(|_| json!(HIDDEN)));
    put("syslog_drain_url", change.syslog_drain_url.as_ref().map(|url| json!(url)));
    put("route_service_url", change.route_service_url.as_ref().map(|url| json!(url)));
    json!({ "request": request })
}

fn taken(error: store::StoreError, name: &str) -> ControlError {
    ControlError::taken(error, || format!("The service instance name is taken: {name}"))
}
