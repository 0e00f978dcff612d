//! Runs the builds that are in state `STAGING`, a bounded number at a time. Spaces take turns, so
//! that one with many builds does not hold up the others; within a space the oldest goes first.
//!
//! A build whose control process was killed is still in that state and simply runs again. One
//! whose row or app is gone is cancelled.

use std::{collections::HashMap, time::Duration};

use cupola_domain::{
    apps::App,
    builds::{Build, BuildState, StagingErrorKind},
    commits::of_source,
    droplets::{Droplet, DropletContents, DropletState},
    ids::{AppId, BuildId, DropletId, SpaceId},
    packages::Package,
};
use cupola_ports::{
    stager::StagingFailure,
    store::{self, Condition, Lease, Query},
};
use tokio::{sync::watch, task::JoinSet};

use super::{PERIOD, rest_after, sleep_until_commit, write};
use crate::{Control, ControlError, apps::distinct, launch_spec};

/// Runs until it is dropped, which cancels what it runs.
pub(super) async fn run(control: Control, lease: Lease) {
    let mut queue = Queue { running: HashMap::new(), tasks: JoinSet::new() };
    let mut commits = control.ports.store.commits();
    loop {
        commits.mark_unchanged();
        match queue.pass(&control, &lease).await {
            Ok(()) => queue.sleep(&mut commits, PERIOD).await,
            Err(error) => rest_after("staging", &error).await,
        }
    }
}

struct Queue {
    /// The builds that run.
    running: HashMap<BuildId, Running>,
    tasks: JoinSet<BuildId>,
}

struct Running {
    app: AppId,
    /// Kept here: a build whose outcome is written is not among the wanted ones any more, and has
    /// its space's turn until its task has ended.
    space: Option<SpaceId>,
    /// The switch that cancels it.
    cancel: watch::Sender<bool>,
}

impl Queue {
    async fn pass(&mut self, control: &Control, lease: &Lease) -> Result<(), ControlError> {
        let mut tx = control.read().await?;
        let wanted = store::list::<Build>(&mut *tx, &Query::by("state", "STAGING")).await?.items;
        let app_ids = distinct(wanted.iter().map(|build| build.app_id));
        let apps = Query::all().and(Condition::In("id", app_ids));
        let apps = store::list::<App>(&mut *tx, &apps).await?.items;
        drop(tx);
        let spaces: HashMap<AppId, SpaceId> =
            apps.iter().map(|app| (app.id, app.space_id)).collect();
        for (id, running) in &self.running {
            if !wanted.iter().any(|build| build.id == *id) {
                // The task sees it and ends; that it is gone already is as good.
                let _ = running.cancel.send(true);
            }
        }
        let waiting = wanted.into_iter().filter(|build| !self.running.contains_key(&build.id));
        let running = self.running.values().map(|running| running.space).collect();
        for build in in_turns(waiting.collect(), running, &spaces) {
            if self.running.len() >= control.settings.staging.concurrency {
                break;
            }
            // Builds of one app share its cache, so that they take turns.
            if self.running.values().any(|running| running.app == build.app_id) {
                continue;
            }
            let (cancel, cancelled) = watch::channel(false);
            let (app, space) = (build.app_id, spaces.get(&build.app_id).copied());
            self.running.insert(build.id, Running { app, space, cancel });
            let (control, lease) = (control.clone(), lease.clone());
            self.tasks.spawn(async move {
                let id = build.id;
                if let Err(error) = stage(&control, &lease, build, cancelled).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(build.id = %id, error, "the outcome of a build was not kept");
                }
                id
            });
        }
        Ok(())
    }

    async fn sleep(&mut self, commits: &mut watch::Receiver<u64>, at_most: Duration) {
        tokio::select! {
            Some(ended) = self.tasks.join_next() => self.ended(ended),
            () = sleep_until_commit(commits, at_most) => {}
        }
        while let Some(ended) = self.tasks.try_join_next() {
            self.ended(ended);
        }
    }

    fn ended(&mut self, ended: Result<BuildId, tokio::task::JoinError>) {
        match ended {
            Ok(id) => {
                self.running.remove(&id);
            }
            Err(error) => {
                tracing::error!("a build ended by a defect of the platform: {error}");
                // Which one is not told; those whose receiver is gone have ended.
                self.running.retain(|_, running| !running.cancel.is_closed());
            }
        }
    }
}

/// The builds in the order in which they should start: by how many of the same space run or come
/// before them, and by age where that is the same.
fn in_turns(
    waiting: Vec<Build>,
    running: Vec<Option<SpaceId>>,
    spaces: &HashMap<AppId, SpaceId>,
) -> Vec<Build> {
    let mut before: HashMap<Option<SpaceId>, usize> = HashMap::new();
    for space in running {
        *before.entry(space).or_default() += 1;
    }
    let mut turn = |build: &Build| {
        let before = before.entry(spaces.get(&build.app_id).copied()).or_default();
        *before += 1;
        *before
    };
    let mut turns: Vec<_> = waiting.into_iter().map(|build| (turn(&build), build)).collect();
    turns.sort_by_key(|(turn, _)| *turn);
    turns.into_iter().map(|(_, build)| build).collect()
}

/// Runs one build and keeps its outcome.
async fn stage(
    control: &Control,
    lease: &Lease,
    build: Build,
    cancelled: watch::Receiver<bool>,
) -> Result<(), ControlError> {
    let outcome = match launch_spec::read_staging_request(control, &build).await {
        Ok(Some(request)) => control.ports.stager.stage(request, cancelled).await,
        Ok(None) => Err(failure("the package of this build is gone; push again".to_owned())),
        Err(error) => Err(unreadable(build.id, &error)),
    };
    keep(control, lease, build.id, outcome).await
}

/// What a build needs cannot be read. It ends by that: tried again, it would fail again, at once.
fn unreadable(id: BuildId, error: &ControlError) -> StagingFailure {
    if let ControlError::Unprocessable(why) = error {
        return failure(format!("the build cannot be given the app's services: {why}; push again"));
    }
    let error = error as &dyn std::error::Error;
    tracing::error!(build.id = %id, error, "what a build needs cannot be read");
    failure(format!(
        "the platform cannot read what this build needs: {error}; push again, and tell the \
         operator if that does not help"
    ))
}

fn failure(message: String) -> StagingFailure {
    StagingFailure { kind: StagingErrorKind::StagingError, message }
}

async fn keep(
    control: &Control,
    lease: &Lease,
    id: BuildId,
    outcome: Result<DropletContents, StagingFailure>,
) -> Result<(), ControlError> {
    let mut tx = write(control, lease).await?;
    // It was deleted, or a newer build of the app has ended it: its outcome is of no use.
    let Some(mut build) = store::get::<Build>(&mut *tx, id).await? else { return Ok(()) };
    if build.state != BuildState::Staging {
        return Ok(());
    }
    let now = control.ports.clock.now();
    build.updated_at = now;
    let package = store::get::<Package>(&mut *tx, build.package_id).await?;
    let mut made = None;
    build.state = match outcome {
        Ok(contents) => {
            let droplet = Droplet {
                id: DropletId::random(),
                app_id: build.app_id,
                package_id: Some(build.package_id),
                state: DropletState::Staged,
                contents,
                metadata: package.map(|one| of_source(&one.metadata)).unwrap_or_default(),
                created_at: now,
                updated_at: now,
            };
            store::insert(&mut *tx, &droplet).await?;
            BuildState::Staged { droplet: made.insert(droplet).id }
        }
        Err(failure) => BuildState::Failed { kind: failure.kind, message: failure.message },
    };
    store::update(&mut *tx, &build).await?;
    control.record_build_end(&mut *tx, &build, made.as_ref()).await?;
    Ok(tx.commit().await?)
}
