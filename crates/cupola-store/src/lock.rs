//! One process per data directory.

use std::{
    fs::{DirBuilder, File, OpenOptions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

/// The data directory is this process's as long as this lives. The kernel gives it up with the
/// process, however that ends.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error(
        "the data directory {} is in use by {}: stop it with `cupola down`, or choose another \
         directory with --data-dir",
        dir.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Held { dir: PathBuf, holder: Option<u32> },
    #[error(
        "cannot write to the data directory {}: give this user the right to write there, or \
         choose another with --data-dir",
        dir.display()
    )]
    Unwritable {
        dir: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Takes the data directory `dir` for this process, and makes it where it is missing.
pub fn lock_data_dir(dir: &Path) -> Result<DirLock, LockError> {
    let unwritable = |source| LockError::Unwritable { dir: dir.to_owned(), source };
    // Others may pass through, as the router and the containers must, but not look around.
    DirBuilder::new().recursive(true).mode(0o711).create(dir).map_err(unwritable)?;
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(dir.join("lock"))
        .map_err(unwritable)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(LockError::Held { dir: dir.to_owned(), holder: read_pid(&mut file) });
        }
        Err(TryLockError::Error(source)) => return Err(unwritable(source)),
    }
    write_pid(&mut file).map_err(unwritable)?;
    Ok(DirLock { _file: file })
}

fn write_pid(file: &mut File) -> io::Result<()> {
    file.set_len(0)?;
    writeln!(file, "{}", std::process::id())
}

fn read_pid(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_lock_names_the_holder() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let _lock = lock_data_dir(&data).unwrap();

        let error = lock_data_dir(&data).unwrap_err();

        let text = error.to_string();
        assert!(text.contains(&format!("in use by process {}", std::process::id())), "{text}");
    }

    #[test]
    fn a_lock_ends_with_its_holder() {
        let dir = tempfile::tempdir().unwrap();

        drop(lock_data_dir(dir.path()).unwrap());

        lock_data_dir(dir.path()).unwrap();
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();

        let error = lock_data_dir(&file.join("data")).unwrap_err();

        assert!(matches!(error, LockError::Unwritable { .. }), "{error:?}");
    }
}
