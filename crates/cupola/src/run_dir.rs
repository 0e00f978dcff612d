//! The run directory: taken by `up`, given up by `down`.
//!
//! Invariant: a folder that `--run-dir` names by mistake is neither changed nor emptied.

use std::{
    fs, io,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

/// Says that an installation runs here and was not torn down.
const DESCRIPTION: &str = "runtime.json";
const OURS: [&str; 6] =
    ["api.sock", "router.sock", DESCRIPTION, "runtime.unfinished", "instances", "runc"];

/// Where the router listens for control.
pub(crate) fn router_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("router.sock")
}

/// Where the administrator of the machine needs no login.
pub(crate) fn api_socket(run_dir: &Path) -> PathBuf {
    run_dir.join("api.sock")
}

/// Makes the directory, searchable for everybody, because containers reach their files through it,
/// and readable for nobody else.
pub(crate) fn take(run_dir: &Path) -> anyhow::Result<()> {
    let name = run_dir.display();
    fs::create_dir_all(run_dir).with_context(|| {
        format!("cannot make the run directory {name}; choose another with --run-dir")
    })?;
    check_names(run_dir)?;
    fs::set_permissions(run_dir, fs::Permissions::from_mode(0o711))
        .with_context(|| format!("cannot set the permissions of the run directory {name}"))
}

/// Fails if the folder is somebody else's. One that is not there is fine.
pub(crate) fn check(run_dir: &Path, data_dir: &Path) -> anyhow::Result<()> {
    if cupola_runtime::is_of_another(run_dir, data_dir)? {
        bail!(
            "the run directory {} is in use by an installation with another data directory than \
             {}: --run-dir and --data-dir must be those of one installation",
            run_dir.display(),
            data_dir.display()
        );
    }
    check_names(run_dir)
}

fn check_names(run_dir: &Path) -> anyhow::Result<()> {
    let entries = entries(run_dir)?;
    let is_in_use = entries.iter().any(|name| name == DESCRIPTION);
    match entries.iter().find(|name| !is_ours(name)) {
        Some(foreign) if !is_in_use => bail!(
            "the run directory {} holds `{foreign}`, which is not Cupola's: name a new or empty \
             directory, or the one of an installation, with --run-dir",
            run_dir.display()
        ),
        _ => Ok(()),
    }
}

/// Removes what is ours, and the directory if that was all. The runtime has been torn down, so that
/// our folders are empty.
pub(crate) fn give_up(run_dir: &Path) -> anyhow::Result<()> {
    for name in entries(run_dir)?.iter().filter(|name| is_ours(name)) {
        let path = run_dir.join(name);
        let removed = if path.is_dir() { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        removed.with_context(|| format!("cannot remove {}", path.display()))?;
    }
    match fs::remove_dir(run_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.with_context(|| format!("cannot remove {}", run_dir.display())),
    }
}

fn is_ours(name: &str) -> bool {
    // The router makes its socket under another name first.
    OURS.contains(&name) || (name.starts_with("router.") && name.ends_with(".tmp"))
}

fn entries(folder: &Path) -> anyhow::Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.with_context(|| format!("cannot read {}", folder.display()))?,
    };
    entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn a_folder_of_somebody_else_is_neither_taken_nor_emptied() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("thesis.tex"), "years of work").unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o700)).unwrap();

        let refused = take(folder.path()).unwrap_err().to_string();

        assert!(refused.contains("`thesis.tex`") && refused.contains("--run-dir"), "{refused}");
        assert_eq!(mode(folder.path()), 0o700);
        assert!(check(folder.path(), Path::new("/data")).is_err());
        assert!(give_up(folder.path()).is_err());
        assert!(folder.path().join("thesis.tex").exists());
    }

    #[test]
    fn a_folder_of_ours_is_taken_again_and_removed_whole() {
        let folder = tempfile::tempdir().unwrap();
        let run_dir = folder.path().join("deep/run");
        take(&run_dir).unwrap();
        fs::write(api_socket(&run_dir), "").unwrap();
        fs::write(run_dir.join("router.7.tmp"), "").unwrap();
        fs::create_dir(run_dir.join("instances")).unwrap();

        take(&run_dir).unwrap();
        assert_eq!(mode(&run_dir), 0o711);
        give_up(&run_dir).unwrap();

        assert!(!run_dir.exists());
        assert!(folder.path().join("deep").exists());
        give_up(&run_dir).unwrap();
    }

    #[test]
    fn a_stray_file_does_not_lock_out_the_installation_that_runs_here() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("runtime.json"), "{}").unwrap();
        fs::write(folder.path().join("stray"), "").unwrap();

        take(folder.path()).unwrap();
    }
}
