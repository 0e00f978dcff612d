//! From a droplet's archive to its layers, by the role `unpack` in a sandbox without a network.

use cupola_domain::{
    droplets::{DropletContents, DropletVersion, UsedBuildpack},
    sidecars::SidecarSpec,
};
use cupola_ports::{
    sandbox::SandboxOutcome,
    stager::{DropletUpload, ImportedDroplet, UploadError},
};

use super::{
    BuildpackStager,
    droplet::{APP_LAYER, DEPS_LAYER, droplet_freezes, plain, plain_runtime},
    ingest::{frozen, platform, read_only, unpack_limits},
    scratch::{self, Scratch},
};
use crate::{
    builder::processes,
    droplet_archive::parse_record,
    orders::{self, FoundDroplet, UnpackOrder, UnpackOutcome, inside},
};

const BUILDPACKS_MAX: usize = 20;

impl BuildpackStager {
    pub(super) async fn import_droplet(
        &self,
        upload: DropletUpload,
    ) -> Result<ImportedDroplet, UploadError> {
        let limits = self.config.droplet_limits;
        let id = format!("droplet-{}", upload.droplet_id);
        let scratch = Scratch::new(&self.config.scratch_dir, &id).map_err(platform)?;
        let order = UnpackOrder {
            zip: None,
            droplet: Some(inside::DROPLET.into()),
            known_dir: inside::KNOWN.into(),
            known: Vec::new(),
            into: inside::HOME.into(),
            result: inside::RESULT.into(),
            limits: unpack_limits(limits),
        };
        let order_path = scratch.path().join("order.json");
        orders::write(&order_path, &order).map_err(|e| UploadError::Platform(e.to_string()))?;
        scratch::open_file(&order_path).map_err(platform)?;
        scratch::open_file(&upload.archive).map_err(platform)?;
        let binds = vec![
            read_only(&order_path, inside::ORDER),
            read_only(&upload.archive, inside::DROPLET),
        ];
        let spec = self.spec_to_unpack(id, binds, limits, droplet_freezes());
        match self.run_to_unpack(spec, limits).await? {
            (outcome, UnpackOutcome::Droplet(found)) => {
                self.imported(&outcome, found, &upload.stack).await
            }
            _ => Err(UploadError::Platform("the result of the unpacking is none".to_owned())),
        }
    }

    async fn imported(
        &self,
        outcome: &SandboxOutcome,
        found: FoundDroplet,
        stack: &str,
    ) -> Result<ImportedDroplet, UploadError> {
        let app = frozen(outcome, APP_LAYER)
            .ok_or_else(|| UploadError::Platform("its files were not kept".to_owned()))?;
        let deps = frozen(outcome, DEPS_LAYER);
        let with_deps: Vec<_> = deps.into_iter().chain([app.clone()]).collect();
        let record = found.record.as_deref().and_then(parse_record);
        // Whoever packed it may have said anything; only the layers themselves tell.
        let is_of =
            |record: &DropletContents| record.layers == with_deps || record.layers == [app.clone()];
        let Some(record) = record.filter(is_of) else {
            let layers = if found.has_deps { with_deps } else { vec![app] };
            let buildpacks = found.detected_buildpack.map(|name| UsedBuildpack {
                name,
                detect_output: None,
                buildpack_name: None,
                version: None,
                runtime: None,
            });
            let contents = DropletContents {
                version: DropletVersion::CURRENT,
                layers,
                process_types: checked(found.process_types)?,
                sidecars: Vec::new(),
                buildpacks: plain_buildpacks(buildpacks),
                stack: stack.to_owned(),
                stack_digest: self.digest_of(stack).await?,
            };
            return Ok(ImportedDroplet { contents, is_unchanged: false });
        };
        let is_here = self.layers.stack_digest(&record.stack).await.is_ok();
        let stack = if is_here { record.stack } else { stack.to_owned() };
        let contents = DropletContents {
            process_types: checked(record.process_types)?,
            sidecars: checked_sidecars(record.sidecars)?,
            buildpacks: plain_buildpacks(record.buildpacks),
            stack,
            stack_digest: plain(Some(record.stack_digest)).unwrap_or_default(),
            ..record
        };
        Ok(ImportedDroplet { contents, is_unchanged: true })
    }

    async fn digest_of(&self, stack: &str) -> Result<String, UploadError> {
        let digest = self.layers.stack_digest(stack).await;
        digest.map_err(|e| UploadError::Platform(e.to_string()))
    }
}

/// The role has checked the same, but it is believed nothing.
fn checked(types: processes::ProcessTypes) -> Result<processes::ProcessTypes, UploadError> {
    processes::checked(types).map_err(|failure| UploadError::Invalid(failure.to_string()))
}

fn checked_sidecars(sidecars: Vec<SidecarSpec>) -> Result<Vec<SidecarSpec>, UploadError> {
    processes::checked_sidecars(sidecars)
        .map_err(|failure| UploadError::Invalid(failure.to_string()))
}

fn plain_buildpacks(used: impl IntoIterator<Item = UsedBuildpack>) -> Vec<UsedBuildpack> {
    used.into_iter()
        .take(BUILDPACKS_MAX)
        .filter_map(|buildpack| {
            Some(UsedBuildpack {
                name: plain(Some(buildpack.name))?,
                detect_output: plain(buildpack.detect_output),
                buildpack_name: plain(buildpack.buildpack_name),
                version: plain(buildpack.version),
                runtime: buildpack.runtime.and_then(plain_runtime),
            })
        })
        .collect()
}
