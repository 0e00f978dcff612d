//! The use cases' common ground: the ports, the settings, and how callers are let in.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use cupola_domain::{
    access::{Access, Visible},
    ids::{OrgId, SpaceId},
    roles::Role,
    spaces::Space,
    traffic::Meter,
};
use cupola_ports::{
    cells::Cells,
    clock::Clock,
    data_plane::DataPlane,
    logs::LogStore,
    sandbox::Layers,
    stager::Stager,
    store::{self, Condition, Query, ReadTx, Store, Value, WriteTx},
};

use crate::{
    ControlError,
    caller::Caller,
    identity::{Passwords, TokenKeys},
    vault::Vault,
};

/// The outside, as control sees it.
#[derive(Clone)]
pub struct Ports {
    pub store: Arc<dyn Store>,
    pub cells: Arc<dyn Cells>,
    pub stager: Arc<dyn Stager>,
    pub layers: Arc<dyn Layers>,
    pub data_plane: Arc<dyn DataPlane>,
    pub logs: Arc<dyn LogStore>,
    pub clock: Arc<dyn Clock>,
}

/// What the operator decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Every href is built from it; without a final slash.
    pub external_url: String,
    /// The shared domain that apps get routes under.
    pub apps_domain: String,
    /// The stack of apps that name none.
    pub stack: String,
    /// How long a GET of something that is about to change is held.
    pub hold: Duration,
    pub staging: StagingSettings,
    pub instances: InstanceSettings,
    /// The host's proxies and certificates, which apps see unless they set their own.
    pub host_environment: BTreeMap<String, String>,
    /// Where uploads are written before they are unpacked.
    pub uploads_dir: std::path::PathBuf,
    /// An upload may have this many bytes.
    pub upload_bytes_max: u64,
    /// Uploads leave this much free where they are written: apps and the database are there too.
    pub upload_free_bytes_min: u64,
    /// How long audit events are kept: the history that `changes` and `dora` tell.
    pub events_age_max: Duration,
    /// Lifetime of an access token; refresh tokens live 30 days.
    pub access_token_lifetime: Duration,
}

#[derive(Clone, Debug)]
pub struct StagingSettings {
    pub concurrency: usize,
    pub queue_max: usize,
    pub memory_mib: u32,
    pub disk_mib: u32,
    pub time_max: Duration,
}

#[derive(Clone, Debug)]
pub struct InstanceSettings {
    pub memory_mib_default: u32,
    pub memory_mib_max: u32,
    pub disk_mib_default: u32,
    pub disk_mib_max: u32,
    pub log_rate_bytes_per_s_default: i64,
    /// How long in-flight requests of a stopping instance are waited for.
    pub drain: Duration,
}

/// The use cases. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    pub(crate) ports: Ports,
    pub(crate) settings: Arc<Settings>,
    pub(crate) tokens: Arc<TokenKeys>,
    pub(crate) passwords: Arc<Passwords>,
    pub(crate) vault: Arc<Vault>,
    /// What the data plane counted; gone with this process.
    meter: Arc<Mutex<Meter>>,
}

impl Control {
    pub fn new(ports: Ports, settings: Settings, tokens: TokenKeys, vault: Vault) -> Self {
        let (settings, tokens, vault) = (Arc::new(settings), Arc::new(tokens), Arc::new(vault));
        let (passwords, meter) = (Arc::new(Passwords::new()), Arc::default());
        Self { ports, settings, tokens, passwords, vault, meter }
    }

    pub(crate) fn meter(&self) -> MutexGuard<'_, Meter> {
        self.meter.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The meter's clock, in microseconds.
    pub(crate) fn meter_now(&self) -> i64 {
        i64::try_from(self.ports.clock.monotonic().as_micros()).unwrap_or(i64::MAX)
    }

    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    pub(crate) async fn read(&self) -> Result<Box<dyn ReadTx>, ControlError> {
        Ok(self.ports.store.read().await?)
    }

    pub(crate) async fn write(&self) -> Result<Box<dyn WriteTx>, ControlError> {
        Ok(self.ports.store.write(None).await?)
    }

    /// What the roles of a caller allow, read in the same transaction as what they are used on.
    pub(crate) async fn access(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
    ) -> Result<Access, ControlError> {
        if caller.admin {
            return Ok(Access::admin());
        }
        let query = Query::by("user_id", caller.user_id.to_string());
        let roles = store::list::<Role>(tx, &query).await?.items;
        Ok(Access::of_roles(roles.into_iter().map(|role| (role.kind, role.scope))))
    }

    /// The spaces whose contents the caller sees in lists.
    pub(crate) async fn visible_spaces(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
    ) -> Result<Visible<SpaceId>, ControlError> {
        let Some(mut spaces) = access.visible_spaces() else { return Ok(None) };
        let managed = access.managed_orgs();
        if !managed.is_empty() {
            let query = Query::all().and(Condition::In("org_id", ids(&managed)));
            spaces.extend(store::list::<Space>(tx, &query).await?.items.iter().map(|s| s.id));
        }
        Ok(Some(spaces))
    }

    /// The space, if the caller may see it.
    pub(crate) async fn readable_space(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: SpaceId,
    ) -> Result<Space, ControlError> {
        store::get::<Space>(tx, id)
            .await?
            .filter(|space| access.can_read_space(space.org_id, space.id))
            .ok_or(ControlError::NotFound { noun: "Space" })
    }

    /// Begins to hold a request until what it asks about has changed. Used as
    /// `loop { look; if found || !hold.changed().await { return } }`.
    pub(crate) fn hold(&self) -> Hold {
        let deadline = tokio::time::Instant::now() + self.settings.hold;
        Hold { commits: self.ports.store.commits(), deadline }
    }
}

/// A request that is held while a change is pending.
pub(crate) struct Hold {
    commits: tokio::sync::watch::Receiver<u64>,
    deadline: tokio::time::Instant,
}

impl Hold {
    /// Waits for a commit since the last call, or since the hold began, and says whether there was
    /// one before the time was over. Drop transactions before.
    pub(crate) async fn changed(&mut self) -> bool {
        tokio::time::timeout_at(self.deadline, self.commits.changed())
            .await
            .is_ok_and(|changed| changed.is_ok())
    }
}

/// Ids as values of a condition.
pub(crate) fn ids<Id: ToString>(ids: &[Id]) -> Vec<Value> {
    ids.iter().map(|id| Value::Text(id.to_string())).collect()
}

/// The condition that limits a list to visible organisations.
pub(crate) fn in_visible_orgs(column: &'static str, visible: &Visible<OrgId>) -> Option<Condition> {
    visible.as_ref().map(|orgs| Condition::In(column, ids(orgs)))
}

/// The condition that limits a list to visible spaces.
pub(crate) fn in_visible_spaces(
    column: &'static str,
    visible: &Visible<SpaceId>,
) -> Option<Condition> {
    visible.as_ref().map(|spaces| Condition::In(column, ids(spaces)))
}
