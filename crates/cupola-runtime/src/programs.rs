//! Finds programs of the distribution.
//!
//! Some are in `sbin`, which is not in the search path of everybody who became root.

use std::path::{Path, PathBuf};

const FOLDERS: [&str; 6] =
    ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/local/bin", "/usr/bin", "/bin"];

/// The path of a program that is given by its name. Others stay as they are.
pub(crate) fn find(program: &Path) -> PathBuf {
    if program.components().count() != 1 {
        return program.to_owned();
    }
    FOLDERS
        .iter()
        .map(|folder| Path::new(folder).join(program))
        .find(|candidate| candidate.is_file())
        .unwrap_or_else(|| program.to_owned())
}

/// The OCI runtime of this host: `runc`, or `crun` where only that is there.
pub fn default_runtime() -> PathBuf {
    first_there(&["runc", "crun"], &FOLDERS.map(Path::new))
}

/// The first of these names that is in one of the folders, or else the first name.
fn first_there(names: &[&str], folders: &[&Path]) -> PathBuf {
    let is_there = |name: &&&str| folders.iter().any(|folder| folder.join(name).is_file());
    PathBuf::from(names.iter().find(is_there).unwrap_or(&names[0]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_and_a_path_is_kept() {
        assert!(find(Path::new("sh")).is_absolute());
        assert_eq!(find(Path::new("/opt/runc")), Path::new("/opt/runc"));
        assert_eq!(find(Path::new("no-such-program")), Path::new("no-such-program"));
    }

    #[test]
    fn a_host_with_crun_alone_gets_crun_and_one_with_both_gets_runc() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [Path::new("/nonexistent"), folder.path()];
        assert_eq!(first_there(&["runc", "crun"], &folders), Path::new("runc"));

        std::fs::write(folder.path().join("crun"), "").unwrap();
        assert_eq!(first_there(&["runc", "crun"], &folders), Path::new("crun"));

        std::fs::write(folder.path().join("runc"), "").unwrap();
        assert_eq!(first_there(&["runc", "crun"], &folders), Path::new("runc"));
    }
}
