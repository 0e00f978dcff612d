//! Measures and removes trees that a build has written and may still be writing.
//!
//! A build can make folders that are nested without end, so nothing here recurses or names a path:
//! every step goes through a folder's descriptor and follows no link.

use std::{
    ffi::{CStr, CString},
    fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
};

use rustix::{
    fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, renameat, statat, unlinkat},
    io::Errno,
};

/// Deeper trees count as too large: each level holds a descriptor while they are measured.
pub(crate) const DEPTH_MAX: usize = 200;
/// What an entry takes at least: an empty file has an inode and a name too.
const ENTRY_BYTES_MIN: u64 = 4096;

/// Whether a tree takes more than that much disk, or is too deep to tell. Stops counting once it
/// does. A folder that cannot be read may hold anything, so it counts as too large.
pub(crate) fn exceeds(folder: &Path, bytes_max: u64) -> bool {
    measure(folder, bytes_max).unwrap_or(true)
}

fn measure(folder: &Path, bytes_max: u64) -> rustix::io::Result<bool> {
    let mut left = bytes_max;
    let mut open = Vec::new();
    if let Some(top) = open_folder(CWD, folder)? {
        open.push(Dir::new(top)?);
    }
    loop {
        let depth = open.len();
        let Some(folder) = open.last_mut() else { return Ok(false) };
        let entry = match folder.next() {
            Some(Ok(entry)) => entry,
            // A build may be removing files at the same time.
            None | Some(Err(Errno::NOENT)) => {
                open.pop();
                continue;
            }
            Some(Err(error)) => return Err(error),
        };
        let name = entry.file_name();
        if is_dots(name) {
            continue;
        }
        let stat = match statat(folder.fd()?, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => continue,
            stat => stat?,
        };
        let bytes = u64::try_from(stat.st_blocks).unwrap_or(u64::MAX).saturating_mul(512);
        match left.checked_sub(bytes.max(ENTRY_BYTES_MIN)) {
            Some(rest) => left = rest,
            None => return Ok(true),
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            continue;
        }
        if depth == DEPTH_MAX {
            return Ok(true);
        }
        if let Some(inner) = open_folder(folder.fd()?, name)? {
            open.push(Dir::new(inner)?);
        }
    }
}

/// Removes a tree of any depth. One that is not there is removed.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    if let Some(top) = open_folder(CWD, path)? {
        empty(&top)?;
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => fs::remove_file(path),
        result => result,
    }
}

/// Empties a folder. What lies deeper than one level is moved up, so two descriptors are enough.
fn empty(top: &OwnedFd) -> rustix::io::Result<()> {
    let mut moved = 0;
    loop {
        let mut is_empty = true;
        for entry in Dir::read_from(top)? {
            let entry = entry?;
            let name = entry.file_name();
            if is_dots(name) {
                continue;
            }
            is_empty = false;
            if unlink(top, name)? {
                continue;
            }
            if let Some(folder) = open_folder(top, name)? {
                flatten(&folder, top, &mut moved)?;
            }
            // What was added to it just now is met in the next round.
            unlink(top, name)?;
        }
        if is_empty {
            return Ok(());
        }
    }
}

fn flatten(folder: &OwnedFd, top: &OwnedFd, moved: &mut u64) -> rustix::io::Result<()> {
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        if !is_dots(name) && !unlink(folder, name)? {
            move_up(folder, name, top, moved)?;
        }
    }
    Ok(())
}

fn move_up(
    folder: &OwnedFd,
    name: &CStr,
    top: &OwnedFd,
    moved: &mut u64,
) -> rustix::io::Result<()> {
    loop {
        *moved += 1;
        let free = CString::new(format!("moved-{moved}")).unwrap_or_default();
        match renameat(folder, name, top, &free) {
            Ok(()) | Err(Errno::NOENT) => return Ok(()),
            // The name is taken; the next one may not be.
            Err(Errno::EXIST | Errno::NOTEMPTY | Errno::NOTDIR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Whether it is gone; what stays is a folder with something in it.
fn unlink(folder: &OwnedFd, name: &CStr) -> rustix::io::Result<bool> {
    match unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(true),
        Err(Errno::ISDIR) => {}
        Err(error) => return Err(error),
    }
    match unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(error) => Err(error),
    }
}

/// None if there is no such folder.
fn open_folder(at: impl AsFd, path: impl rustix::path::Arg) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(at, path, flags, Mode::empty()) {
        Ok(folder) => Ok(Some(folder)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(error) => Err(error),
    }
}

fn is_dots(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

#[cfg(test)]
mod tests {
    use rustix::fs::mkdirat;

    use super::*;

    /// Makes that many folders in each other.
    fn make_deep(folder: &Path, depth: usize) {
        let mut at = open_folder(CWD, folder).unwrap().unwrap();
        for _ in 0..depth {
            mkdirat(&at, c"d", Mode::from(0o755)).unwrap();
            at = open_folder(&at, c"d").unwrap().unwrap();
        }
    }

    #[test]
    fn a_tree_of_any_depth_is_removed() {
        // In memory: a disk needs a quarter of a minute for so many folders.
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("moved-1/inner")).unwrap();
        fs::write(tree.join("moved-2"), "a file whose name is in the way").unwrap();
        std::os::unix::fs::symlink("/etc", tree.join("link")).unwrap();
        make_deep(&tree, 30_000);

        remove(&tree).unwrap();

        assert!(!tree.exists());
        assert!(Path::new("/etc").exists());
        remove(&tree).unwrap();
    }

    #[test]
    fn size_is_compared_with_the_bound() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/b"), vec![1; 64 << 10]).unwrap();

        assert!(exceeds(dir.path(), 32 << 10));
        assert!(!exceeds(dir.path(), 1 << 20));
        assert!(!exceeds(&dir.path().join("none"), 0));
    }

    #[test]
    fn a_tree_deeper_than_any_path_is_too_large() {
        let dir = tempfile::tempdir().unwrap();
        make_deep(dir.path(), 5000);

        let is_too_large = exceeds(dir.path(), 1 << 40);
        remove(dir.path()).unwrap();

        assert!(is_too_large);
    }

    #[test]
    fn empty_files_count() {
        let dir = tempfile::tempdir().unwrap();
        (0..100).for_each(|n| fs::write(dir.path().join(n.to_string()), "").unwrap());

        assert!(exceeds(dir.path(), 99 * 4096));
        assert!(!exceeds(dir.path(), 100 * 4096));
    }
}
