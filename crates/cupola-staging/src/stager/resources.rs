//! Resource matching: which files the platform has already, by SHA-1, so that a repeat push sends
//! only what changed.

use std::{
    collections::{BTreeMap, HashSet},
    error::Error,
    fs::File,
    io::{self, Read},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use cupola_domain::droplets::LayerDigest;
use cupola_ports::{
    blobs::BlobStore,
    sandbox::{LayerFile, Layers},
    stager::{Resource, UploadError},
};
use sha1::{Digest as _, Sha1};
use tokio::{sync::oneshot, task::JoinSet};
use tracing::warn;

use super::BuildpackStager;
use crate::orders::inside;

const KEEP_WAIT_MAX: Duration = Duration::from_secs(2);
/// The first segment of their keys.
const FOLDER: &str = "resources";
/// Each put waits for the disk.
const PUTS_AT_ONCE_MAX: usize = 8;

impl BuildpackStager {
    pub(super) async fn known_resources(
        &self,
        wanted: Vec<Resource>,
    ) -> Result<Vec<Resource>, UploadError> {
        let wanted: Vec<_> = wanted.into_iter().filter(|r| self.is_usable(r)).collect();
        let keys: Vec<_> = wanted.iter().map(|r| (blob_key(&r.sha1), r.bytes)).collect();
        let present = self
            .blobs
            .present(&keys)
            .await
            .map_err(|error| UploadError::Platform(error.to_string()))?;
        Ok(wanted.into_iter().zip(present).filter_map(|(r, there)| there.then_some(r)).collect())
    }

    /// Whether a file like this may be kept.
    pub(super) fn is_usable(&self, resource: &Resource) -> bool {
        is_sha1(&resource.sha1) && self.resource_bytes().contains(&resource.bytes)
    }

    fn resource_bytes(&self) -> RangeInclusive<u64> {
        self.config.resource_bytes_min.max(1)..=self.config.resource_bytes_max
    }

    /// Keeps the files of a package for later pushes. A failure costs the next push a larger upload
    /// and nothing else, so it is only told in the platform's log. The push waits for a while, so
    /// that the usual package is kept when it is ready; a huge one is kept in the background.
    pub(super) async fn remember(&self, package: &LayerDigest, known: &[Resource]) {
        let keeper = Keeper {
            layers: Arc::clone(&self.layers),
            blobs: Arc::clone(&self.blobs),
            each: self.resource_bytes(),
            all_max: self.config.resources_bytes_max,
        };
        let package = package.clone();
        let known = known.iter().map(|resource| resource.path.clone()).collect();
        let (blobs, total_max) = (Arc::clone(&self.blobs), self.config.resources_total_bytes_max);
        let (end, kept) = oneshot::channel::<()>();
        tokio::spawn(async move {
            if let Err(error) = keeper.keep(&package, &known).await {
                warn!(%package, %error, "files of a package were not kept for resource matching");
            }
            // From here on nobody waits.
            drop(end);
            if let Err(error) = blobs.trim(FOLDER, total_max).await {
                let error = &error as &dyn Error;
                warn!(error, "files that were kept for resource matching were not trimmed");
            }
        });
        let _ = tokio::time::timeout(KEEP_WAIT_MAX, kept).await;
    }
}

struct Keeper {
    layers: Arc<dyn Layers>,
    blobs: Arc<dyn BlobStore>,
    each: RangeInclusive<u64>,
    all_max: u64,
}

impl Keeper {
    async fn keep(
        &self,
        package: &LayerDigest,
        known: &HashSet<String>,
    ) -> Result<(), Box<dyn Error + Send + Sync>> {
        let mut files = self.layers.files(package, inside::APP).await?;
        files.retain(|file| !known.contains(&file.path));
        let chosen = within_bounds(files, &self.each, self.all_max);
        let hashed = tokio::task::spawn_blocking(move || hash_all(chosen)).await??;

        let keys: Vec<_> = hashed.iter().map(|(key, file)| (key.clone(), file.bytes)).collect();
        let present = self.blobs.present(&keys).await?;
        let missing = hashed.into_iter().zip(present).filter(|(_, is_there)| !is_there);
        let mut puts = JoinSet::new();
        for ((key, file), _) in missing {
            if puts.len() >= PUTS_AT_ONCE_MAX
                && let Some(put) = puts.join_next().await
            {
                put??;
            }
            let blobs = Arc::clone(&self.blobs);
            puts.spawn(async move { blobs.put(&key, &file.path).await });
        }
        while let Some(put) = puts.join_next().await {
            put??;
        }
        Ok(())
    }
}

struct ChosenFile {
    bytes: u64,
    path: PathBuf,
}

fn within_bounds(
    files: Vec<LayerFile>,
    each: &RangeInclusive<u64>,
    all_max: u64,
) -> Vec<ChosenFile> {
    let mut left = all_max;
    let mut chosen = Vec::new();
    for file in files {
        if !each.contains(&file.bytes) {
            continue;
        }
        let Some(rest) = left.checked_sub(file.bytes) else { break };
        left = rest;
        chosen.push(ChosenFile { bytes: file.bytes, path: file.host_path });
    }
    chosen
}

/// By key, so that equal files are stored once.
fn hash_all(files: Vec<ChosenFile>) -> io::Result<BTreeMap<String, ChosenFile>> {
    files.into_iter().map(|file| Ok((blob_key(&sha1_of(&file.path)?), file))).collect()
}

fn sha1_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha1::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// Where the content of a file is kept.
pub(super) fn blob_key(sha1: &str) -> String {
    format!("{FOLDER}/{}/{sha1}", &sha1[..2])
}

pub(super) fn is_sha1(text: &str) -> bool {
    let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 40 && text.bytes().all(is_lower_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: u64) -> LayerFile {
        LayerFile { path: "x".into(), bytes, mode: 0o644, host_path: "/x".into() }
    }

    #[test]
    fn key_is_a_path_of_the_hash() {
        let sha1 = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

        assert!(is_sha1(sha1));
        assert_eq!(blob_key(sha1), format!("resources/da/{sha1}"));
        assert!(!is_sha1("../../../../../../../../../../etc/passwd1"));
        assert!(!is_sha1(&sha1.to_uppercase()));
    }

    #[test]
    fn small_and_huge_files_are_not_kept_and_the_sum_is_bounded() {
        let files = vec![file(0), file(1), file(5), file(11), file(4), file(2)];
        let chosen = within_bounds(files, &(2..=10), 10);

        let sizes: Vec<_> = chosen.iter().map(|file| file.bytes).collect();
        assert_eq!(sizes, [5, 4]);
    }
}
