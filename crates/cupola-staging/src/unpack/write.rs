//! Writes a planned tree, counting every byte.

use std::{
    fs::{self, File, OpenOptions, Permissions},
    io::{self, Read, Write},
    os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink},
    path::Path,
};

use super::{
    UnpackError, Unpacked,
    archive::Archive,
    tree::{Content, Node, Tree},
};
use crate::orders::{UnpackLimits, UnpackOrder};

/// Up to here an archive may expand as it likes: small ones of zeros are no attack.
const RATIO_FREE_BYTES: u64 = 32 << 20;

pub(super) fn write(
    tree: &Tree,
    mut archive: Option<&mut Archive>,
    order: &UnpackOrder,
) -> Result<Unpacked, UnpackError> {
    let root = &order.into;
    fs::create_dir_all(root).map_err(|e| failed("make the folder of the app", &e))?;
    write_folders(tree, root)?;
    let zip_bytes = archive.as_ref().map_or(0, |archive| archive.bytes);
    let mut budget = Budget::new(order.limits, zip_bytes);
    let mut files = 0;
    for (path, node) in tree.nodes() {
        let Node::File { content, mode } = node else { continue };
        let target = &create(&root.join(path), *mode)?;
        match (content, &mut archive) {
            (Content::Zipped(index), Some(archive)) => {
                budget.copy(archive.content(*index)?, target, path, true)?;
            }
            (Content::Known(index), _) => {
                let source = order.known_dir.join(&order.known[*index].sha1);
                let source = File::open(source).map_err(|e| failed("open a known file", &e))?;
                budget.copy(source, target, path, false)?;
            }
            (Content::Zipped(_) | Content::Archived(_), _) => {
                return Err(UnpackError::Failed("the zip is gone".to_owned()));
            }
        }
        files += 1;
    }
    write_links(tree, root)?;
    Ok(Unpacked { files, bytes: budget.written })
}

fn write_folders(tree: &Tree, root: &Path) -> Result<(), UnpackError> {
    for (path, node) in tree.nodes() {
        let Node::Folder { mode } = node else { continue };
        let path = root.join(path);
        fs::create_dir(&path)
            .and_then(|()| fs::set_permissions(&path, Permissions::from_mode(*mode)))
            .map_err(|e| failed("make a folder", &e))?;
    }
    Ok(())
}

fn write_links(tree: &Tree, root: &Path) -> Result<(), UnpackError> {
    for (path, node) in tree.nodes() {
        let Node::Link { target } = node else { continue };
        symlink(target, root.join(path)).map_err(|e| failed("make a symbolic link", &e))?;
    }
    Ok(())
}

pub(super) fn create(path: &Path, mode: u32) -> Result<File, UnpackError> {
    let mut options = OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    // Set apart from the creation, where the umask would take bits away.
    file.and_then(|file| {
        file.set_permissions(Permissions::from_mode(mode))?;
        Ok(file)
    })
    .map_err(|e| failed("make a file", &e))
}

/// What may still be written.
pub(super) struct Budget {
    limits: UnpackLimits,
    zip_bytes: u64,
    written: u64,
    unzipped: u64,
}

impl Budget {
    pub(super) fn new(limits: UnpackLimits, archive_bytes: u64) -> Self {
        Self { limits, zip_bytes: archive_bytes, written: 0, unzipped: 0 }
    }

    pub(super) fn copy(
        &mut self,
        mut source: impl Read,
        mut target: &File,
        path: &str,
        is_zipped: bool,
    ) -> Result<(), UnpackError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            let count = match source.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(count) => count,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => {
                    return Err(UnpackError::Invalid(format!(
                        "`{}` is damaged ({e}); push again",
                        path.escape_debug()
                    )));
                }
            };
            self.spend(count as u64, is_zipped)?;
            target.write_all(&buffer[..count]).map_err(|e| failed("write a file", &e))?;
        }
    }

    fn spend(&mut self, bytes: u64, is_zipped: bool) -> Result<(), UnpackError> {
        self.written += bytes;
        if is_zipped {
            self.unzipped += bytes;
        }
        if self.written > self.limits.bytes_max {
            return Err(UnpackError::TooLarge);
        }
        let ratio_max = self.limits.ratio_max;
        let allowed = self.zip_bytes.saturating_mul(ratio_max).max(RATIO_FREE_BYTES);
        if self.unzipped > allowed {
            return Err(UnpackError::Invalid(format!(
                "it unpacks to more than {ratio_max} times its size"
            )));
        }
        Ok(())
    }
}

pub(super) fn failed(action: &str, error: &io::Error) -> UnpackError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => UnpackError::TooLarge,
        _ => UnpackError::Failed(format!("cannot {action}: {error}")),
    }
}
