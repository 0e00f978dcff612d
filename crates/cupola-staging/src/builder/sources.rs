//! Where a buildpack comes from: a folder that is there, or a git repository.

use std::{
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::Failure;
use crate::orders::{BuildStep, BuildpackSource};

/// Its folder. A repository is cloned below `into`.
pub(super) fn fetch(source: &BuildpackSource, into: &Path) -> Result<PathBuf, Failure> {
    match source {
        BuildpackSource::Folder { path, .. } => Ok(path.clone()),
        BuildpackSource::Git { name, url, branch } => {
            clone(url, branch.as_deref(), into)
                .map_err(|e| Failure::of(BuildStep::Prepare, name, e))?;
            unwrapped(into)
        }
    }
}

fn clone(url: &str, branch: Option<&str>, into: &Path) -> Result<(), String> {
    let mut command = Command::new("git");
    command.args([
        "clone",
        "--quiet",
        "--depth",
        "1",
        "--recurse-submodules",
        "--shallow-submodules",
    ]);
    if let Some(branch) = branch {
        command.args(["--branch", branch]);
    }
    command.arg("--").arg(url).arg(into);
    // It must neither ask for a password nor run a helper that a URL names.
    command
        .env("GIT_TERMINAL_PROMPT", "0")
        .env("GIT_ALLOW_PROTOCOL", "https:http:git:ssh:file")
        .stdin(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("could not be cloned with git; check its URL and branch, and that the build may reach its host".to_owned()),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            Err("cannot be fetched: the stack has no `git`; use a built-in buildpack or a stack with git".to_owned())
        }
        Err(e) => Err(format!("could not be cloned: git did not start: {e}")),
    }
}

/// Some repositories hold the buildpack in their one folder.
fn unwrapped(folder: &Path) -> Result<PathBuf, Failure> {
    if folder.join("bin").is_dir() {
        return Ok(folder.to_owned());
    }
    let entries = folder
        .read_dir()
        .map_err(|e| Failure::new(BuildStep::Prepare, format!("the clone cannot be read: {e}")))?;
    let inner = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.file_name() != Some(OsStr::new(".git")) && path.join("bin").is_dir());
    Ok(inner.unwrap_or_else(|| folder.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, arguments: &[&str]) {
        let command = Command::new("git")
            .args(["-c", "user.name=t", "-c", "user.email=t@example", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(folder)
            .output();
        assert!(command.unwrap().status.success());
    }

    /// A repository whose branch `odd` holds the buildpack in its one folder.
    fn repository(folder: &Path) -> String {
        git(folder, &["init", "-q", "-b", "main"]);
        std::fs::create_dir_all(folder.join("bin")).unwrap();
        std::fs::write(folder.join("bin/detect"), "main").unwrap();
        git(folder, &["add", "."]);
        git(folder, &["commit", "-q", "-m", "one"]);
        git(folder, &["checkout", "-q", "-b", "odd"]);
        std::fs::create_dir_all(folder.join("nested")).unwrap();
        git(folder, &["mv", "bin", "nested/bin"]);
        git(folder, &["commit", "-q", "-m", "two"]);
        git(folder, &["checkout", "-q", "main"]);
        format!("file://{}", folder.display())
    }

    fn cloned(url: &str, branch: Option<&str>, into: &Path) -> Result<PathBuf, Failure> {
        let branch = branch.map(str::to_owned);
        let name = "pack".to_owned();
        fetch(&BuildpackSource::Git { name, url: url.to_owned(), branch }, into)
    }

    #[test]
    fn a_repository_is_cloned_at_its_default_branch_or_the_one_that_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        std::fs::create_dir(&origin).unwrap();
        let url = repository(&origin);

        let main = cloned(&url, None, &dir.path().join("a")).unwrap();
        let odd = cloned(&url, Some("odd"), &dir.path().join("b")).unwrap();

        assert_eq!(std::fs::read_to_string(main.join("bin/detect")).unwrap(), "main");
        assert_eq!(odd, dir.path().join("b/nested"));
    }

    #[test]
    fn a_branch_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let origin = dir.path().join("origin");
        std::fs::create_dir(&origin).unwrap();
        let url = repository(&origin);

        let failure = cloned(&url, Some("none"), &dir.path().join("a")).unwrap_err();

        assert!(
            failure.cause.starts_with("could not be cloned with git; check its URL and branch")
        );
    }
}
