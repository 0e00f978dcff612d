//! The buildpacks that are part of the binary, and how a request names buildpacks.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::orders::BuildpackSource;

struct EmbeddedFile {
    /// Relative to the repository's `buildpacks/`.
    path: &'static str,
    is_program: bool,
    content: &'static [u8],
}

static EMBEDDED: &[EmbeddedFile] = include!(concat!(env!("OUT_DIR"), "/embedded_buildpacks.rs"));

/// Writes the embedded buildpacks below `dir`, in a folder named by their content, and removes those
/// of other versions. Says where they are.
pub(crate) fn extract(dir: &Path) -> io::Result<PathBuf> {
    let folder = dir.join(digest());
    fs::create_dir_all(dir)?;
    remove_others(dir, &folder)?;
    if folder.is_dir() {
        return Ok(folder);
    }
    let new = dir.join("new");
    for file in EMBEDDED {
        let path = new.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&path, file.content)?;
        let mode = if file.is_program { 0o755 } else { 0o644 };
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    fs::create_dir_all(&new)?;
    open_folders(&new)?;
    fs::rename(&new, &folder)?;
    Ok(folder)
}

/// The platform's umask may be narrow, and `vcap` must be able to read.
fn open_folders(folder: &Path) -> io::Result<()> {
    fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            open_folders(&entry.path())?;
        }
    }
    Ok(())
}

fn remove_others(dir: &Path, kept: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let path = entry?.path();
        if path != kept {
            fs::remove_dir_all(path)?;
        }
    }
    Ok(())
}

fn digest() -> String {
    let mut hash = Sha256::new();
    for file in EMBEDDED {
        hash.update(file.path);
        hash.update([0, u8::from(file.is_program)]);
        hash.update((file.content.len() as u64).to_le_bytes());
        hash.update(file.content);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// Why a buildpack that a request names cannot be used. Shown to the user.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum UnusableBuildpack {
    #[error("there is no buildpack `{name}`; `cf buildpacks` lists those that there are")]
    Unknown { name: String },
    #[error(
        "the buildpack {name} is an archive, and Cupola takes buildpacks by URL only from git: name its git repository, or a built-in buildpack"
    )]
    Archive { name: String },
    #[error("`{name}` is not a git URL that can be used; write it as https://host/path#branch")]
    Url { name: String },
}

/// Where the buildpack with this name or URL comes from, seen from inside a sandbox. `folders` is
/// where the embedded ones are outside of it.
pub(crate) fn locate(
    name: &str,
    folders: &Path,
    folders_inside: &Path,
) -> Result<BuildpackSource, UnusableBuildpack> {
    if name.contains("://") || name.starts_with("git@") {
        return git_source(name);
    }
    let folder = name.strip_suffix("_buildpack").unwrap_or(name);
    let is_plain = !folder.is_empty() && !folder.contains('/') && !folder.starts_with('.');
    if is_plain && folders.join(folder).is_dir() {
        Ok(BuildpackSource::Folder { name: name.to_owned(), path: folders_inside.join(folder) })
    } else {
        Err(UnusableBuildpack::Unknown { name: name.to_owned() })
    }
}

fn git_source(name: &str) -> Result<BuildpackSource, UnusableBuildpack> {
    let (url, branch) = match name.split_once('#') {
        Some((url, branch)) => (url, Some(branch)),
        None => (name, None),
    };
    let path = url.split('?').next().unwrap_or(url).to_lowercase();
    if [".zip", ".tgz", ".tar.gz", ".tar"].iter().any(|ending| path.ends_with(ending)) {
        return Err(UnusableBuildpack::Archive { name: name.to_owned() });
    }
    let has_scheme =
        ["https://", "http://", "git://", "ssh://", "git@"].iter().any(|s| url.starts_with(s));
    let is_clean =
        |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_control() || c == ' ');
    let has_branch = branch.is_none_or(|branch| is_clean(branch) && !branch.starts_with('-'));
    if !has_scheme || !is_clean(url) || !has_branch {
        return Err(UnusableBuildpack::Url { name: name.to_owned() });
    }
    Ok(BuildpackSource::Git {
        name: name.to_owned(),
        url: url.to_owned(),
        branch: branch.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(name: &str) -> Result<BuildpackSource, UnusableBuildpack> {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("go")).unwrap();
        locate(name, dir.path(), Path::new("/in/buildpacks"))
    }

    #[test]
    fn builtin_buildpacks_are_found_by_both_names() {
        let path = PathBuf::from("/in/buildpacks/go");

        let short = BuildpackSource::Folder { name: "go".into(), path: path.clone() };
        assert_eq!(located("go"), Ok(short));
        let long = BuildpackSource::Folder { name: "go_buildpack".into(), path };
        assert_eq!(located("go_buildpack"), Ok(long));
        assert!(matches!(located("../go"), Err(UnusableBuildpack::Unknown { .. })));
        assert!(matches!(located("."), Err(UnusableBuildpack::Unknown { .. })));
    }

    #[test]
    fn git_urls_may_name_a_branch() {
        let source = located("https://git.example/team/pack#v1.2").unwrap();

        let expected = BuildpackSource::Git {
            name: "https://git.example/team/pack#v1.2".into(),
            url: "https://git.example/team/pack".into(),
            branch: Some("v1.2".into()),
        };
        assert_eq!(source, expected);
    }

    #[test]
    fn urls_that_git_would_take_for_something_else_are_refused() {
        assert!(matches!(located("ext::sh://x"), Err(UnusableBuildpack::Url { .. })));
        assert!(matches!(located("file:///etc"), Err(UnusableBuildpack::Url { .. })));
        assert!(matches!(
            located("https://a.example/b#--upload-pack=x"),
            Err(UnusableBuildpack::Url { .. })
        ));
        assert!(matches!(
            located("https://a.example/b.zip"),
            Err(UnusableBuildpack::Archive { .. })
        ));
    }

    #[test]
    fn extraction_replaces_other_versions_and_is_repeatable() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("old")).unwrap();

        let first = extract(dir.path()).unwrap();
        let second = extract(dir.path()).unwrap();

        assert_eq!(first, second);
        assert!(!dir.path().join("old").exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_builtin_buildpack_can_detect() {
        let dir = tempfile::tempdir().unwrap();
        let folders = extract(dir.path()).unwrap();

        let modes: Vec<_> = fs::read_dir(folders)
            .unwrap()
            .map(|folder| folder.unwrap().path().join("bin/detect"))
            .map(|detect| fs::metadata(detect).unwrap().permissions().mode() & 0o777)
            .collect();

        assert!(!modes.is_empty());
        assert!(modes.iter().all(|mode| *mode == 0o755));
    }
}
