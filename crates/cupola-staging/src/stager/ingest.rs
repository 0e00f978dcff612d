//! From an upload to a package: unpacked by the role `unpack` in a sandbox without a network.

use std::{io, path::Path};

use cupola_domain::droplets::LayerDigest;
use cupola_ports::{
    sandbox::{
        Bind, Freeze, HandBack, OutputLine, ROLE_BINARY, SandboxError, SandboxExit, SandboxLimits,
        SandboxOutcome, SandboxSpec,
    },
    stager::{Upload, UploadError},
};
use tokio::sync::{mpsc, watch};
use tracing::{debug, error};

use super::{
    BuildpackStager,
    scratch::{self, Scratch},
};
use crate::{
    UNPACK_ROLE,
    config::UploadLimits,
    orders::{self, KnownFile, RESULT_BYTES_MAX, UnpackLimits, UnpackOrder, UnpackOutcome, inside},
};

const LAYER: &str = "package";
/// Disk that folders and inodes take beside the content of files.
const DISK_MIB_EXTRA: u32 = 512;

impl BuildpackStager {
    pub(super) async fn ingest_upload(&self, upload: Upload) -> Result<LayerDigest, UploadError> {
        if upload.zip.is_none() && upload.known.is_empty() {
            return Err(UploadError::Empty);
        }
        let id = format!("unpack-{}", upload.package_id);
        let scratch = Scratch::new(&self.config.scratch_dir, &id).map_err(platform)?;
        self.fetch_known(&upload, &scratch.path().join("known")).await?;
        let order = self.unpack_order(&upload);
        orders::write(&scratch.path().join("order.json"), &order)
            .map_err(|e| UploadError::Platform(e.to_string()))?;
        let spec = self.unpack_spec(id, &upload, scratch.path())?;

        let (outcome, _) = self.run_to_unpack(spec, self.config.upload_limits).await?;
        let digest = frozen(&outcome, LAYER)
            .ok_or_else(|| UploadError::Platform("its files were not kept".to_owned()))?;
        self.note_files(&digest).await;
        Ok(digest)
    }

    fn unpack_order(&self, upload: &Upload) -> UnpackOrder {
        let limits = self.config.upload_limits;
        let known = upload.known.iter().map(|resource| KnownFile {
            sha1: resource.sha1.clone(),
            path: resource.path.clone(),
            mode: resource.mode,
        });
        UnpackOrder {
            zip: upload.zip.is_some().then(|| inside::ZIP.into()),
            droplet: None,
            known_dir: inside::KNOWN.into(),
            known: known.collect(),
            into: inside::APP.into(),
            result: inside::RESULT.into(),
            limits: unpack_limits(limits),
        }
    }

    fn unpack_spec(
        &self,
        id: String,
        upload: &Upload,
        scratch: &Path,
    ) -> Result<SandboxSpec, UploadError> {
        let order = scratch.join("order.json");
        scratch::open_file(&order).map_err(platform)?;
        let mut binds = vec![
            read_only(&order, inside::ORDER),
            read_only(&scratch.join("known"), inside::KNOWN),
        ];
        if let Some(zip) = &upload.zip {
            scratch::open_file(zip).map_err(platform)?;
            binds.push(read_only(zip, inside::ZIP));
        }
        let freeze = vec![Freeze { name: LAYER.to_owned(), paths: vec![inside::APP.to_owned()] }];
        Ok(self.spec_to_unpack(id, binds, self.config.upload_limits, freeze))
    }

    /// A sandbox in which the role unpacks what is bound into it.
    pub(super) fn spec_to_unpack(
        &self,
        id: String,
        binds: Vec<Bind>,
        limits: UploadLimits,
        freeze: Vec<Freeze>,
    ) -> SandboxSpec {
        SandboxSpec {
            id,
            layers: Vec::new(),
            stack: self.config.upload_stack.clone(),
            argv: [ROLE_BINARY, UNPACK_ROLE, inside::ORDER].map(str::to_owned).to_vec(),
            environment: Vec::new(),
            working_directory: inside::HOME.to_owned(),
            binds,
            limits: SandboxLimits {
                memory_mib: limits.memory_mib,
                disk_mib: limits.unpacked_mib_max + DISK_MIB_EXTRA,
                pids: 16,
                cpu_weight: 100,
                time_max: limits.time_max,
            },
            network: false,
            freeze,
            hand_back: vec![result_file()],
        }
    }

    /// Runs the role, when it is its turn, to an end that is good.
    pub(super) async fn run_to_unpack(
        &self,
        spec: SandboxSpec,
        limits: UploadLimits,
    ) -> Result<(SandboxOutcome, UnpackOutcome), UploadError> {
        let turn = self.unpacks.acquire().await;
        let _turn = turn.map_err(|e| UploadError::Platform(e.to_string()))?;
        let (output, lines) = mpsc::channel(64);
        let reader = tokio::spawn(tell_lines(lines));
        // Nobody can cancel an upload; dropping this future ends the sandbox too.
        let (_keep, cancel) = watch::channel(false);
        let outcome = self.sandbox.run(spec, output, cancel).await;
        let _ = reader.await;
        unpacked(outcome, limits)
    }
}

/// What the role handed back, if the sandbox ended well.
fn unpacked(
    outcome: Result<SandboxOutcome, SandboxError>,
    limits: UploadLimits,
) -> Result<(SandboxOutcome, UnpackOutcome), UploadError> {
    let too_large = UploadError::TooLarge { limit_mib: limits.unpacked_mib_max };
    let outcome = match outcome {
        Ok(outcome) => outcome,
        Err(SandboxError::DiskFull { .. }) => return Err(too_large),
        Err(error) => {
            error!(error = &error as &dyn std::error::Error, "an upload could not be unpacked");
            return Err(UploadError::Platform(error.to_string()));
        }
    };
    match (outcome.exit, unpack_result(&outcome)) {
        (
            SandboxExit::Exited { code: 0 },
            Some(result @ (UnpackOutcome::Unpacked { .. } | UnpackOutcome::Droplet(_))),
        ) => Ok((outcome, result)),
        (SandboxExit::Exited { .. }, Some(UnpackOutcome::Empty)) => Err(UploadError::Empty),
        (SandboxExit::Exited { .. }, Some(UnpackOutcome::TooLarge)) => Err(too_large),
        (SandboxExit::Exited { .. }, Some(UnpackOutcome::Invalid { reason })) => {
            Err(UploadError::Invalid(reason))
        }
        (SandboxExit::Exited { .. }, Some(UnpackOutcome::Failed { reason })) => {
            Err(UploadError::Platform(reason))
        }
        (SandboxExit::OutOfMemory, _) => Err(UploadError::Invalid(format!(
            "it cannot be unpacked within {} MiB of memory",
            limits.memory_mib
        ))),
        (SandboxExit::TimeUp, _) => Err(UploadError::Invalid(format!(
            "it cannot be unpacked within {} seconds",
            limits.time_max.as_secs()
        ))),
        (exit, _) => Err(UploadError::Platform(format!("the unpacking ended with {exit:?}"))),
    }
}

/// The layer of this name that a sandbox left.
pub(super) fn frozen(outcome: &SandboxOutcome, name: &str) -> Option<LayerDigest> {
    outcome.frozen.iter().find(|layer| layer.name == name).map(|layer| layer.digest.clone())
}

/// The limits, as the role counts them.
pub(super) fn unpack_limits(limits: UploadLimits) -> UnpackLimits {
    UnpackLimits {
        entries_max: limits.entries_max as usize,
        bytes_max: u64::from(limits.unpacked_mib_max) << 20,
        ratio_max: u64::from(limits.ratio_max),
    }
}

pub(super) fn read_only(source: &Path, target: &str) -> Bind {
    Bind { source: source.to_owned(), target: target.to_owned(), writable: false }
}

pub(super) fn result_file() -> HandBack {
    HandBack { path: inside::RESULT.to_owned(), bytes_max: RESULT_BYTES_MAX }
}

/// What the role handed back, if it is in a form that it may have.
pub(super) fn handed_back<T: serde::de::DeserializeOwned>(outcome: &SandboxOutcome) -> Option<T> {
    let (_, text) = outcome.handed_back.iter().find(|(path, _)| path == inside::RESULT)?;
    match orders::parse(text) {
        Ok(result) => Some(result),
        Err(error) => {
            debug!(%error, "a sandbox handed back a result that is not one");
            None
        }
    }
}

fn unpack_result(outcome: &SandboxOutcome) -> Option<UnpackOutcome> {
    handed_back(outcome)
}

async fn tell_lines(mut lines: mpsc::Receiver<OutputLine>) {
    while let Some(line) = lines.recv().await {
        debug!("unpack: {}", String::from_utf8_lossy(&line.message));
    }
}

pub(super) fn platform(error: io::Error) -> UploadError {
    UploadError::Platform(error.to_string())
}
