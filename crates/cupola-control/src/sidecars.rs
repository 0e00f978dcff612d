//! Sidecars: of users by the API and manifests, of buildpacks with the droplet that names them.
//!
//! A change counts from the next start on, as one of a command does: it is part of the release.

use std::collections::BTreeSet;

use cupola_domain::{
    access::Access,
    droplets::Droplet,
    ids::{AppId, SidecarId},
    processes::Process,
    sidecars::{Misfit, SIDECARS_MAX, Sidecar, SidecarOrigin, SidecarSpec, misfit},
};
use cupola_ports::store::{self, Condition, Direction, Page, Query, ReadTx, WriteTx};
use serde_json::{Map, json};

use crate::{
    Control, ControlError, ListRequest,
    apps::{PlacedApp, told},
    caller::Caller,
    processes::ProcessRef,
};

/// What a client says of a sidecar; none leaves it as it is, which a new one cannot.
#[derive(Clone, Debug, Default)]
pub struct SidecarChange {
    pub name: Option<String>,
    pub command: Option<String>,
    pub process_types: Option<Vec<String>>,
    /// Some(None) takes the bound away.
    pub memory_mib: Option<Option<i64>>,
}

/// A sidecar, and whether the caller may see its command, which may hold secrets.
#[derive(Clone, Debug)]
pub struct ShownSidecar {
    pub sidecar: Sidecar,
    pub shows_command: bool,
}

/// Bytes.
const NAME_BYTES_MAX: usize = 255;
const COMMAND_BYTES_MAX: usize = 4096;

impl Control {
    pub async fn create_sidecar(
        &self,
        caller: &Caller,
        app: AppId,
        new: SidecarChange,
    ) -> Result<Sidecar, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, app).await?;
        placed.may_develop(&access)?;
        let sidecar = self.insert_sidecar(&mut *tx, caller, &placed, new).await?;
        tx.commit().await?;
        Ok(sidecar)
    }

    /// As the manifest says: made, or changed where there is one of the name.
    pub(crate) async fn apply_sidecar(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        wanted: SidecarChange,
    ) -> Result<(), ControlError> {
        let present = match &wanted.name {
            Some(name) => named(tx, placed.app.id, name).await?,
            None => None,
        };
        match present.filter(|sidecar| sidecar.spec.origin == SidecarOrigin::User) {
            Some(mut sidecar) => {
                self.change_sidecar(tx, caller, placed, &mut sidecar, wanted).await
            }
            None => self.insert_sidecar(tx, caller, placed, wanted).await.map(|_| ()),
        }
    }

    async fn insert_sidecar(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        new: SidecarChange,
    ) -> Result<Sidecar, ControlError> {
        let empty = SidecarSpec {
            name: String::new(),
            command: String::new(),
            process_types: Vec::new(),
            memory_mib: None,
            origin: SidecarOrigin::User,
        };
        let spec = changed(empty, new)?;
        // A user's goes before one of the same name that a buildpack brought.
        if let Some(old) = named(tx, placed.app.id, &spec.name).await?
            && old.spec.origin == SidecarOrigin::Buildpack
        {
            store::delete::<Sidecar>(tx, old.id).await?;
        }
        let now = self.ports.clock.now();
        let (id, app_id) = (SidecarId::random(), placed.app.id);
        let sidecar = Sidecar { id, app_id, spec, created_at: now, updated_at: now };
        store::insert(tx, &sidecar).await.map_err(|error| taken(error, &sidecar.spec.name))?;
        require_fit(tx, placed.app.id).await?;
        self.tell_sidecar(tx, caller, placed, &sidecar, "set").await?;
        Ok(sidecar)
    }

    pub async fn sidecar(
        &self,
        caller: &Caller,
        id: SidecarId,
    ) -> Result<ShownSidecar, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, sidecar) = self.readable_sidecar(&mut *tx, &access, id).await?;
        Ok(ShownSidecar { sidecar, shows_command: access.can_read_secrets(placed.space.id) })
    }

    pub async fn list_sidecars_of_app(
        &self,
        caller: &Caller,
        app: AppId,
        request: &ListRequest,
    ) -> Result<Page<ShownSidecar>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let placed = self.readable_app(&mut *tx, &access, app).await?;
        let of_app = Condition::In("app_id", vec![app.to_string().into()]);
        let page = store::list(&mut *tx, &request.query([of_app])).await?;
        Ok(shown(page, access.can_read_secrets(placed.space.id)))
    }

    pub async fn list_sidecars_of_process(
        &self,
        caller: &Caller,
        process: &ProcessRef,
        request: &ListRequest,
    ) -> Result<Page<ShownSidecar>, ControlError> {
        let mut tx = self.read().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, process) = self.readable_process(&mut *tx, &access, process).await?;
        let all = rows(&mut *tx, placed.app.id).await?.into_iter();
        let ids = all.filter(|sidecar| sidecar.spec.process_types.contains(&process.kind));
        let ids = Condition::In("id", ids.map(|one| one.id.to_string().into()).collect());
        let page = store::list(&mut *tx, &request.query([ids])).await?;
        Ok(shown(page, access.can_read_secrets(placed.space.id)))
    }

    pub async fn update_sidecar(
        &self,
        caller: &Caller,
        id: SidecarId,
        change: SidecarChange,
    ) -> Result<Sidecar, ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, mut sidecar) = self.readable_sidecar(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        self.change_sidecar(&mut *tx, caller, &placed, &mut sidecar, change).await?;
        tx.commit().await?;
        Ok(sidecar)
    }

    async fn change_sidecar(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        sidecar: &mut Sidecar,
        change: SidecarChange,
    ) -> Result<(), ControlError> {
        let spec = changed(sidecar.spec.clone(), change)?;
        if spec == sidecar.spec {
            return Ok(());
        }
        sidecar.spec = SidecarSpec { origin: SidecarOrigin::User, ..spec };
        sidecar.updated_at = self.ports.clock.now();
        store::update(tx, sidecar).await.map_err(|error| taken(error, &sidecar.spec.name))?;
        require_fit(tx, sidecar.app_id).await?;
        self.tell_sidecar(tx, caller, placed, sidecar, "changed").await
    }

    /// Records that a user set, changed or removed a sidecar, by its name: its command may hold
    /// secrets. What comes and goes with a droplet or a rollback is told by the event of that.
    async fn tell_sidecar(
        &self,
        tx: &mut dyn WriteTx,
        caller: &Caller,
        placed: &PlacedApp,
        sidecar: &Sidecar,
        how: &str,
    ) -> Result<(), ControlError> {
        let name = format!("sidecar {}", sidecar.spec.name);
        let changed = Map::from_iter([(name, how.into())]);
        let event = placed.event("audit.app.update", told::data(json!({}), changed));
        self.record(tx, caller.party(), event).await
    }

    pub async fn delete_sidecar(&self, caller: &Caller, id: SidecarId) -> Result<(), ControlError> {
        let mut tx = self.write().await?;
        let access = self.access(&mut *tx, caller).await?;
        let (placed, sidecar) = self.readable_sidecar(&mut *tx, &access, id).await?;
        placed.may_develop(&access)?;
        store::delete::<Sidecar>(&mut *tx, sidecar.id).await?;
        self.tell_sidecar(&mut *tx, caller, &placed, &sidecar, "removed").await?;
        tx.commit().await?;
        Ok(())
    }

    async fn readable_sidecar(
        &self,
        tx: &mut (impl ReadTx + ?Sized),
        access: &Access,
        id: SidecarId,
    ) -> Result<(PlacedApp, Sidecar), ControlError> {
        let sidecar = store::get::<Sidecar>(tx, id).await?;
        let sidecar = sidecar.ok_or(ControlError::NotFound { noun: "Sidecar" })?;
        let placed = self.readable_app(tx, access, sidecar.app_id).await;
        Ok((placed.map_err(|error| error.not_found_as("Sidecar"))?, sidecar))
    }

    /// Takes over the sidecars that the buildpacks of a droplet name, for those of the one before.
    pub(crate) async fn take_sidecars_of_droplet(
        &self,
        tx: &mut dyn WriteTx,
        app: AppId,
        droplet: &Droplet,
    ) -> Result<(), ControlError> {
        let of_user = specs(tx, app).await?.into_iter();
        let of_user = of_user.filter(|spec| spec.origin == SidecarOrigin::User);
        let mut wanted: Vec<SidecarSpec> = of_user.collect();
        let names: BTreeSet<String> = wanted.iter().map(|spec| spec.name.clone()).collect();
        let of_buildpack = droplet.contents.sidecars.iter();
        wanted.extend(of_buildpack.filter(|one| !names.contains(&one.name)).cloned());
        self.set_sidecars(tx, app, &wanted).await
    }

    /// Makes these the sidecars of the app. One that stays keeps its id.
    pub(crate) async fn set_sidecars(
        &self,
        tx: &mut dyn WriteTx,
        app: AppId,
        wanted: &[SidecarSpec],
    ) -> Result<(), ControlError> {
        let now = self.ports.clock.now();
        let present = rows(tx, app).await?;
        for old in present.iter().filter(|old| wanted.iter().all(|new| new.name != old.spec.name)) {
            store::delete::<Sidecar>(tx, old.id).await?;
        }
        for spec in wanted {
            match present.iter().find(|old| old.spec.name == spec.name) {
                Some(old) if old.spec == *spec => {}
                Some(old) => {
                    let new = Sidecar { spec: spec.clone(), updated_at: now, ..old.clone() };
                    store::update(tx, &new).await?;
                }
                None => {
                    let (id, spec) = (SidecarId::random(), spec.clone());
                    let new = Sidecar { id, app_id: app, spec, created_at: now, updated_at: now };
                    store::insert(tx, &new).await?;
                }
            }
        }
        Ok(())
    }
}

fn shown(page: Page<Sidecar>, shows_command: bool) -> Page<ShownSidecar> {
    let items = page.items.into_iter();
    let items = items.map(|sidecar| ShownSidecar { sidecar, shows_command }).collect();
    Page { items, total: page.total }
}

async fn rows(tx: &mut (impl ReadTx + ?Sized), app: AppId) -> Result<Vec<Sidecar>, ControlError> {
    let by_name = Query::by("app_id", app.to_string()).ordered("name", Direction::Ascending);
    Ok(store::list::<Sidecar>(tx, &by_name).await?.items)
}

/// What the sidecars of an app are, by name.
pub(crate) async fn specs(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
) -> Result<Vec<SidecarSpec>, ControlError> {
    Ok(rows(tx, app).await?.into_iter().map(|sidecar| sidecar.spec).collect())
}

async fn named(
    tx: &mut (impl ReadTx + ?Sized),
    app: AppId,
    name: &str,
) -> Result<Option<Sidecar>, ControlError> {
    Ok(store::first(tx, &Query::by("app_id", app.to_string()).and_by("name", name)).await?)
}

/// Refuses sidecars that could not run with every process that they are for.
async fn require_fit(tx: &mut (impl ReadTx + ?Sized), app: AppId) -> Result<(), ControlError> {
    let all = specs(tx, app).await?;
    for process in store::list::<Process>(tx, &Query::by("app_id", app.to_string())).await?.items {
        let detail = match misfit(&all, &process) {
            None => continue,
            Some(Misfit::Memory) => format!(
                "The memory allocation defined is too large to run with the dependent \"{}\" \
                 process",
                process.kind
            ),
            Some(Misfit::TooMany) => {
                format!("Process \"{}\" may have at most {SIDECARS_MAX} sidecars", process.kind)
            }
        };
        return Err(ControlError::Unprocessable(detail));
    }
    Ok(())
}

/// Refuses a process that is too small for its sidecars.
pub(crate) async fn require_room(
    tx: &mut (impl ReadTx + ?Sized),
    process: &Process,
) -> Result<(), ControlError> {
    let all = specs(tx, process.app_id).await?;
    if misfit(&all, process) == Some(Misfit::Memory) {
        let detail = "The requested memory allocation is not large enough to run all of your \
                      sidecar processes";
        return Err(ControlError::unprocessable(detail));
    }
    Ok(())
}

fn changed(mut spec: SidecarSpec, change: SidecarChange) -> Result<SidecarSpec, ControlError> {
    spec.name = change.name.unwrap_or(spec.name);
    spec.command = change.command.unwrap_or(spec.command);
    if let Some(kinds) = change.process_types {
        let kinds: BTreeSet<String> = kinds.into_iter().collect();
        spec.process_types = kinds.into_iter().collect();
    }
    if let Some(memory) = change.memory_mib {
        spec.memory_mib = memory.map(memory_mib).transpose()?;
    }
    // The name is part of the source type of its log lines.
    let is_good = |c: char| c.is_ascii_graphic() || c == ' ';
    let refusal = if spec.name.trim().is_empty() {
        "Name can't be blank"
    } else if spec.name.len() > NAME_BYTES_MAX || !spec.name.chars().all(is_good) {
        "Name must have at most 255 characters, all of them printable ASCII"
    } else if spec.command.trim().is_empty() {
        "Command can't be blank"
    } else if spec.command.len() > COMMAND_BYTES_MAX || spec.command.contains('\0') {
        "Command must have at most 4096 characters"
    } else if spec.process_types.is_empty() {
        "Process types must have at least 1 process_type"
    } else {
        return Ok(spec);
    };
    Err(ControlError::unprocessable(refusal))
}

fn memory_mib(wanted: i64) -> Result<u32, ControlError> {
    let positive = u32::try_from(wanted).ok().filter(|mib| *mib > 0);
    positive.ok_or_else(|| ControlError::unprocessable("Memory in mb must be greater than 0"))
}

fn taken(error: store::StoreError, name: &str) -> ControlError {
    ControlError::taken(error, || {
        format!("Sidecar with name '{name}' already exists for given app")
    })
}
