//! Builds: asked for here, run by the staging loop.

use std::collections::HashSet;

use cupola_domain::{
    access::Access,
    apps::App,
    audit::Party,
    builds::{Build, BuildState, StagingErrorKind},
    commits::without_login,
    droplets::{Droplet, UsedBuildpack},
    ids::{AppId, BuildId, PackageId},
    orgs::Metadata,
    packages::PackageState,
};
use cupola_ports::store::{self, Condition, Page, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError, ListRequest,
    apps::{LifecycleChange, PlacedApp, distinct, told},
    caller::Caller,
    orgs::MetadataChange,
    scope::Owners,
};

/// A space may have this many builds that wait or run, so that it cannot fill the queue of all.
const BUILDS_OF_SPACE_MAX: usize = 10;

/// What a client says of a new build; what it does not say is the app's or the platform's.
#[derive(Clone, Debug)]
pub struct NewBuild {
    pub package: PackageId,
    pub lifecycle: LifecycleChange,
    pub memory_mib: Option<i64>,
    pub disk_mib: Option<i64>,
    pub metadata: Metadata,
}

impl Control {
    /// Queues a build. One of the same app that still runs is ended: its outcome would be replaced
    /// anyway, and after an interrupted push nobody waits for it.
    pub async fn create_build(
        &self,
        caller: &Caller,
        new: NewBuild,
    ) -> Result<Build, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (mut placed, package) = self
            .readable_package(&mut *tx, &access, new.package)
            .await
            .map_err(|error| match error {
                ControlError::NotFound { .. } => {
                    let detail = "Unable to use package. \
                                  Ensure that the package exists and you have access to it.";
                    ControlError::unprocessable(detail)
                }
                other => other,
            })?;
        placed.may_support(&access)?;
        if !matches!(package.state, PackageState::Ready { .. }) {
            let detail = "Cannot stage package whose state is not ready.";
            return Err(ControlError::Refused(detail.to_owned()));
        }
        self.change_lifecycle(&mut *tx, caller, &mut placed.app, new.lifecycle).await?;
        self.check_bound_services(&mut *tx, &placed.app).await?;
        self.make_room(&mut *tx, &placed).await?;
        let staging = &self.settings().staging;
        let now = self.ports.clock.now();
        let build = Build {
            id: BuildId::random(),
            app_id: placed.app.id,
            package_id: package.id,
            state: BuildState::Staging,
            lifecycle: placed.app.lifecycle.clone(),
            memory_mib: at_most("memory", new.memory_mib, staging.memory_mib)?,
            disk_mib: at_most("disk", new.disk_mib, staging.disk_mib)?,
            created_by: Some(caller.user_id),
            created_by_name: caller.username.clone(),
            metadata: new.metadata,
            created_at: now,
            updated_at: now,
        };
        store::insert(&mut *tx, &build).await?;
        let data = json!({
            "build_guid": build.id.to_string(),
            "package_guid": package.id.to_string(),
        });
        self.record(&mut *tx, caller.party(), placed.event("audit.app.build.create", data)).await?;
        tx.commit().await?;
        let app = placed.app.id;
        self.tell(app, format!("Creating build for app with guid {app}"));
        Ok(build)
    }

    /// Ends the builds of the app that still run, and refuses a new one when the queue of the space
    /// or that of the platform is full.
    async fn make_room(
        &self,
        tx: &mut dyn WriteTx,
        placed: &PlacedApp,
    ) -> Result<(), ControlError> {
        let open = store::list::<Build>(tx, &Query::by("state", "STAGING")).await?.items;
        let (of_app, others): (Vec<_>, Vec<_>) =
            open.into_iter().partition(|build| build.app_id == placed.app.id);
        let app_ids = distinct(others.iter().map(|build| build.app_id));
        let query = Query::by("space_id", placed.space.id.to_string());
        let query = query.and(Condition::In("id", app_ids));
        let in_space: HashSet<AppId> =
            store::list::<App>(tx, &query).await?.items.iter().map(|app| app.id).collect();
        let of_space = others.iter().filter(|build| in_space.contains(&build.app_id)).count();
        if of_space >= BUILDS_OF_SPACE_MAX {
            let detail = format!(
                "This space has {of_space} builds waiting, which is as many as it may. \
                 Try again when one of them has ended."
            );
            return Err(ControlError::Busy(detail));
        }
        let max = self.settings().staging.queue_max;
        if others.len() >= max {
            let detail = format!(
                "The platform has {max} builds waiting, which is as many as it takes. \
                 Try again in a minute."
            );
            return Err(ControlError::Busy(detail));
        }
        for mut build in of_app {
            build.state = BuildState::Failed {
                kind: StagingErrorKind::StagingError,
                message: "a newer build of the same app took its place".to_owned(),
            };
            build.updated_at = self.ports.clock.now();
            store::update(tx, &build).await?;
            self.record_build_end(tx, &build, None).await?;
        }
        Ok(())
    }

    /// Records how a build ended, on behalf of whoever began it, and the droplet that it made.
    pub(crate) async fn record_build_end(
        &self,
        tx: &mut dyn WriteTx,
        build: &Build,
        droplet: Option<&Droplet>,
    ) -> Result<(), ControlError> {
        let actor = build.created_by.map_or_else(Party::system, |id| Party {
            id: id.to_string(),
            kind: "user".to_owned(),
            name: build.created_by_name.clone(),
        });
        let placed = self.readable_app(tx, &Access::admin(), build.app_id).await?;
        let mut data = json!({
            "build_guid": build.id.to_string(),
            "package_guid": build.package_id.to_string(),
        });
        if let BuildState::Failed { kind, message } = &build.state {
            data["error_id"] = json!(kind);
            data["error_message"] = message.as_str().into();
            return self.record(tx, actor, placed.event("audit.app.build.failed", data)).await;
        }
        let Some(droplet) = droplet else { return Ok(()) };
        data["droplet_guid"] = droplet.id.to_string().into();
        told::add_source(&mut data, &droplet.metadata);
        let made = data.clone();
        data["buildpacks"] = droplet.contents.buildpacks.iter().map(buildpack).collect();
        self.record(tx, actor.clone(), placed.event("audit.app.droplet.create", made)).await?;
        self.record(tx, actor, placed.event("audit.app.build.staged", data)).await
    }

    /// The build, as soon as it is at its end or the time to hold a request is over.
    pub async fn build(&self, caller: &Caller, id: BuildId) -> Result<Build, ControlError> {
        let mut hold = self.hold();
        loop {
            let mut tx = self.read().await?;
            let access = self.access(&mut *tx, caller).await?;
            let (_, build) = self.readable_build(&mut *tx, &access, id).await?;
            drop(tx);
            if build.state != BuildState::Staging || !hold.changed().await {
                return Ok(build);
            }
        }
    }

    pub async fn list_builds(
        &self,
        caller: &Caller,
        owners: &Owners,
        request: &ListRequest,
    ) -> Result<Page<Build>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let visible = self.of_apps(&mut *tx, &access, owners).await?;
        Ok(store::list(&mut *tx, &request.query(visible)).await?)
    }

    pub async fn update_build(
        &self,
        caller: &Caller,
        id: BuildId,
        metadata: MetadataChange,
    ) -> Result<Build, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut build) = self.readable_build(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut build.metadata);
        build.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &build).await?;
        tx.commit().await?;
        Ok(build)
    }

    async fn readable_build(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: BuildId,
    ) -> Result<(PlacedApp, Build), ControlError> {
        let build = read_build(tx, id).await?;
        let placed = self.readable_app(tx, access, build.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Build"))?, build))
    }
}

fn buildpack(used: &UsedBuildpack) -> serde_json::Value {
    json!({
        "name": without_login(&used.name),
        "buildpack_name": used.buildpack_name,
        "version": used.version,
    })
}

async fn read_build(tx: &mut (impl ReadTx + ?Sized), id: BuildId) -> Result<Build, ControlError> {
    store::get::<Build>(tx, id).await?.ok_or(ControlError::NotFound { noun: "Build" })
}

/// What a build may use: what is asked for, within what the platform gives.
fn at_most(what: &str, wanted: Option<i64>, max: u32) -> Result<u32, ControlError> {
    let Some(wanted) = wanted else { return Ok(max) };
    let number = u32::try_from(wanted).ok().filter(|number| (1..=max).contains(number));
    number.ok_or_else(|| {
        let detail = format!("Staging {what} in mb must be between 1 and {max} on this platform");
        ControlError::Unprocessable(detail)
    })
}
