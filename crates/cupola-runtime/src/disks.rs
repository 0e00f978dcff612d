//! Disks of containers: sparse images of file systems, as large as the disk limit.
//!
//! Where the kernel has no project quota, this is what makes a limit hard. Making a file system
//! takes a process of some milliseconds, so one of each size is kept and copied: a gibibyte has
//! less than a megabyte that is not a hole.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::FileExt,
    path::Path,
    process::{Command, Stdio},
};

use rustix::{fs::SeekFrom, io::Errno};

use crate::{
    error::{Doing, RuntimeError},
    programs,
};

/// Files of this prefix are not a container's.
pub(crate) const TEMPLATE: &str = "template-";
/// Changes with the options below.
const VERSION: u32 = 1;
const MIB_MIN: u64 = 8;

/// Makes an empty disk at `image`, whose root folder is `root`'s.
pub(crate) fn make(
    scratch: &Path,
    image: &Path,
    disk_mib: u32,
    root: u32,
) -> Result<(), RuntimeError> {
    let template = scratch.join(format!("{TEMPLATE}{VERSION}-{root}-{disk_mib}.img"));
    if !template.exists() {
        // Under the name of the container, as two may need the size at the same time.
        let unfinished = image.with_extension("unfinished");
        let made = make_file_system(&unfinished, disk_mib, root);
        made.and_then(|()| {
            // Otherwise the name could outlive a loss of power and the content not.
            File::open(&unfinished)
                .and_then(|file| file.sync_all())
                .doing(|| format!("sync `{}`", unfinished.display()))?;
            fs::rename(&unfinished, &template).doing(|| format!("keep `{}`", template.display()))
        })
        .inspect_err(|_| {
            let _ = fs::remove_file(&unfinished);
        })?;
    }
    copy_sparse(&template, image).doing(|| format!("make the disk `{}`", image.display()))
}

/// The limit, and what the file system needs for itself.
fn image_bytes(disk_mib: u32) -> u64 {
    let disk_mib = u64::from(disk_mib).max(MIB_MIN);
    (disk_mib + disk_mib / 16 + 4) << 20
}

fn make_file_system(path: &Path, disk_mib: u32, root: u32) -> Result<(), RuntimeError> {
    File::create(path)
        .and_then(|file| file.set_len(image_bytes(disk_mib)))
        .doing(|| format!("create `{}`", path.display()))?;
    let options = format!("lazy_itable_init=1,nodiscard,root_owner={root}:{root}");
    let made = Command::new(programs::find(Path::new("mkfs.ext4")))
        .args(["-q", "-F", "-m0", "-b4096", "-i8192"])
        .args(["-O", "^has_journal,^resize_inode", "-E", &options])
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .doing(|| "run `mkfs.ext4`: install the package e2fsprogs".to_owned())?;
    if made.status.success() {
        return Ok(());
    }
    Err(RuntimeError::ProgramFailed {
        program: "mkfs.ext4".to_owned(),
        detail: String::from_utf8_lossy(&made.stderr).trim().to_owned(),
    })
}

/// Copies what is not a hole.
pub(crate) fn copy_sparse(source: &Path, target: &Path) -> io::Result<()> {
    let source = File::open(source)?;
    let target = File::create(target)?;
    let length = source.metadata()?.len();
    target.set_len(length)?;
    let mut buffer = vec![0; 128 << 10];
    let mut at = 0;
    while at < length {
        let start = match rustix::fs::seek(&source, SeekFrom::Data(at)) {
            Ok(start) => start,
            Err(Errno::NXIO) => break,
            Err(error) => return Err(error.into()),
        };
        let end = rustix::fs::seek(&source, SeekFrom::Hole(start))?;
        copy_range(&source, &target, start, end, &mut buffer)?;
        at = end;
    }
    Ok(())
}

fn copy_range(
    source: &File,
    target: &File,
    start: u64,
    end: u64,
    buffer: &mut [u8],
) -> io::Result<()> {
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let count = source.read_at(&mut buffer[..wanted], at)?;
        if count == 0 {
            break;
        }
        target.write_all_at(&buffer[..count], at)?;
        at += count as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn holes_stay_holes_and_the_rest_is_the_same() {
        let folder = tempfile::TempDir::new().unwrap();
        let (source, target) = (folder.path().join("source"), folder.path().join("target"));
        let file = File::create(&source).unwrap();
        file.set_len(64 << 20).unwrap();
        file.write_all_at(b"start", 0).unwrap();
        file.write_all_at(b"middle", 32 << 20).unwrap();

        copy_sparse(&source, &target).unwrap();

        assert_eq!(fs::read(&source).unwrap(), fs::read(&target).unwrap());
        assert!(fs::metadata(&target).unwrap().blocks() * 512 < 1 << 20);
    }
}
