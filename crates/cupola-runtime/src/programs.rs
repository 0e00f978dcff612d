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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_looked_up_and_a_path_is_kept() {
        assert!(find(Path::new("sh")).is_absolute());
        assert_eq!(find(Path::new("/opt/runc")), Path::new("/opt/runc"));
        assert_eq!(find(Path::new("no-such-program")), Path::new("no-such-program"));
    }
}
