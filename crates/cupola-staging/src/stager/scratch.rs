//! Folders that exist only while a sandbox looks at them.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use crate::caches::tree;

/// A folder that is removed when it is dropped.
#[derive(Debug)]
pub(super) struct Scratch {
    path: PathBuf,
}

impl Scratch {
    pub(super) fn new(dir: &Path, name: &str) -> io::Result<Self> {
        let path = dir.join(name);
        // One of that name may be left of a sandbox whose future was dropped half-way.
        tree::remove(&path)?;
        open_folder(&path)?;
        Ok(Self { path })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.path);
        let remove = move || {
            // What is left is removed at the next start.
            let _ = tree::remove(&path);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

pub(super) fn empty(dir: &Path) -> io::Result<()> {
    tree::remove(dir)?;
    fs::create_dir_all(dir)
}

/// Makes a folder that users inside a sandbox can look into.
pub(super) fn open_folder(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))
}

/// Makes a file readable for users inside a sandbox. The folders above keep others out.
pub(super) fn open_file(path: &Path) -> io::Result<()> {
    let mode = fs::metadata(path)?.permissions().mode();
    if mode & 0o044 == 0o044 {
        return Ok(());
    }
    fs::set_permissions(path, Permissions::from_mode(mode | 0o044))
}
