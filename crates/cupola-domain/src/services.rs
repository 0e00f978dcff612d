//! Service instances that users provide, their bindings to apps, and what an app finds of them.

mod files;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::{
    ids::{AppId, ServiceBindingId, ServiceInstanceId, SpaceId},
    orgs::Metadata,
    sealed::Sealed,
    time::Timestamp,
};

pub use files::{IncompatibleBindings, Materialized, ServiceFile};

/// Named settings of a service, as the user wrote them.
pub type Credentials = Map<String, Value>;

/// What `VCAP_SERVICES` and bindings call the service of an instance that a user provides.
const LABEL: &str = "user-provided";

/// A service outside the platform, as a user has described it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceInstance {
    pub id: ServiceInstanceId,
    pub space_id: SpaceId,
    pub name: String,
    pub tags: Vec<String>,
    pub syslog_drain_url: Option<String>,
    pub route_service_url: Option<String>,
    /// `Credentials`. None where there are none.
    pub credentials: Option<Sealed>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// A service instance that an app uses. It has no credentials of its own: those of the instance
/// are what the app finds at its next start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceBinding {
    pub id: ServiceBindingId,
    pub service_instance_id: ServiceInstanceId,
    pub app_id: AppId,
    /// None takes the instance's.
    pub name: Option<String>,
    pub metadata: Metadata,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Whether an app that is bound already may be bound to the same instance again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BindingStrategy {
    #[default]
    Single,
    /// For replacing credentials: the newest binding is the one that the app finds.
    Multiple,
}

/// How an app is told of its services. At most one of the two features is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServiceDelivery {
    /// In the variable `VCAP_SERVICES`.
    #[default]
    Variable,
    /// What the variable would hold, in a file: the feature `file-based-vcap-services`.
    VariableInFile,
    /// A folder for each binding, as in Kubernetes: the feature `service-binding-k8s`.
    Folders,
}

/// The services of an app at one moment: a secret, which is sealed wherever it is kept.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundServices {
    pub delivery: ServiceDelivery,
    /// Oldest first.
    pub bindings: Vec<BoundService>,
}

/// One binding with what its instance said at that moment.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundService {
    pub instance_id: ServiceInstanceId,
    pub instance_name: String,
    pub binding_id: ServiceBindingId,
    pub binding_name: Option<String>,
    pub tags: Vec<String>,
    pub credentials: Credentials,
    pub syslog_drain_url: Option<String>,
}

impl BoundService {
    pub fn new(
        instance: &ServiceInstance,
        binding: &ServiceBinding,
        credentials: Credentials,
    ) -> Self {
        Self {
            instance_id: instance.id,
            instance_name: instance.name.clone(),
            binding_id: binding.id,
            binding_name: binding.name.clone(),
            tags: instance.tags.clone(),
            credentials,
            syslog_drain_url: instance.syslog_drain_url.clone(),
        }
    }

    fn name(&self) -> &str {
        let own = self.binding_name.as_deref().filter(|name| !name.is_empty());
        own.unwrap_or(&self.instance_name)
    }

    /// As `VCAP_SERVICES` has it (upstream: presenters/system_environment/).
    fn to_value(&self) -> Map<String, Value> {
        let value = json!({
            "label": LABEL,
            "name": self.name(),
            "tags": self.tags,
            "instance_guid": self.instance_id.to_string(),
            "instance_name": self.instance_name,
            "binding_guid": self.binding_id.to_string(),
            "binding_name": self.binding_name,
            "credentials": self.credentials,
            "syslog_drain_url": self.syslog_drain_url,
            "volume_mounts": [],
        });
        match value {
            Value::Object(map) => map,
            _ => Map::new(),
        }
    }
}

impl BoundServices {
    /// Of an app that is bound to nothing.
    pub const fn none() -> Self {
        Self { delivery: ServiceDelivery::Variable, bindings: Vec::new() }
    }

    /// The value of `VCAP_SERVICES`: bindings by service, of which there is this one.
    pub fn vcap_services(&self) -> Value {
        let entries: Vec<_> = self.effective().map(BoundService::to_value).collect();
        if entries.is_empty() { json!({}) } else { json!({ LABEL: entries }) }
    }

    /// What `cf env` shows that the platform sets: the services, or where they are written.
    pub fn system_environment(&self) -> Value {
        match self.delivery {
            ServiceDelivery::Variable => json!({ "VCAP_SERVICES": self.vcap_services() }),
            ServiceDelivery::VariableInFile => {
                json!({ "VCAP_SERVICES_FILE_PATH": files::vcap_services_path() })
            }
            ServiceDelivery::Folders => json!({ "SERVICE_BINDING_ROOT": ServiceFile::ROOT }),
        }
    }

    /// Of several bindings to one instance the newest, in the order of the oldest.
    fn effective(&self) -> impl Iterator<Item = &BoundService> {
        let is_newest = |at: usize, one: &BoundService| {
            let newer = &self.bindings[at + 1..];
            newer.iter().all(|other| other.instance_id != one.instance_id)
        };
        let all = self.bindings.iter().enumerate();
        all.filter(move |(at, one)| is_newest(*at, one)).map(|(_, one)| one)
    }
}

#[cfg(test)]
mod tests;
