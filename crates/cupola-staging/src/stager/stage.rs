//! From a package to a droplet: buildpacks run by the role `builder` in a sandbox.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cupola_domain::droplets::{DropletContents, LayerDigest, UsedBuildpack};
use cupola_ports::{
    sandbox::{
        Bind, Freeze, ROLE_BINARY, SandboxError, SandboxExit, SandboxLimits, SandboxOutcome,
        SandboxSpec,
    },
    stager::{StagingFailure, StagingRequest},
};
use tokio::sync::{mpsc, watch};
use tracing::{error, warn};

use super::{
    BuildpackStager,
    environment::{build_environment, build_order},
    ingest::{handed_back, read_only, result_file},
    scratch::{self, Scratch},
    staging_log::{StagingLog, pump},
    verdict::{self, Bounds},
};
use crate::{
    BUILDER_ROLE,
    buildpacks::{self, UnusableBuildpack},
    caches::{self, Lease},
    orders::{self, BuildOutcome, BuildpackSource, inside},
};

const APP_LAYER: &str = "app";
const DEPS_LAYER: &str = "deps";
/// Between the sandbox and the log; when it is full, lines are dropped and counted.
const LINES_MAX: usize = 4096;
const CACHE_CHECK_INTERVAL: Duration = Duration::from_secs(10);

impl BuildpackStager {
    pub(super) async fn stage_package(
        &self,
        request: StagingRequest,
        cancel: watch::Receiver<bool>,
    ) -> Result<DropletContents, StagingFailure> {
        let log = StagingLog::new(&request, Arc::clone(&self.clock));
        let outcome = self.build(&request, cancel, &log).await;
        match &outcome {
            Ok(_) => log.say("Staging complete"),
            Err(failure) => log.complain(&failure.message),
        }
        outcome
    }

    async fn build(
        &self,
        request: &StagingRequest,
        cancel: watch::Receiver<bool>,
        log: &StagingLog,
    ) -> Result<DropletContents, StagingFailure> {
        let bounds = Bounds::of(request);
        let sources = self.sources(request).map_err(|e| verdict::of_unusable(&e))?;
        let stack_digest = self
            .layers
            .stack_digest(&request.stack)
            .await
            .map_err(|error| told(&error, verdict::of_sandbox_error(&error, bounds)))?;

        let id = format!("build-{}", request.build_id);
        let scratch = Scratch::new(&self.config.scratch_dir, &id).map_err(host)?;
        let cache = self.cache(request, &stack_digest, &scratch).await.map_err(host)?;
        let order = build_order(request, sources);
        let order_path = scratch.path().join("order.json");
        orders::write(&order_path, &order).map_err(|e| verdict::platform(&e.to_string()))?;
        scratch::open_file(&order_path).map_err(host)?;

        log.say(&format!("Staging on the stack {}...", request.stack));
        let spec = self.build_spec(id, request, &order_path, &cache.path());
        let ended = self.run_build(spec, cancel, log, &cache.path()).await;
        let outcome = match ended {
            Ended::CacheFull => {
                cache.clear().await;
                return Err(verdict::cache_full(self.cache_mib_max()));
            }
            Ended::Sandbox(Ok(outcome)) => outcome,
            Ended::Sandbox(Err(error)) => {
                return Err(told(&error, verdict::of_sandbox_error(&error, bounds)));
            }
        };
        log.lost(outcome.lines_lost);
        let exit = outcome.exit;
        let result = handed_back::<BuildOutcome>(&outcome);
        self.settle(cache, exit, log).await;
        match (exit, result) {
            (SandboxExit::Exited { code: 0 }, Some(BuildOutcome::Staged { .. }))
                if outcome.frozen.is_empty() =>
            {
                Err(verdict::platform("the droplet was not kept"))
            }
            (
                SandboxExit::Exited { code: 0 },
                Some(BuildOutcome::Staged { process_types, buildpacks, has_deps }),
            ) => Ok(DropletContents {
                layers: droplet_layers(outcome, has_deps),
                process_types: checked_types(process_types)?,
                buildpacks: checked_buildpacks(buildpacks, request),
                stack: request.stack.clone(),
                stack_digest,
            }),
            (exit, result) => Err(verdict::of_exit(exit, result, bounds)),
        }
    }

    fn sources(&self, request: &StagingRequest) -> Result<Vec<BuildpackSource>, UnusableBuildpack> {
        let names =
            if request.buildpacks.is_empty() { &request.detect_order } else { &request.buildpacks };
        let inside = Path::new(inside::BUILDPACKS);
        names.iter().map(|name| buildpacks::locate(name, &self.buildpacks, inside)).collect()
    }

    async fn cache(
        &self,
        request: &StagingRequest,
        stack_digest: &str,
        scratch: &Scratch,
    ) -> io::Result<Cache> {
        let caches = Arc::clone(&self.caches);
        let app_id = request.app_id;
        let stack_digest = stack_digest.to_owned();
        let leased = tokio::task::spawn_blocking(move || caches.lease(app_id, &stack_digest));
        match leased.await.map_err(io::Error::other)?? {
            Some(lease) => Ok(Cache::Kept(lease)),
            None => {
                let folder = scratch.path().join("cache");
                scratch::open_folder(&folder)?;
                Ok(Cache::Fresh(folder))
            }
        }
    }

    fn build_spec(
        &self,
        id: String,
        request: &StagingRequest,
        order: &Path,
        cache: &Path,
    ) -> SandboxSpec {
        let freeze = |name: &str, paths: &[&str]| Freeze {
            name: name.to_owned(),
            paths: paths.iter().map(|path| (*path).to_owned()).collect(),
        };
        SandboxSpec {
            id,
            layers: vec![request.package.clone()],
            stack: request.stack.clone(),
            argv: [ROLE_BINARY, BUILDER_ROLE, inside::ORDER].map(str::to_owned).to_vec(),
            environment: build_environment(&self.config.host_environment.variables, request),
            working_directory: inside::HOME.to_owned(),
            binds: vec![
                read_only(order, inside::ORDER),
                read_only(&self.buildpacks, inside::BUILDPACKS),
                read_only(&self.host_files, inside::HOST_FILES),
                Bind { source: cache.to_owned(), target: inside::CACHE.to_owned(), writable: true },
            ],
            limits: SandboxLimits {
                memory_mib: request.memory_mib,
                disk_mib: request.disk_mib,
                pids: self.config.build_pids_max,
                cpu_weight: self.config.build_cpu_weight,
                time_max: request.time_max,
            },
            network: true,
            freeze: vec![
                freeze(DEPS_LAYER, &[inside::DEPS]),
                freeze(
                    APP_LAYER,
                    &[inside::APP, inside::PROFILE, inside::LOGS, inside::STAGING_INFO],
                ),
            ],
            hand_back: vec![result_file()],
        }
    }

    /// Runs it to its end, watching the one folder of the host that it can fill.
    async fn run_build(
        &self,
        spec: SandboxSpec,
        mut cancel: watch::Receiver<bool>,
        log: &StagingLog,
        cache: &Path,
    ) -> Ended {
        let (output, lines) = mpsc::channel(LINES_MAX);
        let pump = tokio::spawn(pump(lines, log.clone()));
        let (stop, stopped) = watch::channel(false);
        let (full, mut cache_full) = watch::channel(false);
        let bytes_max = self.config.cache_bytes_max.saturating_mul(2);
        let watcher = Watcher(tokio::spawn(watch_cache(cache.to_owned(), bytes_max, full)));
        let run = self.sandbox.run(spec, output, stopped);
        tokio::pin!(run);
        let outcome = tokio::select! {
            outcome = &mut run => outcome,
            () = turned_true(&mut cancel) => {
                stop.send_replace(true);
                run.await
            }
            () = turned_true(&mut cache_full) => {
                stop.send_replace(true);
                run.await
            }
        };
        drop(watcher);
        let _ = pump.await;
        if *cache_full.borrow() { Ended::CacheFull } else { Ended::Sandbox(outcome) }
    }

    /// Keeps the cache for the next build, unless it has outgrown its bound.
    async fn settle(&self, cache: Cache, exit: SandboxExit, log: &StagingLog) {
        let Cache::Kept(lease) = cache else { return };
        let bytes_max = self.config.cache_bytes_max;
        let is_success = exit == SandboxExit::Exited { code: 0 };
        // A cancelled build says nothing about its cache.
        let is_noted = exit != SandboxExit::Cancelled;
        let settled = tokio::task::spawn_blocking(move || {
            let is_dropped = caches::exceeds(&lease.path(), bytes_max);
            if is_dropped {
                lease.clear()?;
            }
            if is_noted {
                lease.note(is_success)?;
            }
            io::Result::Ok(is_dropped)
        });
        match settled.await.map_err(io::Error::other).flatten() {
            Ok(true) => log.say(&format!(
                "The build cache was dropped because it is larger than {} MiB; the next build starts without it",
                bytes_max >> 20
            )),
            Ok(false) => {}
            Err(error) => warn!(%error, "a build cache could not be looked after"),
        }
    }

    fn cache_mib_max(&self) -> u64 {
        self.config.cache_bytes_max.saturating_mul(2) >> 20
    }
}

enum Ended {
    Sandbox(Result<SandboxOutcome, SandboxError>),
    CacheFull,
}

enum Cache {
    Kept(Lease),
    /// Another build of the same app has the kept one; this one goes with the scratch folder.
    Fresh(PathBuf),
}

impl Cache {
    fn path(&self) -> PathBuf {
        match self {
            Self::Kept(lease) => lease.path(),
            Self::Fresh(path) => path.clone(),
        }
    }

    async fn clear(self) {
        if let Self::Kept(lease) = self {
            let cleared = tokio::task::spawn_blocking(move || lease.clear()).await;
            if let Ok(Err(error)) = cleared {
                warn!(%error, "a build cache could not be removed");
            }
        }
    }
}

/// Checks the cache again and again until it is too large. Ends with the build.
struct Watcher(tokio::task::JoinHandle<()>);

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch_cache(cache: PathBuf, bytes_max: u64, full: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(CACHE_CHECK_INTERVAL).await;
        let cache = cache.clone();
        let exceeds = tokio::task::spawn_blocking(move || caches::exceeds(&cache, bytes_max));
        if exceeds.await.unwrap_or(false) {
            full.send_replace(true);
            return;
        }
    }
}

/// Waits for the value to turn true; for ever if nobody can change it any more.
async fn turned_true(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|is_true| *is_true).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Lowest first. What many buildpacks leave in the dependencies is nothing.
fn droplet_layers(outcome: SandboxOutcome, has_deps: bool) -> Vec<LayerDigest> {
    let mut frozen = outcome.frozen;
    let mut take = |name: &str| {
        let position = frozen.iter().position(|layer| layer.name == name)?;
        Some(frozen.swap_remove(position).digest)
    };
    let deps = take(DEPS_LAYER).filter(|_| has_deps);
    deps.into_iter().chain(take(APP_LAYER)).collect()
}

/// The builder has checked the same, but it ran beside users' programs.
fn checked_types(
    types: BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, StagingFailure> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_usable = |(name, command): (&String, &String)| {
        !name.is_empty() && name.chars().all(is_allowed) && !command.contains('\0')
    };
    if types.iter().all(is_usable) {
        Ok(types)
    } else {
        Err(verdict::platform("the result of the build has process types that cannot be used"))
    }
}

fn checked_buildpacks(used: Vec<UsedBuildpack>, request: &StagingRequest) -> Vec<UsedBuildpack> {
    let is_known =
        |name: &String| request.buildpacks.contains(name) || request.detect_order.contains(name);
    let plain = |text: Option<String>| {
        let text: String = text?.chars().filter(|c| !c.is_control()).take(255).collect();
        Some(text).filter(|text| !text.is_empty())
    };
    used.into_iter()
        .filter(|buildpack| is_known(&buildpack.name))
        .map(|buildpack| UsedBuildpack {
            name: buildpack.name,
            detect_output: plain(buildpack.detect_output),
            buildpack_name: plain(buildpack.buildpack_name),
            version: plain(buildpack.version),
        })
        .collect()
}

fn host(error: io::Error) -> StagingFailure {
    error!(%error, "a build could not be prepared");
    verdict::platform(&error.to_string())
}

fn told(error: &SandboxError, failure: StagingFailure) -> StagingFailure {
    if let SandboxError::Host { .. } = error {
        error!(error = error as &dyn std::error::Error, "a build could not be run");
    }
    failure
}
