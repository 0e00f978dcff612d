//! Blobs as files of a local directory.
//!
//! A blob is written to `.unfinished`, synced, and then linked to its name: so a name never has
//! half a content, and the first content that a name got stays. The time of its last change is
//! that of its last use.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

use async_trait::async_trait;
use cupola_ports::blobs::{BlobError, BlobStore};

/// Begins with a dot, as no segment of a key does.
const UNFINISHED: &str = ".unfinished";

/// The `BlobStore` in a local directory, for one process.
#[derive(Clone, Debug)]
pub struct LocalBlobs(Arc<Directory>);

#[derive(Debug)]
struct Directory {
    root: PathBuf,
    unfinished: AtomicU64,
}

impl LocalBlobs {
    /// Opens the directory `root`, makes it where it is missing, and removes what a process that
    /// was killed has left half written.
    pub fn open(root: &Path) -> io::Result<Self> {
        let unfinished = root.join(UNFINISHED);
        match fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => fs::create_dir_all(&unfinished)?,
        }
        Ok(Self(Arc::new(Directory { root: root.to_owned(), unfinished: AtomicU64::new(0) })))
    }

    async fn run<T: Send + 'static>(
        &self,
        action: &'static str,
        key: &str,
        work: impl FnOnce(&Directory, &str) -> io::Result<T> + Send + 'static,
    ) -> Result<T, BlobError> {
        let directory = Arc::clone(&self.0);
        let owned_key = key.to_owned();
        let done = tokio::task::spawn_blocking(move || work(&directory, &owned_key)).await;
        done.map_err(io::Error::other).flatten().map_err(|source| BlobError {
            action,
            key: key.to_owned(),
            source,
        })
    }
}

#[async_trait]
impl BlobStore for LocalBlobs {
    async fn put(&self, key: &str, file: &Path) -> Result<(), BlobError> {
        let file = file.to_owned();
        self.run("store", key, move |directory, key| directory.put(key, &file)).await
    }

    async fn fetch(&self, key: &str, file: &Path) -> Result<bool, BlobError> {
        let file = file.to_owned();
        self.run("fetch", key, move |directory, key| directory.fetch(key, &file)).await
    }

    async fn present(&self, keys: &[(String, u64)]) -> Result<Vec<bool>, BlobError> {
        let keys = keys.to_vec();
        self.run("look for", "of a list", move |directory, _| {
            keys.iter().map(|(key, size)| directory.has(key, *size)).collect()
        })
        .await
    }

    async fn delete(&self, key: &str) -> Result<(), BlobError> {
        self.run("delete", key, |directory, key| directory.delete(key)).await
    }

    async fn trim(&self, folder: &str, bytes_max: u64) -> Result<u64, BlobError> {
        self.run("trim", folder, move |directory, folder| directory.trim(folder, bytes_max)).await
    }
}

impl Directory {
    fn put(&self, key: &str, file: &Path) -> io::Result<()> {
        let target = self.path(key)?;
        if is_blob(&target)? {
            return note_use(&target);
        }
        let number = self.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.root.join(UNFINISHED).join(number.to_string());
        let outcome =
            write_synced(file, &unfinished).and_then(|()| self.link(&unfinished, &target));
        let removed = fs::remove_file(&unfinished);
        outcome.and(removed.or_else(ignore_missing))
    }

    /// Gives a finished file its name, unless another has it by now.
    fn link(&self, finished: &Path, target: &Path) -> io::Result<()> {
        let parent = target.parent().unwrap_or(&self.root);
        self.make_directory(parent)?;
        match fs::hard_link(finished, target) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_blob(target)? => {
                Ok(())
            }
            outcome => outcome.and_then(|()| sync_directory(parent)),
        }
    }

    fn make_directory(&self, directory: &Path) -> io::Result<()> {
        if directory == self.root || directory.is_dir() {
            return Ok(());
        }
        let parent = directory.parent().unwrap_or(&self.root);
        self.make_directory(parent)?;
        match fs::create_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            outcome => outcome.and_then(|()| sync_directory(parent)),
        }
    }

    fn fetch(&self, key: &str, file: &Path) -> io::Result<bool> {
        let blob = self.path(key)?;
        if !is_blob(&blob)? {
            return Ok(false);
        }
        match fs::hard_link(&blob, file) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => copy_new(&blob, file),
            outcome => outcome,
        }?;
        note_use(&blob)?;
        Ok(true)
    }

    /// A key that is none has no blob.
    fn has(&self, key: &str, size: u64) -> io::Result<bool> {
        let Ok(path) = self.path(key) else { return Ok(false) };
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == size => {
                note_use(&path).map(|()| true)
            }
            Ok(_) => Ok(false),
            Err(error) => ignore_missing(error).map(|()| false),
        }
    }

    fn delete(&self, key: &str) -> io::Result<()> {
        fs::remove_file(self.path(key)?).or_else(ignore_missing)
    }

    fn trim(&self, folder: &str, bytes_max: u64) -> io::Result<u64> {
        let mut blobs = Vec::new();
        list(&self.path(folder)?, &mut blobs)?;
        let mut left: u64 = blobs.iter().map(|blob| blob.bytes).sum();
        blobs.sort_by_key(|blob| blob.used);
        let mut freed = 0;
        for blob in blobs {
            if left <= bytes_max {
                break;
            }
            fs::remove_file(&blob.path).or_else(ignore_missing)?;
            left -= blob.bytes;
            freed += blob.bytes;
        }
        Ok(freed)
    }

    fn path(&self, key: &str) -> io::Result<PathBuf> {
        if key.split('/').all(is_segment) {
            return Ok(self.root.join(key));
        }
        let text = "a key is path segments of letters, digits, '-', '_' and '.', none beginning \
                    with a dot";
        Err(io::Error::new(io::ErrorKind::InvalidInput, text))
    }
}

struct Blob {
    path: PathBuf,
    bytes: u64,
    used: SystemTime,
}

fn list(folder: &Path, blobs: &mut Vec<Blob>) -> io::Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return ignore_missing(error),
    };
    for entry in entries {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            list(&entry.path(), blobs)?;
        } else {
            let (path, used) = (entry.path(), metadata.modified()?);
            blobs.push(Blob { path, bytes: metadata.len(), used });
        }
    }
    Ok(())
}

/// One that was trimmed just now is not missed here: whoever needs it will see.
#[expect(
    clippy::disallowed_methods,
    reason = "compared with nothing but the times that the file system gives to new files"
)]
fn note_use(path: &Path) -> io::Result<()> {
    let now = SystemTime::now();
    File::open(path).and_then(|file| file.set_modified(now)).or_else(ignore_missing)
}

fn is_segment(segment: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !segment.is_empty() && !segment.starts_with('.') && segment.bytes().all(allowed)
}

fn is_blob(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) => ignore_missing(error).map(|()| false),
    }
}

/// Copies, because the caller may go on writing to its own file, and takes the right to write
/// from the copy, because fetched files share it.
fn write_synced(from: &Path, to: &Path) -> io::Result<()> {
    copy_new(from, to)?;
    let copy = File::open(to)?;
    copy.set_permissions(Permissions::from_mode(0o444))?;
    copy.sync_all()
}

fn copy_new(from: &Path, to: &Path) -> io::Result<()> {
    let mut source = File::open(from)?;
    let mut target = File::create_new(to)?;
    io::copy(&mut source, &mut target).map(drop)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn ignore_missing(error: io::Error) -> io::Result<()> {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Ok(()),
        _ => Err(error),
    }
}
