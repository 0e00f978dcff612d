//! Removes what is kept only for a while: old packages, builds, droplets, exits, events, jobs, and
//! the layers that nothing names any more.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use cupola_domain::{
    apps::App,
    audit::AuditEvent,
    builds::{Build, BuildState},
    deployments::Deployment,
    droplets::{Droplet, LayerDigest},
    generations::Generation,
    ids::{AppId, DropletId, GenerationId, PackageId},
    instances::{Exit, Instance},
    jobs::Job,
    packages::{Package, PackageState},
    tasks::Task,
    time::Timestamp,
};
use cupola_ports::store::{self, Condition, Lease, Noun, Query, WriteTx};

use super::{rest_after, write};
use crate::{Control, ControlError, deployments::active, tasks::unfinished};

const PERIOD: Duration = Duration::from_secs(60 * 60);
/// Jobs are of no use to anybody after that.
const JOBS_AGE_MAX: Duration = Duration::from_secs(31 * 24 * 60 * 60);
/// Per app, besides what its current droplet was made of.
const DROPLETS_MAX: usize = 5;
const PACKAGES_MAX: usize = 5;
const BUILDS_MAX: usize = 100;
const EXITS_MAX: usize = 50;

/// Runs until it is dropped.
pub(super) async fn run(control: Control, lease: Lease) {
    loop {
        match pass(&control, &lease).await {
            Ok(()) => tokio::time::sleep(PERIOD).await,
            Err(error) => rest_after("retention", &error).await,
        }
    }
}

async fn pass(control: &Control, lease: &Lease) -> Result<(), ControlError> {
    let now = control.ports.clock.now();
    let mut tx = write(control, lease).await?;
    let kept = trim_apps(&mut *tx).await?;
    trim_ages(&mut *tx, now, control.settings().events_age_max).await?;
    tx.commit().await?;
    let freed = control.ports.layers.retain(&kept).await.map_err(|source| {
        ControlError::Outside { action: "removing unused layers", source: Box::new(source) }
    })?;
    if freed > 0 {
        tracing::info!(freed_bytes = freed, "removed layers that nothing uses");
    }
    Ok(())
}

async fn trim_ages(
    tx: &mut dyn WriteTx,
    now: Timestamp,
    events_age_max: Duration,
) -> Result<(), ControlError> {
    let older = |age: Duration| Condition::Less("created_at", now.before(age).micros());
    tx.delete_rows(AuditEvent::TABLE, &[older(events_age_max)]).await?;
    let ended = Condition::In("state", vec!["COMPLETE".into(), "FAILED".into()]);
    tx.delete_rows(Job::TABLE, &[older(JOBS_AGE_MAX), ended]).await?;
    Ok(())
}

/// Removes the surplus of every app and returns the layers that are still in use.
async fn trim_apps(tx: &mut dyn WriteTx) -> Result<Vec<LayerDigest>, ControlError> {
    let apps = store::list::<App>(tx, &Query::all()).await?.items;
    let current: HashMap<AppId, Option<DropletId>> =
        apps.iter().map(|app| (app.id, app.current_droplet)).collect();
    let mut run = trim_generations(tx, &apps).await?;
    run.extend(store::list::<Task>(tx, &unfinished()).await?.items.iter().map(|task| task.droplet));
    let is_used = |d: &Droplet| {
        run.contains(&d.id) || current.get(&d.app_id).copied().flatten() == Some(d.id)
    };
    let droplets = trim::<Droplet>(tx, DROPLETS_MAX, |d| d.app_id, is_used).await?;
    let staging = store::list::<Build>(tx, &Query::by("state", "STAGING")).await?.items;
    let in_use: HashSet<PackageId> = droplets
        .iter()
        .filter_map(|droplet| droplet.package_id)
        .chain(staging.iter().map(|build| build.package_id))
        .collect();
    let packages =
        trim::<Package>(tx, PACKAGES_MAX, |p| p.app_id, |p| in_use.contains(&p.id)).await?;
    let is_staging = |build: &Build| matches!(build.state, BuildState::Staging);
    trim::<Build>(tx, BUILDS_MAX, |b| b.app_id, is_staging).await?;
    trim::<Exit>(tx, EXITS_MAX, |e| e.app_id, |_| false).await?;

    let mut layers: Vec<LayerDigest> =
        droplets.into_iter().flat_map(|droplet| droplet.contents.layers).collect();
    layers.extend(packages.into_iter().filter_map(|package| match package.state {
        PackageState::Ready { layer } => Some(layer),
        _ => None,
    }));
    Ok(layers)
}

/// Removes the generations that nothing runs of, and returns the droplets of the others: what runs
/// is never deleted.
async fn trim_generations(
    tx: &mut dyn WriteTx,
    apps: &[App],
) -> Result<HashSet<DropletId>, ControlError> {
    let instances = store::list::<Instance>(tx, &Query::all()).await?.items;
    let deployments = store::list::<Deployment>(tx, &active()).await?.items;
    let used: HashSet<GenerationId> = apps
        .iter()
        .map(|app| app.generation)
        .chain(instances.iter().map(|row| row.generation))
        .chain(deployments.iter().flat_map(Deployment::shares).map(|share| share.generation))
        .collect();
    let generations = store::list::<Generation>(tx, &Query::all()).await?.items;
    let (kept, surplus): (Vec<_>, Vec<_>) =
        generations.into_iter().partition(|generation| used.contains(&generation.id));
    let surplus: Vec<_> = surplus.iter().map(|one| one.id.to_string().into()).collect();
    if !surplus.is_empty() {
        tx.delete_rows(Generation::TABLE, &[Condition::In("id", surplus)]).await?;
    }
    let before = deployments.iter().filter_map(|deployment| deployment.before.droplet);
    Ok(kept.into_iter().map(|generation| generation.release.droplet).chain(before).collect())
}

/// Removes all but the newest `max` rows of each app, except those to keep; returns what is left.
async fn trim<N: Noun>(
    tx: &mut dyn WriteTx,
    max: usize,
    app: impl Fn(&N) -> AppId,
    keep: impl Fn(&N) -> bool,
) -> Result<Vec<N>, ControlError> {
    let newest_first = Query::all().ordered("created_at", store::Direction::Descending);
    let rows = store::list::<N>(tx, &newest_first).await?.items;
    let mut counts: HashMap<AppId, usize> = HashMap::new();
    let (mut left, mut surplus) = (Vec::new(), Vec::new());
    for row in rows {
        let count = counts.entry(app(&row)).or_default();
        *count += 1;
        if *count <= max || keep(&row) { left.push(row) } else { surplus.push(row.id().into()) }
    }
    if !surplus.is_empty() {
        tx.delete_rows(N::TABLE, &[Condition::In("id", surplus)]).await?;
    }
    Ok(left)
}
