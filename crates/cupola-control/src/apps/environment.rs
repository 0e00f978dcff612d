//! What an app's instances and builds find in their environment.

use std::collections::BTreeMap;

use cupola_domain::{apps::App, ids::AppId};
use serde_json::{Value, json};

use super::told;
use crate::{
    Control, ControlError,
    caller::Caller,
    launch_spec::{PlaceRows, vcap_application},
};

/// Everything that an app is told, by where it comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct AppEnvironment {
    pub own: BTreeMap<String, String>,
    pub system: Value,
    pub application: Value,
}

/// Variables to set, or with none to remove.
pub type EnvironmentChange = BTreeMap<String, Option<String>>;

/// The largest environment that an app may have, as upstream.
const BYTES_MAX: usize = 130 * 1024;

impl Control {
    pub async fn app_environment(
        &self,
        caller: &Caller,
        id: AppId,
    ) -> Result<AppEnvironment, ControlError> {
        let event = "audit.app.environment.show";
        let (app, shows_credentials) = self.app_with_secrets(caller, id, event).await?;
        let mut tx = self.read().await?;
        let rows = PlaceRows::read(&mut *tx, id).await?;
        let rows = rows.ok_or(ControlError::NotFound { noun: "App" })?;
        let limits = &self.settings().instances;
        let (memory, disk) = (limits.memory_mib_default, limits.disk_mib_default);
        let web =
            cupola_ports::store::get::<cupola_domain::processes::Process>(&mut *tx, id).await?;
        let (memory, disk) =
            web.map_or((memory, disk), |web| (web.limits.memory_mib, web.limits.disk_mib));
        let about = vcap_application(rows.place(), memory, disk, self.settings());
        let system = if shows_credentials {
            self.bound_services(&mut *tx, &app).await?.system_environment()
        } else {
            json!({ "redacted_message": told::HIDDEN })
        };
        Ok(AppEnvironment {
            own: app.environment,
            system,
            application: json!({ "VCAP_APPLICATION": about }),
        })
    }

    /// The variables that the user has set.
    pub async fn environment_variables(
        &self,
        caller: &Caller,
        id: AppId,
    ) -> Result<BTreeMap<String, String>, ControlError> {
        let event = "audit.app.environment_variables.show";
        Ok(self.app_with_secrets(caller, id, event).await?.0.environment)
    }

    pub async fn change_environment_variables(
        &self,
        caller: &Caller,
        id: AppId,
        change: EnvironmentChange,
    ) -> Result<BTreeMap<String, String>, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let mut placed = self.readable_app(&mut *tx, &access, id).await?;
        placed.may_support(&access)?;
        let before = placed.app.clone();
        change_environment(&mut placed.app, change, "Var")?;
        self.update_app_row(&mut *tx, &mut placed.app).await?;
        // Values are secrets: the event tells which changed and not how.
        let request = json!({ "environment_variables": told::HIDDEN });
        let data = told::data(request, told::changed(&before, &placed.app));
        self.record(&mut *tx, caller.party(), placed.event("audit.app.update", data)).await?;
        tx.commit().await?;
        self.tell(id, format!("Updated app with guid {id} (environment variables)"));
        Ok(placed.app.environment)
    }

    /// The app, and whether the caller may also see the credentials of its services; the event
    /// tells that somebody saw its variables.
    async fn app_with_secrets(
        &self,
        caller: &Caller,
        id: AppId,
        event: &str,
    ) -> Result<(App, bool), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, id).await?;
        // What users have set is for supporters too; credentials of services are not.
        placed.may_support(&access)?;
        self.require_flag_or_admin(&mut *tx, caller, "env_var_visibility").await?;
        self.require_flag_or_admin(&mut *tx, caller, "space_developer_env_var_visibility").await?;
        self.record(&mut *tx, caller.party(), placed.event(event, json!({}))).await?;
        tx.commit().await?;
        let shows_credentials = access.can_read_secrets(placed.space.id);
        Ok((placed.app, shows_credentials))
    }
}

/// Sets and removes variables; `field` is what the client calls them.
pub(crate) fn change_environment(
    app: &mut App,
    change: EnvironmentChange,
    field: &str,
) -> Result<(), ControlError> {
    check_names(change.keys().map(String::as_str), field)?;
    for (name, value) in change {
        match value {
            Some(value) if value.contains('\0') => {
                let detail = format!("{field} value of '{name}' cannot contain a NUL character");
                return Err(ControlError::Unprocessable(detail));
            }
            Some(value) => app.environment.insert(name, value),
            None => app.environment.remove(&name),
        };
    }
    let bytes: usize = app.environment.iter().map(|(name, value)| name.len() + value.len()).sum();
    if bytes > BYTES_MAX {
        let detail = format!(
            "Environment variables are too large: {bytes} bytes, at most {BYTES_MAX} are allowed"
        );
        return Err(ControlError::Unprocessable(detail));
    }
    Ok(())
}

/// Refuses the names that belong to the platform, in upstream's words.
pub fn check_names<'a>(
    names: impl Iterator<Item = &'a str>,
    field: &str,
) -> Result<(), ControlError> {
    for name in names {
        let upper = name.to_ascii_uppercase();
        let problem = if name.is_empty() {
            "key must be a minimum length of 1"
        } else if name.contains(['=', '\0']) {
            "key cannot contain '=' or a NUL character"
        } else if upper.starts_with("VCAP_") {
            "cannot start with VCAP_"
        } else if upper.starts_with("VMC") {
            "cannot start with VMC_"
        } else if upper == "PORT" {
            "cannot set PORT"
        } else {
            continue;
        };
        return Err(ControlError::Unprocessable(format!("{field} {problem}")));
    }
    Ok(())
}
