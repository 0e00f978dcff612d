//! The app's files: from a folder without what must not be sent, or from a zip.

use std::{
    fs,
    io::{Seek, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use sha1::{Digest, Sha1};
use zip::{ZipWriter, write::SimpleFileOptions};

use super::ignore::Ignored;

pub(super) enum Source {
    Folder(Vec<File>),
    Zip(PathBuf),
}

/// A file or link of the folder.
pub(super) struct File {
    /// Relative to the folder, with `/`.
    pub path: String,
    pub on_disk: PathBuf,
    pub bytes: u64,
    pub mode: u32,
    pub sha1: String,
    link: Option<String>,
}

impl File {
    /// Links have no content that the platform could know.
    pub(super) const fn can_be_known(&self) -> bool {
        self.link.is_none() && self.bytes > 0
    }
}

impl Source {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let name = path.display();
        if path.is_file() {
            return Ok(Self::Zip(path.to_owned()));
        }
        if !path.is_dir() {
            bail!("{name} is neither a folder nor a zip");
        }
        let ignored = Ignored::read(path)?;
        let mut files = Vec::new();
        collect(path, "", &ignored, &mut files).with_context(|| format!("cannot read {name}"))?;
        if files.is_empty() {
            bail!("{name} has no files to push");
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self::Folder(files))
    }
}

/// Writes a zip of those files for which `wanted` says so; returns how many bytes it has.
pub(super) fn zip(
    files: &[File],
    wanted: impl Fn(&File) -> bool,
    out: &mut (impl Write + Seek),
) -> anyhow::Result<()> {
    let mut zip = ZipWriter::new(out);
    for file in files.iter().filter(|file| wanted(file)) {
        let options = SimpleFileOptions::default().unix_permissions(file.mode);
        if let Some(link) = &file.link {
            zip.add_symlink(&file.path, link, options)?;
        } else {
            zip.start_file(&file.path, options)?;
            let mut content = fs::File::open(&file.on_disk)
                .with_context(|| format!("cannot read {}", file.on_disk.display()))?;
            std::io::copy(&mut content, &mut zip)?;
        }
    }
    zip.finish()?;
    Ok(())
}

fn collect(
    folder: &Path,
    prefix: &str,
    ignored: &Ignored,
    files: &mut Vec<File>,
) -> anyhow::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name
            .to_str()
            .with_context(|| format!("{} has a name that is not UTF-8", entry.path().display()))?;
        let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
        let kind = entry.file_type()?;
        if kind.is_dir() {
            if !ignored.has_all_of(&path) {
                collect(&entry.path(), &path, ignored, files)?;
            }
        } else if (kind.is_file() || kind.is_symlink()) && !ignored.has_file(&path) {
            files.push(file(path, entry.path(), kind.is_symlink())?);
        }
    }
    Ok(())
}

fn file(path: String, on_disk: PathBuf, is_link: bool) -> anyhow::Result<File> {
    let metadata = fs::symlink_metadata(&on_disk)?;
    let link = if is_link {
        let target = fs::read_link(&on_disk)?;
        let target = target.to_str().map(str::to_owned);
        Some(target.with_context(|| format!("the link {path} leads to a name that is not UTF-8"))?)
    } else {
        None
    };
    let sha1 = if is_link { String::new() } else { sha1(&on_disk)? };
    let mode = metadata.permissions().mode() & 0o777;
    Ok(File { path, bytes: metadata.len(), mode, sha1, on_disk, link })
}

fn sha1(path: &Path) -> anyhow::Result<String> {
    let mut hash = Sha1::new();
    std::io::copy(&mut fs::File::open(path)?, &mut hash)?;
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folder_is_zipped_with_its_permissions_and_without_version_control() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".git")).unwrap();
        fs::write(folder.path().join(".git/config"), "secret").unwrap();
        fs::write(folder.path().join("run.sh"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(folder.path().join("run.sh"), fs::Permissions::from_mode(0o755))
            .unwrap();

        let Source::Folder(files) = Source::open(folder.path()).unwrap() else { panic!() };
        let mut out = std::io::Cursor::new(Vec::new());
        zip(&files, |_| true, &mut out).unwrap();

        let mut archive = zip::ZipArchive::new(out).unwrap();
        assert_eq!(archive.len(), 1);
        let entry = archive.by_index(0).unwrap();
        assert_eq!(entry.name().unwrap(), "run.sh");
        assert_eq!(entry.unix_mode().unwrap() & 0o777, 0o755);
    }
}
