//! How an app's source becomes a droplet: which buildpacks, on which stack.

use cupola_domain::{
    apps::{App, Lifecycle},
    buildpacks::Buildpack,
};
use cupola_ports::store::{self, Condition, Query, ReadTx};

use crate::{Control, ControlError, caller::Caller};

/// An app may be built by this many buildpacks.
pub(crate) const BUILDPACKS_MAX: usize = 50;

/// What a client says of a lifecycle; none leaves it as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LifecycleChange {
    /// `buildpack`, `docker` or `cnb`.
    pub kind: Option<String>,
    /// Empty: detect.
    pub buildpacks: Option<Vec<String>>,
    /// Some(None) goes back to the platform's own.
    pub stack: Option<Option<String>>,
}

impl Control {
    pub(crate) fn default_lifecycle(&self) -> Lifecycle {
        Lifecycle { buildpacks: Vec::new(), stack: self.settings().stack.clone() }
    }

    pub(crate) async fn change_lifecycle(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        app: &mut App,
        change: LifecycleChange,
    ) -> Result<(), ControlError> {
        self.require_buildpack_lifecycle(tx, caller, change.kind.as_deref()).await?;
        if let Some(buildpacks) = change.buildpacks {
            if buildpacks.len() > BUILDPACKS_MAX {
                let detail = format!("Buildpacks can be at most {BUILDPACKS_MAX}.");
                return Err(ControlError::Unprocessable(detail));
            }
            if let Some(unknown) = unknown_buildpack(tx, &buildpacks).await? {
                let detail = format!(
                    "Buildpack \"{unknown}\" must be an existing admin buildpack or a valid git URI"
                );
                return Err(ControlError::unprocessable(detail));
            }
            app.lifecycle.buildpacks = buildpacks;
        }
        if let Some(stack) = change.stack {
            let stack = stack.unwrap_or_else(|| self.settings().stack.clone());
            self.require_stack(&stack)?;
            app.lifecycle.stack = stack;
        }
        Ok(())
    }

    /// Refuses images and cloud native buildpacks: with the words of their flag while it is off,
    /// with our own when an administrator has turned it on.
    pub(crate) async fn require_buildpack_lifecycle(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        caller: &Caller,
        kind: Option<&str>,
    ) -> Result<(), ControlError> {
        let (flag, what) = match kind {
            None | Some("buildpack") => return Ok(()),
            Some("docker") => ("diego_docker", "Docker images"),
            Some("cnb") => ("diego_cnb", "Cloud Native Buildpacks"),
            Some(_) => {
                let detail = "Lifecycle type is not included in the list: buildpack, cnb, docker";
                return Err(ControlError::unprocessable(detail));
            }
        };
        let not_admin = Caller { admin: false, ..caller.clone() };
        self.require_flag_or_admin(tx, &not_admin, flag).await?;
        let detail = format!("{what} cannot be run by this platform yet. Push the source instead.");
        Err(ControlError::unprocessable(detail))
    }

    pub(crate) fn require_stack(&self, stack: &str) -> Result<(), ControlError> {
        if stack == self.settings().stack {
            return Ok(());
        }
        let known = &self.settings().stack;
        let detail = format!("Stack must be an existing stack. There is only '{known}'.");
        Err(ControlError::unprocessable(detail))
    }
}

/// The first of these that is neither the name of a buildpack nor the address of one.
pub(crate) async fn unknown_buildpack(
    tx: &mut (impl ReadTx + ?Sized),
    wanted: &[String],
) -> Result<Option<String>, ControlError> {
    let names = wanted.iter().cloned().map(store::Value::Text).collect();
    let query = Query::all().and(Condition::In("name", names));
    let known = store::list::<Buildpack>(tx, &query).await?.items;
    let is_known = |name: &str| known.iter().any(|buildpack| buildpack.name == name);
    let mut wanted = wanted.iter();
    Ok(wanted.find(|name| !is_known(name) && !is_address(name)).cloned())
}

/// Where a buildpack may be fetched from.
fn is_address(text: &str) -> bool {
    let schemes = ["https://", "http://", "git://", "ssh://", "git@"];
    let rest = schemes.iter().find_map(|scheme| text.strip_prefix(scheme));
    rest.is_some_and(|rest| !rest.is_empty() && !rest.contains(char::is_whitespace))
}
