//! Revisions: numbered when something that is started differs from what was started before.

use std::collections::BTreeMap;

use cupola_domain::{
    access::Access,
    apps::App,
    commits::of_source,
    droplets::Droplet,
    generations::{Generation, Release},
    ids::{AppId, GenerationId, RevisionId},
    instances::{Instance, InstanceState},
    orgs::Metadata,
    processes::{Process, WEB},
    restoring::{Restoration, Surroundings},
    revisions::{Revision, differences},
};
use cupola_ports::store::{self, Condition, Direction, Page, Query, ReadTx, WriteTx};
use serde_json::json;

use crate::{
    Control, ControlError, ListRequest,
    apps::{PlacedApp, distinct, told},
    caller::Caller,
    orgs::MetadataChange,
    services::SnapshotOf,
    sidecars::specs,
};

/// A revision with what is needed to show it.
#[derive(Clone, Debug)]
pub struct ShownRevision {
    pub revision: Revision,
    /// Its droplet is still there, so that it can be rolled back to.
    pub deployable: bool,
    /// Whether the caller may see its commands.
    pub shows_commands: bool,
}

/// Where the release of a new generation comes from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin<'a> {
    /// What the app is set to.
    Settings,
    Rollback(&'a Revision),
    /// With what surrounded it.
    Restore(&'a Revision, &'a Restoration),
}

/// What comes to run, and what it leaves.
struct Change<'a> {
    release: &'a Release,
    source: Metadata,
    origin: Origin<'a>,
    left: Surroundings,
}

/// Kept per app, as upstream does.
const REVISIONS_MAX: i64 = 100;

impl Control {
    pub async fn revision(
        &self,
        caller: &Caller,
        id: RevisionId,
    ) -> Result<ShownRevision, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, revision) = self.readable_revision(&mut *tx, &access, id).await?;
        shown(&mut *tx, revision, access.can_read_secrets(placed.space.id)).await
    }

    /// The environment that a revision was started with, for those who may see it.
    pub async fn revision_environment(
        &self,
        caller: &Caller,
        id: RevisionId,
    ) -> Result<BTreeMap<String, String>, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, revision) = self.readable_revision(&mut *tx, &access, id).await?;
        placed.may_read_secrets(&access)?;
        let data = json!({
            "revision_guid": revision.id.to_string(),
            "revision_version": revision.version,
        });
        let event = placed.event("audit.app.revision.environment_variables.show", data);
        self.record(&mut *tx, caller.party(), event).await?;
        tx.commit().await?;
        Ok(revision.release.environment)
    }

    pub async fn list_revisions(
        &self,
        caller: &Caller,
        app: AppId,
        request: &ListRequest,
    ) -> Result<Page<ShownRevision>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, app).await?;
        let shows_commands = access.can_read_secrets(placed.space.id);
        let of_app = Condition::In("app_id", vec![app.to_string().into()]);
        let page: Page<Revision> = store::list(&mut *tx, &request.query([of_app])).await?;
        let mut items = Vec::with_capacity(page.items.len());
        for revision in page.items {
            items.push(shown(&mut *tx, revision, shows_commands).await?);
        }
        Ok(Page { items, total: page.total })
    }

    /// The revisions that instances of the `web` process run of, newest first.
    pub async fn deployed_revisions(
        &self,
        caller: &Caller,
        app: AppId,
    ) -> Result<Vec<ShownRevision>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, app).await?;
        let shows_commands = access.can_read_secrets(placed.space.id);
        let by_app = Query::by("app_id", app.to_string());
        let web = store::first::<Process>(&mut *tx, &by_app.clone().and_by("kind", WEB)).await?;
        let instances = store::list::<Instance>(&mut *tx, &by_app).await?.items;
        let running = instances
            .iter()
            .filter(|row| web.as_ref().is_none_or(|web| row.process_id == web.id))
            .filter(|row| !matches!(row.state, InstanceState::Draining | InstanceState::Stopping))
            .map(|row| row.generation);
        let running = Query::all().and(Condition::In("id", distinct(running)));
        let generations = store::list::<Generation>(&mut *tx, &running).await?.items;
        let ids = distinct(generations.iter().filter_map(|generation| generation.revision));
        let query =
            Query::all().and(Condition::In("id", ids)).ordered("version", Direction::Descending);
        let mut revisions = Vec::new();
        for revision in store::list::<Revision>(&mut *tx, &query).await?.items {
            revisions.push(shown(&mut *tx, revision, shows_commands).await?);
        }
        Ok(revisions)
    }

    pub async fn update_revision(
        &self,
        caller: &Caller,
        id: RevisionId,
        metadata: MetadataChange,
    ) -> Result<ShownRevision, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut revision) = self.readable_revision(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        metadata.apply(&mut revision.metadata);
        revision.updated_at = self.ports.clock.now();
        store::update(&mut *tx, &revision).await?;
        let revision = shown(&mut *tx, revision, true).await?;
        tx.commit().await?;
        Ok(revision)
    }

    pub(crate) async fn readable_revision(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: RevisionId,
    ) -> Result<(PlacedApp, Revision), ControlError> {
        let revision = store::get::<Revision>(tx, id).await?;
        let revision = revision.ok_or(ControlError::NotFound { noun: "Revision" })?;
        let placed = self.readable_app(tx, access, revision.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Revision"))?, revision))
    }

    /// Writes down what instances are started from that are wanted now, with a revision if that
    /// differs from what was started last. The app has a droplet. `left` is what surrounded what ran
    /// so far.
    pub(crate) async fn new_generation(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        origin: Origin<'_>,
        left: Surroundings,
    ) -> Result<(Generation, Option<Revision>), ControlError> {
        let app = &placed.app;
        let query = Query::by("app_id", app.id.to_string());
        let processes = store::list::<Process>(tx, &query).await?.items;
        let sidecars = specs(tx, app.id).await?;
        let release = Release::of(app, &processes, sidecars).ok_or_else(|| {
            ControlError::unprocessable("Assign a droplet before starting this app.")
        })?;
        let Some(droplet) = store::get::<Droplet>(tx, release.droplet).await? else {
            let detail =
                "The current droplet of this app is gone. Assign another one, or push again.";
            return Err(ControlError::unprocessable(detail));
        };
        let source = of_source(&droplet.metadata);
        let change = Change { release: &release, source, origin, left };
        let revision = self.revise(tx, caller, placed, change).await?;
        let id = GenerationId::random();
        let services = self.snapshot_services(tx, app, SnapshotOf::Generation(id)).await?;
        let generation = Generation {
            id,
            app_id: app.id,
            release,
            services,
            revision: revision.as_ref().map(|revision| revision.id),
            created_at: self.ports.clock.now(),
        };
        store::insert(tx, &generation).await?;
        Ok((generation, revision))
    }

    /// The revision of a release: the latest one, or a new one if they differ. None while the app
    /// keeps none.
    async fn revise(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        change: Change<'_>,
    ) -> Result<Option<Revision>, ControlError> {
        let Change { release, source, origin, left } = change;
        let app = &placed.app;
        if !app.revisions_enabled {
            return Ok(None);
        }
        let newest =
            Query::by("app_id", app.id.to_string()).ordered("version", Direction::Descending);
        let latest = store::first::<Revision>(tx, &newest).await?;
        let mut reasons = match &latest {
            None => vec!["Initial revision.".to_owned()],
            Some(latest) => differences(&latest.release, release),
        };
        match origin {
            Origin::Settings if reasons.is_empty() => return Ok(latest),
            Origin::Settings => {}
            Origin::Rollback(_) if reasons.is_empty() => {
                let detail = "Unable to rollback. The code and configuration you are rolling back \
                              to is the same as the deployed revision.";
                return Err(ControlError::unprocessable(detail));
            }
            Origin::Rollback(to) => {
                reasons.push(format!("Rolled back to revision {}.", to.version));
            }
            Origin::Restore(to, restoration) => {
                reasons.push(format!("Rolled back to revision {}.", to.version));
                reasons.extend(restoration.summary());
            }
        }
        self.leave_revision(tx, app, release, left).await?;
        let now = self.ports.clock.now();
        let revision = Revision {
            id: RevisionId::random(),
            app_id: app.id,
            version: latest.map_or(0, |latest| latest.version) + 1,
            description: reasons.join(" "),
            release: release.clone(),
            as_left: None,
            before_manifest: None,
            // The droplet may be gone one day; where it came from stays known.
            metadata: source,
            created_at: now,
            updated_at: now,
        };
        store::insert(tx, &revision).await?;
        let too_old = Condition::Less("version", i64::from(revision.version) - REVISIONS_MAX + 1);
        let of_app = Condition::In("app_id", vec![app.id.to_string().into()]);
        tx.delete_rows(<Revision as store::Noun>::TABLE, &[of_app, too_old]).await?;
        let mut data = json!({
            "revision_guid": revision.id.to_string(),
            "revision_version": revision.version,
            "description": revision.description,
        });
        told::add_source(&mut data, &revision.metadata);
        let event = placed.event("audit.app.revision.create", data);
        self.record(tx, caller.party(), event).await?;
        Ok(Some(revision))
    }

    /// What an event tells of a release that is started after the one of `before`: beside Cloud Controller's own fields, so
    /// that it can be told later which code ran from when on.
    pub(crate) async fn about_release(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        before: GenerationId,
        generation: &Generation,
        revision: Option<&Revision>,
    ) -> Result<serde_json::Value, ControlError> {
        let before = store::get::<Generation>(tx, before).await?;
        let droplet = store::get::<Droplet>(tx, generation.release.droplet).await?;
        let source = droplet.map(|droplet| droplet.metadata).unwrap_or_default();
        let mut data = json!({
            "version": generation.id.to_string(),
            "droplet_guid": generation.release.droplet.to_string(),
            "previous_droplet_guid": before.map(|before| before.release.droplet.to_string()),
        });
        if let Some(revision) = revision {
            data["revision_version"] = revision.version.into();
        }
        told::add_source(&mut data, &source);
        Ok(data)
    }

    /// Makes a generation the one that all instances of the app shall be of.
    pub(crate) async fn run_generation(
        &self,
        tx: &mut dyn WriteTx,
        app: &mut App,
        generation: GenerationId,
    ) -> Result<(), ControlError> {
        app.generation = generation;
        let query = Query::by("app_id", app.id.to_string());
        for mut process in store::list::<Process>(tx, &query).await?.items {
            process.generation = generation;
            store::update(tx, &process).await?;
        }
        Ok(())
    }
}

async fn shown(
    tx: &mut (impl ReadTx + ?Sized),
    revision: Revision,
    shows_commands: bool,
) -> Result<ShownRevision, ControlError> {
    let droplet = store::get::<Droplet>(tx, revision.release.droplet).await?;
    Ok(ShownRevision { revision, deployable: droplet.is_some(), shows_commands })
}
