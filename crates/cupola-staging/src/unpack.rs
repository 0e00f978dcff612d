//! The role `unpack`: makes the tree of a package from an upload, confined in a sandbox.
//!
//! The whole tree is planned first, from names and modes alone, and refused as a whole when any
//! part of it is wrong. Only then is it written: folders, files, and links at the very end, so that
//! nothing is ever written through a link.

mod archive;
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
    let outcome = match unpack(&order) {
        Ok(Unpacked { files, bytes }) => UnpackOutcome::Unpacked { files, bytes },
        Err(UnpackError::Invalid(reason)) => UnpackOutcome::Invalid { reason },
        Err(UnpackError::TooLarge) => UnpackOutcome::TooLarge,
        Err(UnpackError::Empty) => UnpackOutcome::Empty,
        Err(UnpackError::Failed(reason)) => UnpackOutcome::Failed { reason },
    };
    let is_unpacked = matches!(outcome, UnpackOutcome::Unpacked { .. });
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
