//! Layers on disk: trees addressed by their digest, mounted below containers.
//!
//! Owners are container-relative, in folders that only root can enter: a file that is `vcap`'s is
//! 2000's on disk, which may be somebody else on the host.

use std::{
    collections::HashSet,
    fs, io,
    os::{
        fd::AsFd,
        unix::fs::{MetadataExt, PermissionsExt, lchown},
    },
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use cupola_domain::droplets::LayerDigest;
use cupola_ports::sandbox::{FrozenLayer, LayerFile, Layers, SandboxError};
use rustix::fs::{AtFlags, CWD, OFlags, Timespec, Timestamps, UTIME_NOW};

use crate::{
    config::Paths,
    disks,
    error::{Doing, RuntimeError},
    freeze,
    records::{self, LayerRecord},
    stack, time_now,
};

/// Layers younger than this are kept: their droplet may just be being written.
const AGE_MIN: Duration = Duration::from_secs(24 * 60 * 60);

const RECORD: &str = "layer.json";
const TREE: &str = "tree";

/// The layers of this installation.
#[derive(Clone, Debug)]
pub(crate) struct LayerStore {
    paths: Paths,
    /// Whether the data directory's file system takes id-mapped mounts.
    pub(crate) idmapped: bool,
    uid_base: u32,
    /// Held while a layer is put in its place or taken away: two containers may freeze the same
    /// content at once.
    placing: Arc<Mutex<()>>,
}

impl LayerStore {
    pub(crate) fn open(paths: Paths, uid_base: u32, may_idmap: bool) -> Result<Self, RuntimeError> {
        for folder in [paths.layers(), paths.layers_unfinished(), paths.layers().join("sha256")] {
            make_private(&folder)?;
        }
        // Whatever was being frozen when the last process ended.
        for entry in fs::read_dir(paths.layers_unfinished()).into_iter().flatten().flatten() {
            let _ = fs::remove_dir_all(entry.path());
        }
        let idmapped = may_idmap && takes_idmapped_mounts(&paths.layers(), uid_base);
        if may_idmap && !idmapped {
            tracing::warn!(
                "the file system of the data directory takes no id-mapped mounts: \
                 layers are copied once more"
            );
        }
        Ok(Self { paths, idmapped, uid_base, placing: Arc::default() })
    }

    fn folder(&self, digest: &LayerDigest) -> PathBuf {
        self.paths.layers().join("sha256").join(digest.hex())
    }

    fn shifted_folder(&self, digest: &LayerDigest) -> PathBuf {
        self.paths.layers().join(format!("shifted-{}", self.uid_base)).join(digest.hex())
    }

    /// The tree to mount for this layer.
    pub(crate) fn tree(&self, digest: &LayerDigest) -> Result<PathBuf, RuntimeError> {
        let tree = self.folder(digest).join(TREE);
        if !tree.exists() {
            return Err(RuntimeError::LayerMissing { digest: digest.clone() });
        }
        if self.idmapped { Ok(tree) } else { self.shifted(&tree, &self.shifted_folder(digest)) }
    }

    /// The tree to mount for a stack: `.../NAME/tree`, or a shifted copy beside it.
    pub(crate) fn shifted_stack(&self, tree: PathBuf) -> Result<PathBuf, RuntimeError> {
        match tree.parent() {
            Some(folder) if !self.idmapped => {
                let copy = folder.with_extension(format!("shifted-{}", self.uid_base));
                self.shifted(&tree, &copy)
            }
            _ => Ok(tree),
        }
    }

    /// A copy of a tree with owners of the host, for kernels or file systems without id-mapping.
    fn shifted(&self, tree: &Path, copy: &Path) -> Result<PathBuf, RuntimeError> {
        let finished = copy.join(TREE);
        if finished.exists() {
            return Ok(finished);
        }
        let what = || format!("copy the layer `{}`", tree.display());
        let unfinished = self.new_unfinished()?;
        copy_shifted(tree, &unfinished.join(TREE), self.uid_base).doing(what)?;
        if let Some(parent) = copy.parent() {
            make_private(parent)?;
        }
        match fs::rename(&unfinished, copy) {
            // Two starts at once: the other copy is as good.
            Err(_) if finished.exists() => {
                let _ = fs::remove_dir_all(&unfinished);
            }
            result => result.doing(what)?,
        }
        Ok(finished)
    }

    /// A new empty folder in which a layer can be made.
    pub(crate) fn new_unfinished(&self) -> Result<PathBuf, RuntimeError> {
        // The parent was emptied when this process started, so counting is enough.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = NEXT.fetch_add(1, Ordering::Relaxed).to_string();
        let folder = self.paths.layers_unfinished().join(name);
        fs::create_dir(&folder).doing(|| format!("create `{}`", folder.display()))?;
        Ok(folder)
    }

    /// Makes what was frozen in `unfinished` a layer. The same digest is the same layer, unless the
    /// one that is there may have lost something with the power.
    pub(crate) fn finish(
        &self,
        name: String,
        unfinished: &Path,
        record: &LayerRecord,
    ) -> Result<FrozenLayer, RuntimeError> {
        let folder = self.folder(&record.digest);
        records::write(&unfinished.join(RECORD), record)?;
        let placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut surplus = unfinished.to_owned();
        if folder.exists() && !self.is_doubtful(&folder, record) {
            // It counts as young again, so that `retain` does not take it from its new droplet.
            touch(&folder.join(RECORD)).doing(|| format!("keep `{}`", folder.display()))?;
        } else {
            if folder.exists() {
                surplus = self.new_unfinished()?;
                fs::rename(&folder, &surplus).doing(|| "replace a layer".to_owned())?;
                let _ = fs::remove_dir_all(self.shifted_folder(&record.digest));
            }
            fs::rename(unfinished, &folder).doing(|| format!("keep `{}`", folder.display()))?;
        }
        drop(placing);
        let _ = fs::remove_dir_all(surplus);
        Ok(FrozenLayer { name, digest: record.digest.clone(), bytes: record.bytes })
    }

    /// Whether the layer was written in an earlier boot that ended before it was on the disk. One
    /// that a container has mounted stays all the same.
    fn is_doubtful(&self, folder: &Path, new: &LayerRecord) -> bool {
        let is_whole = match records::read::<LayerRecord>(&folder.join(RECORD)) {
            Ok(Some(LayerRecord { unsynced_boot: Some(boot), .. })) => {
                Some(&boot) == new.unsynced_boot.as_ref()
            }
            Ok(Some(_)) => true,
            Ok(None) | Err(_) => false,
        };
        let trees = [folder.join(TREE), self.shifted_folder(&new.digest).join(TREE)];
        !is_whole && !trees.iter().any(|tree| self.mounted().contains(tree))
    }

    /// Makes finished layers outlive a loss of power, and notes it of this one.
    pub(crate) fn sync(&self, digest: &LayerDigest) {
        let synced = fs::File::open(self.paths.layers())
            .is_ok_and(|folder| rustix::fs::syncfs(folder).is_ok());
        let path = self.folder(digest).join(RECORD);
        let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
        if let (true, Ok(Some(mut record))) = (synced, records::read::<LayerRecord>(&path)) {
            record.unsynced_boot = None;
            if let Err(error) = records::write(&path, &record) {
                tracing::warn!(%digest, %error, "a layer was synced and could not be marked so");
            }
        }
    }

    fn files_below(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Vec<LayerFile>, RuntimeError> {
        let what = || format!("list the layer {digest}");
        let Some(folder) = self.folder_below(digest, prefix)? else { return Ok(Vec::new()) };
        let mut files = Vec::new();
        list(&folder, "", &mut files).doing(what)?;
        Ok(files)
    }

    fn folder_below(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Option<PathBuf>, RuntimeError> {
        let tree = self.folder(digest).join(TREE);
        let root = fs::File::open(&tree)
            .map_err(|_| RuntimeError::LayerMissing { digest: digest.clone() })?;
        let prefix = prefix.trim_matches('/');
        // The prefix must not lead through a link out of the layer.
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let found = freeze::open_beneath(root.as_fd(), prefix, flags)
            .doing(|| format!("look into the layer {digest}"))?;
        Ok(found.map(|_| tree.join(prefix)))
    }

    fn remove_unused(&self, used: &HashSet<&LayerDigest>) -> Result<u64, RuntimeError> {
        let mounted = self.mounted();
        let mut freed = 0;
        let all = self.paths.layers().join("sha256");
        for entry in fs::read_dir(&all).doing(|| "list the layers".to_owned())?.flatten() {
            let record_path = entry.path().join(RECORD);
            let Ok(Some(record)) = records::read::<LayerRecord>(&record_path) else { continue };
            let shifted = self.shifted_folder(&record.digest);
            let trees = [entry.path().join(TREE), shifted.join(TREE)];
            let is_mounted = trees.iter().any(|tree| mounted.contains(tree));
            if used.contains(&record.digest) || is_mounted {
                continue;
            }
            let doomed = self.paths.layers_unfinished().join(record.digest.hex());
            {
                let _placing = self.placing.lock().unwrap_or_else(PoisonError::into_inner);
                // Only now: until here, a build could make it young again.
                if age_of(&record_path).is_none_or(|age| age <= AGE_MIN) {
                    continue;
                }
                // Renamed first: a layer is there whole or not at all.
                fs::rename(entry.path(), &doomed).doing(|| "remove a layer".to_owned())?;
            }
            let _ = fs::remove_dir_all(&doomed);
            let _ = fs::remove_dir_all(&shifted);
            freed += record.bytes;
        }
        Ok(freed)
    }

    /// Trees that containers have mounted.
    pub(crate) fn mounted(&self) -> HashSet<PathBuf> {
        launches(&self.paths).into_iter().flat_map(|launch| launch.lowers).collect()
    }
}

/// The launch records of all containers that are there.
pub(crate) fn launches(paths: &Paths) -> Vec<records::Launch> {
    fs::read_dir(paths.instances())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| records::read(&entry.path().join("launch.json")).ok().flatten())
        .collect()
}

/// Creates a folder that only root can enter.
pub(crate) fn make_private(folder: &Path) -> Result<(), RuntimeError> {
    fs::create_dir_all(folder)
        .and_then(|()| fs::set_permissions(folder, fs::Permissions::from_mode(0o700)))
        .doing(|| format!("create `{}`", folder.display()))
}

/// Lets a file count as changed now.
fn touch(path: &Path) -> io::Result<()> {
    let now = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    let times = Timestamps { last_access: now, last_modification: now };
    Ok(rustix::fs::utimensat(CWD, path, &times, AtFlags::empty())?)
}

fn age_of(path: &Path) -> Option<Duration> {
    let modified_at = fs::metadata(path).ok()?.mtime();
    let age_s = time_now().seconds().checked_sub(modified_at)?;
    u64::try_from(age_s).ok().map(Duration::from_secs)
}

fn takes_idmapped_mounts(folder: &Path, uid_base: u32) -> bool {
    crate::sys::user_namespace_of_one(0, uid_base)
        .and_then(|namespace| crate::sys::idmapped_tree(folder, namespace.as_fd(), false))
        .is_ok()
}

fn list(folder: &Path, path: &str, files: &mut Vec<LayerFile>) -> io::Result<()> {
    let mut entries: Vec<_> = fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let metadata = entry.metadata()?;
        let Ok(name) = entry.file_name().into_string() else { continue };
        let inner = if path.is_empty() { name } else { format!("{path}/{name}") };
        if metadata.is_dir() {
            list(&entry.path(), &inner, files)?;
        } else if metadata.is_file() {
            files.push(LayerFile {
                path: inner,
                bytes: metadata.len(),
                mode: metadata.mode() & 0o7777,
                host_path: entry.path(),
            });
        }
    }
    Ok(())
}

fn copy_shifted(source: &Path, target: &Path, uid_base: u32) -> io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    if metadata.is_symlink() {
        std::os::unix::fs::symlink(fs::read_link(source)?, target)?;
    } else if metadata.is_dir() {
        fs::create_dir(target)?;
        for entry in fs::read_dir(source)? {
            let entry = entry?;
            copy_shifted(&entry.path(), &target.join(entry.file_name()), uid_base)?;
        }
    } else if metadata.is_file() {
        disks::copy_sparse(source, target)?;
    } else {
        return Ok(());
    }
    lchown(target, Some(metadata.uid() + uid_base), Some(metadata.gid() + uid_base))?;
    if !metadata.is_symlink() {
        fs::set_permissions(target, metadata.permissions())?;
        if let Ok(modified) = metadata.modified() {
            fs::File::open(target)?.set_modified(modified)?;
        }
    }
    Ok(())
}

/// The `Layers` port on this host.
#[derive(Clone, Debug)]
pub struct NativeLayers {
    pub(crate) store: Arc<LayerStore>,
    pub(crate) stack_digest: String,
}

#[async_trait]
impl Layers for NativeLayers {
    async fn exists(&self, digest: &LayerDigest) -> bool {
        tokio::fs::try_exists(self.store.folder(digest).join(TREE)).await.unwrap_or(false)
    }

    async fn files(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Vec<LayerFile>, SandboxError> {
        let (store, digest, prefix) = (self.store.clone(), digest.clone(), prefix.to_owned());
        Ok(blocking(move || store.files_below(&digest, &prefix)).await?)
    }

    async fn folder(
        &self,
        digest: &LayerDigest,
        prefix: &str,
    ) -> Result<Option<PathBuf>, SandboxError> {
        let (store, digest, prefix) = (self.store.clone(), digest.clone(), prefix.to_owned());
        Ok(blocking(move || store.folder_below(&digest, &prefix)).await?)
    }

    async fn retain(&self, used: &[LayerDigest]) -> Result<u64, SandboxError> {
        let (store, used) = (self.store.clone(), used.to_vec());
        Ok(blocking(move || store.remove_unused(&used.iter().collect())).await?)
    }

    async fn stack_digest(&self, name: &str) -> Result<String, SandboxError> {
        check_stack(name)?;
        Ok(self.stack_digest.clone())
    }
}

pub(crate) fn check_stack(name: &str) -> Result<(), RuntimeError> {
    if name == stack::HOST_STACK {
        return Ok(());
    }
    let known = stack::HOST_STACK.to_owned();
    Err(RuntimeError::StackMissing { name: name.to_owned(), known })
}

/// Runs file system work where it does not hold up others.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RuntimeError> + Send + 'static,
) -> Result<T, RuntimeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(io::Error::other(error)).doing(|| "run file system work".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a layer of one file anew, as frozen in this boot, and hands back what is kept of it.
    fn make(store: &LayerStore, text: &str, unsynced_boot: Option<&str>) -> String {
        let unfinished = store.new_unfinished().unwrap();
        fs::create_dir(unfinished.join(TREE)).unwrap();
        fs::write(unfinished.join(TREE).join("file"), text).unwrap();
        let record = LayerRecord {
            version: records::VERSION,
            digest: LayerDigest::from_sha256([7; 32]),
            bytes: 5,
            entries: 1,
            unsynced_boot: unsynced_boot.map(str::to_owned),
        };
        store.finish("app".to_owned(), &unfinished, &record).unwrap();
        assert!(!unfinished.exists());
        fs::read_to_string(store.folder(&record.digest).join(TREE).join("file")).unwrap()
    }

    #[test]
    fn a_layer_that_may_have_lost_something_with_the_power_is_replaced() {
        let folder = tempfile::TempDir::new().unwrap();
        let paths = Paths::of(&folder.path().join("data"), &folder.path().join("run"));
        let store = LayerStore::open(paths, 0, false).unwrap();

        make(&store, "", Some("first boot"));
        let in_the_same_boot = make(&store, "whole", Some("first boot"));
        let in_the_next = make(&store, "whole", Some("second boot"));
        store.sync(&LayerDigest::from_sha256([7; 32]));
        let once_synced = make(&store, "other", Some("third boot"));

        assert_eq!(in_the_same_boot, "");
        assert_eq!(in_the_next, "whole");
        assert_eq!(once_synced, "whole");
    }
}
