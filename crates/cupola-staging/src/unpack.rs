//! The role `unpack`: makes the tree of a package from an upload, confined in a sandbox.
//!
//! The whole tree is planned first, from names and modes alone, and refused as a whole when any
//! part of it is wrong. Only then is it written: folders, files, and links at the very end, so that
//! nothing is ever written through a link.

mod archive;
mod droplet;
mod tree;
mod write;

use std::{ffi::OsString, path::Path, process::ExitCode};

use crate::orders::{self, UnpackOrder, UnpackOutcome};

/// Why an upload was not unpacked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UnpackError {
    #[error("{0}")]
    Invalid(String),
    #[error("too large")]
    TooLarge,
    #[error("no files")]
    Empty,
    #[error("{0}")]
    Failed(String),
}

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Unpacked {
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Runs the role. Its one argument is the path of the order; the result is written where the order
/// says. Exits with 0 only when the whole tree is there.
pub fn unpack_main(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let Some(order_path) = arguments.into_iter().next() else {
        return ExitCode::from(2);
    };
    let Ok(order) = orders::read::<UnpackOrder>(Path::new(&order_path)) else {
        return ExitCode::from(2);
    };
    let unpacked = match &order.droplet {
        Some(archive) => droplet::unpack(archive, &order).map(UnpackOutcome::Droplet),
        None => {
            unpack(&order).map(|Unpacked { files, bytes }| UnpackOutcome::Unpacked { files, bytes })
        }
    };
    let outcome = match unpacked {
        Ok(outcome) => outcome,
        Err(UnpackError::Invalid(reason)) => UnpackOutcome::Invalid { reason },
        Err(UnpackError::TooLarge) => UnpackOutcome::TooLarge,
        Err(UnpackError::Empty) => UnpackOutcome::Empty,
        Err(UnpackError::Failed(reason)) => UnpackOutcome::Failed { reason },
    };
    let is_unpacked = matches!(outcome, UnpackOutcome::Unpacked { .. } | UnpackOutcome::Droplet(_));
    let parent_made = order.result.parent().map_or(Ok(()), std::fs::create_dir_all);
    match parent_made
        .map_err(|_| ())
        .and_then(|()| orders::write(&order.result, outcome).map_err(|_| ()))
    {
        Ok(()) if is_unpacked => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(()) => ExitCode::from(3),
    }
}

pub(crate) fn unpack(order: &UnpackOrder) -> Result<Unpacked, UnpackError> {
    let mut tree = tree::Tree::new(order.limits.entries_max);
    let mut archive = order.zip.as_deref().map(archive::Archive::open).transpose()?;
    if let Some(archive) = &mut archive {
        archive.plan(&mut tree, order.limits)?;
    }
    for (index, known) in order.known.iter().enumerate() {
        tree.add_file(&known.path, tree::Content::Known(index), known.mode)?;
    }
    if tree.file_count() == 0 {
        return Err(UnpackError::Empty);
    }
    tree.check_links()?;
    write::write(&tree, archive.as_mut(), order)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::BTreeSet,
        fs,
        io::{Cursor, Write},
        path::PathBuf,
    };

    use proptest::prelude::*;
    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;
    use crate::orders::UnpackLimits;

    #[derive(Clone, Debug)]
    enum Entry {
        File,
        Folder,
        Link(String),
    }

    fn entries() -> impl Strategy<Value = Vec<(String, Entry)>> {
        let entry = prop_oneof![
            4 => Just(Entry::File),
            1 => Just(Entry::Folder),
            2 => "(\\.\\./){0,3}[ab/.]{1,6}".prop_map(Entry::Link),
        ];
        proptest::collection::vec(("[ab./]{1,7}", entry), 1..8)
    }

    /// None if the zip crate itself will not write such a name.
    fn zipped(entries: &[(String, Entry)]) -> Option<Vec<u8>> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default();
        for (name, entry) in entries {
            match entry {
                Entry::File => zip.start_file(name, options).ok()?,
                Entry::Folder => zip.add_directory(name, options).ok()?,
                Entry::Link(target) => zip.add_symlink(name, target, options).ok()?,
            }
            if let Entry::File = entry {
                zip.write_all(b"content").ok()?;
            }
        }
        Some(zip.finish().ok()?.into_inner())
    }

    fn paths_below(folder: &Path) -> BTreeSet<PathBuf> {
        let mut paths = BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_dir() {
                paths.extend(paths_below(&entry.path()));
            }
            paths.insert(entry.path());
        }
        paths
    }

    proptest! {
        #[test]
        fn whatever_a_zip_names_nothing_changes_outside_of_its_folder(entries in entries()) {
            let dir = tempfile::tempdir().unwrap();
            let root = dir.path().canonicalize().unwrap();
            let app = root.join("home/app");
            fs::create_dir_all(&app).unwrap();
            fs::write(root.join("a"), "untouched").unwrap();
            fs::write(root.join("home/b"), "untouched").unwrap();
            let zip = zipped(&entries);
            fs::write(root.join("upload.zip"), zip.clone().unwrap_or_default()).unwrap();
            let before = paths_below(&root);
            let limits = UnpackLimits { entries_max: 100, bytes_max: 1 << 20, ratio_max: 100 };
            let order = UnpackOrder {
                zip: Some(root.join("upload.zip")),
                droplet: None,
                known_dir: root.join("known"),
                known: Vec::new(),
                into: app.clone(),
                result: root.join("result.json"),
                limits,
            };

            let outcome = unpack(&order);

            let new: Vec<_> = paths_below(&root).difference(&before).cloned().collect();
            prop_assert!(new.iter().all(|path| path.starts_with(&app)), "{new:?}");
            prop_assert_eq!(fs::read_to_string(root.join("a")).unwrap(), "untouched");
            prop_assert_eq!(fs::read_to_string(root.join("home/b")).unwrap(), "untouched");
            prop_assert!(outcome.is_ok() || new.is_empty(), "a refused upload left {new:?}");
            for path in new.iter().filter_map(|path| path.canonicalize().ok()) {
                prop_assert!(path.starts_with(&app), "{} is outside", path.display());
            }
        }
    }
}
