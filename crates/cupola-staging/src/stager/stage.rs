//! From a package to a droplet: buildpacks run by the role `builder` in a sandbox.

use std::{io, path::Path, sync::Arc};

use cupola_domain::{
    droplets::{DropletContents, DropletVersion},
    services::ServiceFile,
};
use cupola_ports::{
    sandbox::{
        Bind, ROLE_BINARY, SandboxError, SandboxExit, SandboxLimits, SandboxOutcome, SandboxSpec,
    },
    stager::{StagingFailure, StagingRequest},
};
use tokio::sync::{mpsc, watch};
use tracing::error;

use super::{
    BuildpackStager,
    build_cache::Watcher,
    droplet::{
        checked_buildpacks, checked_sidecars, checked_types, droplet_freezes, droplet_layers,
    },
    environment::{build_environment, build_order},
    ingest::{handed_back, read_only, result_file},
    scratch::{self, Scratch},
    staging_log::{StagingLog, pump},
    verdict::{self, Bounds},
};
use crate::{
    BUILDER_ROLE,
    buildpacks::{self, UnusableBuildpack},
    orders::{self, BuildOutcome, BuildpackSource, inside},
};

/// Between the sandbox and the log; when it is full, lines are dropped and counted.
const LINES_MAX: usize = 4096;

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
        let cache = self.lend_cache(request, &stack_digest, &scratch).await.map_err(host)?;
        let order = build_order(request, sources);
        let order_path = scratch.path().join("order.json");
        orders::write(&order_path, &order).map_err(|e| verdict::platform(&e.to_string()))?;
        scratch::open_file(&order_path).map_err(host)?;

        log.say(&format!("Staging on the stack {}...", request.stack));
        let mut spec = self.build_spec(id, request, &order_path, &cache.path());
        spec.binds.extend(service_files(request, &scratch).map_err(host)?);
        let ended = self.run_build(spec, cancel, log, &cache.path()).await;
        let outcome = match ended {
            Ended::CacheFull => {
                cache.clear().await;
                return Err(verdict::cache_full(self.cache_mib_max()));
            }
            Ended::Sandbox(Ok(outcome)) => outcome,
            Ended::Sandbox(Err(error)) => {
                // A full disk is the build's doing; of other errors nothing is known.
                let is_failure = matches!(error, SandboxError::DiskFull { .. });
                self.settle(cache, is_failure.then_some(false), log).await;
                return Err(told(&error, verdict::of_sandbox_error(&error, bounds)));
            }
        };
        log.lost(outcome.lines_lost);
        let exit = outcome.exit;
        let result = handed_back::<BuildOutcome>(&outcome);
        // A cancelled build says nothing about its cache.
        let is_noted = exit != SandboxExit::Cancelled;
        let is_success = exit == SandboxExit::Exited { code: 0 };
        self.settle(cache, is_noted.then_some(is_success), log).await;
        match (exit, result) {
            (SandboxExit::Exited { code: 0 }, Some(BuildOutcome::Staged { .. }))
                if outcome.frozen.is_empty() =>
            {
                Err(verdict::platform("the droplet was not kept"))
            }
            (
                SandboxExit::Exited { code: 0 },
                Some(BuildOutcome::Staged { process_types, sidecars, buildpacks, has_deps }),
            ) => Ok(DropletContents {
                version: DropletVersion::CURRENT,
                layers: droplet_layers(outcome, has_deps),
                process_types: checked_types(process_types)?,
                sidecars: checked_sidecars(sidecars)?,
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

    fn build_spec(
        &self,
        id: String,
        request: &StagingRequest,
        order: &Path,
        cache: &Path,
    ) -> SandboxSpec {
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
            freeze: droplet_freezes(),
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
        let watcher = Watcher::start(cache.to_owned(), bytes_max, full);
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

    fn cache_mib_max(&self) -> u64 {
        self.config.cache_bytes_max.saturating_mul(2) >> 20
    }
}

/// Writes what the build finds of its services, and says where it finds it.
fn service_files(request: &StagingRequest, scratch: &Scratch) -> io::Result<Option<Bind>> {
    if request.files.is_empty() {
        return Ok(None);
    }
    let root = scratch.path().join("services");
    scratch::open_folder(&root)?;
    for file in &request.files {
        let path = root.join(&file.path);
        scratch::open_folder(path.parent().unwrap_or(&root))?;
        std::fs::write(&path, &file.content)?;
        scratch::open_file(&path)?;
    }
    Ok(Some(read_only(&root, ServiceFile::ROOT)))
}

enum Ended {
    Sandbox(Result<SandboxOutcome, SandboxError>),
    CacheFull,
}

/// Waits for the value to turn true; for ever if nobody can change it any more.
async fn turned_true(value: &mut watch::Receiver<bool>) {
    if value.wait_for(|is_true| *is_true).await.is_err() {
        std::future::pending::<()>().await;
    }
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
