//! Processes: the kinds of instance an app has. Read, change, scale.

mod instances;

use cupola_domain::{
    access::Access,
    apps::App,
    changes::{difference, secret_difference},
    droplets::Droplet,
    ids::{AppId, ProcessId},
    orgs::Metadata,
    processes::{Check, HealthCheck, InstanceLimits, Process, WEB},
    time::Timestamp,
};
use cupola_ports::store::{self, Page, Query, ReadTx, WriteTx};
use serde_json::json;

pub use instances::{IndexState, InstanceStats, ProcessStats};

use crate::{
    Control, ControlError, InstanceSettings, ListRequest,
    apps::{PlacedApp, told},
    caller::Caller,
    launch_spec,
    orgs::MetadataChange,
    scope::Owners,
    sidecars::require_room,
};

/// How a client names a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProcessRef {
    Id(ProcessId),
    /// App and process type.
    Of(AppId, String),
}

/// A process with what is needed to show it.
#[derive(Clone, Debug)]
pub struct PlacedProcess {
    pub process: Process,
    pub placed: PlacedApp,
    /// The user's own command, or the droplet's.
    pub command: Option<String>,
    /// Whether the caller may see it.
    pub shows_command: bool,
}

/// What a client wants changed; none leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct ProcessChange {
    /// Some(None) goes back to the droplet's.
    pub command: Option<Option<String>>,
    pub health_check: CheckChange,
    pub readiness_check: CheckChange,
    pub metadata: MetadataChange,
}

/// What a client says of a check. Some(None) goes back to the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckChange {
    pub kind: Option<CheckKind>,
    pub endpoint: Option<Option<String>>,
    pub start_timeout_s: Option<Option<u32>>,
    pub invocation_timeout_s: Option<Option<u32>>,
    pub interval_s: Option<Option<u32>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckKind {
    Port,
    Http,
    Process,
}

/// How many and how large; none leaves it as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    pub instances: Option<i64>,
    pub memory_mib: Option<i64>,
    pub disk_mib: Option<i64>,
    pub log_rate_bytes_per_s: Option<i64>,
}

/// A process may have this many instances.
pub const INSTANCES_MAX: i64 = 1000;
/// A start may take this long, as upstream.
const START_TIMEOUT_S_MAX: u32 = 180;

/// A process as it is before anybody has said anything of it.
pub(crate) fn new_process(
    app: &App,
    kind: &str,
    settings: &InstanceSettings,
    now: Timestamp,
) -> Process {
    let is_web = kind == WEB;
    let check = if is_web { Check::Port } else { Check::Process };
    Process {
        id: if is_web { ProcessId::from_uuid(app.id.uuid()) } else { ProcessId::random() },
        app_id: app.id,
        kind: kind.to_owned(),
        command: None,
        instances: u32::from(is_web),
        limits: InstanceLimits {
            memory_mib: settings.memory_mib_default,
            disk_mib: settings.disk_mib_default,
            log_rate_bytes_per_s: settings.log_rate_bytes_per_s_default,
        },
        health_check: HealthCheck::with_defaults(check),
        readiness_check: HealthCheck::with_defaults(Check::Process),
        generation: app.generation,
        metadata: Metadata::default(),
        created_at: now,
        updated_at: now,
    }
}

impl Control {
    pub async fn process(
        &self,
        caller: &Caller,
        process: ProcessRef,
    ) -> Result<PlacedProcess, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, process) = self.readable_process(&mut *tx, &access, &process).await?;
        self.with_command(&mut *tx, &access, placed, process).await
    }

    pub async fn list_processes(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<Process>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.of_apps(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_process(
        &self,
        caller: &Caller,
        process: ProcessRef,
        change: ProcessChange,
    ) -> Result<PlacedProcess, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut process) = self.readable_process(&mut *tx, &access, &process).await?;
        placed.may_support(&access)?;
        self.change_process(&mut *tx, caller, &placed, &mut process, change).await?;
        let shown = self.with_command(&mut *tx, &access, placed, process).await?;
        tx.commit().await?;
        let kind = &shown.process.kind;
        self.tell(shown.placed.app.id, format!("Updating process: \"{kind}\""));
        Ok(shown)
    }

    /// Changes the row and records it, if that changes anything.
    pub(crate) async fn change_process(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        process: &mut Process,
        change: ProcessChange,
    ) -> Result<(), ControlError> {
        let before = process.clone();
        let mut request = serde_json::Map::new();
        if let Some(command) = change.command {
            request.insert("command".to_owned(), told::HIDDEN.into());
            process.command = command.filter(|command| !command.trim().is_empty());
        }
        process.health_check = change.health_check.applied_to(&process.health_check)?;
        process.readiness_check = change.readiness_check.applied_to(&process.readiness_check)?;
        change.metadata.apply(&mut process.metadata);
        if *process == before {
            return Ok(());
        }
        process.updated_at = self.ports.clock.now();
        store::update(tx, process).await?;
        let data = about(&before, process, request.into());
        self.record(tx, caller.party(), placed.event("audit.app.process.update", data)).await
    }

    /// The number of instances counts at once, the limits from the next start on.
    pub async fn scale_process(
        &self,
        caller: &Caller,
        process: ProcessRef,
        scale: Scale,
    ) -> Result<PlacedProcess, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut process) = self.readable_process(&mut *tx, &access, &process).await?;
        placed.may_support(&access)?;
        self.require_flag_or_admin(&mut *tx, caller, "app_scaling").await?;
        self.scale_row(&mut *tx, caller, &placed, &mut process, scale).await?;
        let shown = self.with_command(&mut *tx, &access, placed, process).await?;
        tx.commit().await?;
        let kind = &shown.process.kind;
        self.tell(shown.placed.app.id, format!("Scaling process: \"{kind}\""));
        Ok(shown)
    }

    /// Changes the row and records it, if that changes anything.
    pub(crate) async fn scale_row(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        process: &mut Process,
        scale: Scale,
    ) -> Result<(), ControlError> {
        let scaled = self.scaled(process, scale)?;
        if scaled == *process {
            return Ok(());
        }
        let before = std::mem::replace(process, scaled);
        require_room(tx, process).await?;
        process.updated_at = self.ports.clock.now();
        store::update(tx, process).await?;
        let request = json!({
            "instances": scale.instances,
            "memory_in_mb": scale.memory_mib,
            "disk_in_mb": scale.disk_mib,
            "log_rate_limit_in_bytes_per_second": scale.log_rate_bytes_per_s,
        });
        let data = about(&before, process, without_nulls(request));
        self.record(tx, caller.party(), placed.event("audit.app.process.scale", data)).await
    }

    /// The process as it is after this scale, which has to be within the platform's bounds.
    pub(crate) fn scaled(&self, process: &Process, scale: Scale) -> Result<Process, ControlError> {
        let mut process = process.clone();
        if let Some(wanted) = scale.instances {
            process.instances = bounded("Instances", wanted, 0, INSTANCES_MAX)?;
        }
        process.limits = self.limited(process.limits, scale)?;
        Ok(process)
    }

    /// The limits as they are after this scale, which have to be within the platform's bounds.
    pub(crate) fn limited(
        &self,
        mut limits: InstanceLimits,
        scale: Scale,
    ) -> Result<InstanceLimits, ControlError> {
        let settings = &self.settings().instances;
        if let Some(wanted) = scale.memory_mib {
            let max = i64::from(settings.memory_mib_max);
            limits.memory_mib = bounded("Memory in mb", wanted, 1, max)?;
        }
        if let Some(wanted) = scale.disk_mib {
            let max = i64::from(settings.disk_mib_max);
            limits.disk_mib = bounded("Disk in mb", wanted, 1, max)?;
        }
        if let Some(wanted) = scale.log_rate_bytes_per_s {
            if wanted < -1 {
                let detail =
                    "Log rate limit in bytes per second must be greater than or equal to -1";
                return Err(ControlError::unprocessable(detail));
            }
            limits.log_rate_bytes_per_s = wanted;
        }
        Ok(limits)
    }

    /// The process and its app, if the caller may see them.
    pub(crate) async fn readable_process(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        process: &ProcessRef,
    ) -> Result<(PlacedApp, Process), ControlError> {
        let not_found = || ControlError::NotFound { noun: "Process" };
        match process {
            ProcessRef::Id(id) => {
                let process = store::get::<Process>(tx, *id).await?.ok_or_else(not_found)?;
                let placed = self.readable_app(tx, access, process.app_id).await;
                Ok((placed.map_err(|error| error.not_found_as("Process"))?, process))
            }
            ProcessRef::Of(app, kind) => {
                let placed = self.readable_app(tx, access, *app).await?;
                let query = Query::by("app_id", app.to_string()).and_by("kind", kind.as_str());
                let process = store::first::<Process>(tx, &query).await?.ok_or_else(not_found)?;
                Ok((placed, process))
            }
        }
    }

    async fn with_command(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        placed: PlacedApp,
        process: Process,
    ) -> Result<PlacedProcess, ControlError> {
        let droplet = match placed.app.current_droplet {
            Some(id) => store::get::<Droplet>(tx, id).await?,
            None => None,
        };
        let command = match &droplet {
            Some(droplet) => launch_spec::command(&process, droplet).map(str::to_owned),
            None => process.command.clone(),
        };
        let shows_command = access.can_read_secrets(placed.space.id);
        Ok(PlacedProcess { process, placed, command, shows_command })
    }
}

impl CheckChange {
    fn applied_to(self, check: &HealthCheck) -> Result<HealthCheck, ControlError> {
        let old_endpoint = match &check.check {
            Check::Http { endpoint } => Some(endpoint.clone()),
            Check::Port | Check::Process => None,
        };
        let was_http = old_endpoint.is_some();
        let is_http = self.kind.map_or(was_http, |kind| kind == CheckKind::Http);
        if let Some(Some(_)) = &self.endpoint
            && !is_http
        {
            let detail = "Health check type must be \"http\" to set a health check HTTP endpoint";
            return Err(ControlError::unprocessable(detail));
        }
        let endpoint = self.endpoint.unwrap_or(old_endpoint).unwrap_or_else(|| "/".to_owned());
        let new = match self.kind {
            None if is_http => Check::Http { endpoint },
            None => check.check.clone(),
            Some(CheckKind::Http) => Check::Http { endpoint },
            Some(CheckKind::Port) => Check::Port,
            Some(CheckKind::Process) => Check::Process,
        };
        if let Check::Http { endpoint } = &new
            && (!endpoint.starts_with('/') || endpoint.contains(|c: char| c.is_whitespace()))
        {
            let detail = "Health check http endpoint must be a valid URI path";
            return Err(ControlError::unprocessable(detail));
        }
        let start_timeout_s = self.start_timeout_s.unwrap_or(check.start_timeout_s);
        if start_timeout_s.is_some_and(|seconds| seconds > START_TIMEOUT_S_MAX) {
            let detail =
                format!("Health check timeout maximum exceeded: max {START_TIMEOUT_S_MAX}s");
            return Err(ControlError::Unprocessable(detail));
        }
        Ok(HealthCheck {
            check: new,
            start_timeout_s,
            invocation_timeout_s: self.invocation_timeout_s.unwrap_or(check.invocation_timeout_s),
            interval_s: self.interval_s.unwrap_or(check.interval_s),
        })
    }
}

/// What an audit event tells of a process that was changed.
fn about(before: &Process, process: &Process, request: serde_json::Value) -> serde_json::Value {
    let mut changed = difference(&settings(before), &settings(process));
    let command = secret_difference(before.command.as_deref(), process.command.as_deref());
    changed.extend(command.map(|how| ("command".to_owned(), how.into())));
    let mut data = told::data(request, changed);
    data["process_guid"] = process.id.to_string().into();
    data["process_type"] = process.kind.as_str().into();
    data
}

/// What is told of a process where it differs, in the API's words.
fn settings(process: &Process) -> serde_json::Value {
    json!({
        "instances": process.instances,
        "memory_in_mb": process.limits.memory_mib,
        "disk_in_mb": process.limits.disk_mib,
        "log_rate_limit_in_bytes_per_second": process.limits.log_rate_bytes_per_s,
        "health_check": check_words(&process.health_check),
        "readiness_health_check": check_words(&process.readiness_check),
    })
}

/// As in `http /up (timeout 90 s)`.
fn check_words(check: &HealthCheck) -> String {
    let kind = match &check.check {
        Check::Port => "port".to_owned(),
        Check::Process => "process".to_owned(),
        Check::Http { endpoint } => format!("http {endpoint}"),
    };
    let times = [
        ("timeout", check.start_timeout_s),
        ("invocation timeout", check.invocation_timeout_s),
        ("interval", check.interval_s),
    ];
    let times = times.iter().filter_map(|(name, time)| Some(format!("{name} {} s", (*time)?)));
    let times: Vec<String> = times.collect();
    if times.is_empty() { kind } else { format!("{kind} ({})", times.join(", ")) }
}

fn bounded(what: &str, wanted: i64, min: i64, max: i64) -> Result<u32, ControlError> {
    if wanted < min {
        let than = if min == 0 { "greater than or equal to 0" } else { "greater than 0" };
        return Err(ControlError::Unprocessable(format!("{what} must be {than}")));
    }
    let number = u32::try_from(wanted).ok().filter(|_| wanted <= max);
    number.ok_or_else(|| {
        ControlError::Unprocessable(format!("{what} must be at most {max} on this platform"))
    })
}

pub(crate) fn without_nulls(mut value: serde_json::Value) -> serde_json::Value {
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, value| !value.is_null());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoint_needs_an_http_check() {
        let port = HealthCheck::with_defaults(Check::Port);
        let change = CheckChange { endpoint: Some(Some("/up".to_owned())), ..Default::default() };

        let error = change.clone().applied_to(&port).unwrap_err();
        let http = CheckChange { kind: Some(CheckKind::Http), ..change }.applied_to(&port).unwrap();

        assert!(error.to_string().contains("must be \"http\""));
        assert_eq!(http.check, Check::Http { endpoint: "/up".to_owned() });
    }

    #[test]
    fn http_check_without_an_endpoint_asks_for_the_root() {
        let port = HealthCheck::with_defaults(Check::Port);
        let change = CheckChange { kind: Some(CheckKind::Http), ..Default::default() };

        let http = change.applied_to(&port).unwrap();

        assert_eq!(http.check, Check::Http { endpoint: "/".to_owned() });
    }

    #[test]
    fn scale_is_refused_outside_its_bounds() {
        assert!(bounded("Instances", -1, 0, 10).is_err());
        assert!(bounded("Memory in mb", 0, 1, 10).is_err());
        assert!(bounded("Memory in mb", 11, 1, 10).is_err());
        assert_eq!(bounded("Instances", 0, 0, 10).unwrap(), 0);
    }
}
