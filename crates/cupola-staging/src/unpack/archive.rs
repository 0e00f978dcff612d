//! Reads the zip of an upload.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use zip::{ZipArchive, result::ZipError};

use super::{
    UnpackError,
    tree::{Content, LINK_BYTES_MAX, Tree},
};
use crate::orders::UnpackLimits;

const TYPE_BITS: u32 = 0o170_000;
const FOLDER: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const LINK: u32 = 0o120_000;

pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    pub(super) bytes: u64,
}

impl Archive {
    pub(super) fn open(path: &Path) -> Result<Self, UnpackError> {
        let failed = |e: io::Error| UnpackError::Failed(format!("cannot open the upload: {e}"));
        let file = File::open(path).map_err(failed)?;
        let bytes = file.metadata().map_err(failed)?.len();
        let zip = ZipArchive::new(BufReader::new(file)).map_err(|error| {
            UnpackError::Invalid(format!(
                "it is not a whole zip file ({}); push again",
                described(&error)
            ))
        })?;
        Ok(Self { zip, bytes })
    }

    /// Adds every entry to the tree, without unpacking anything but the targets of links.
    pub(super) fn plan(
        &mut self,
        tree: &mut Tree,
        limits: UnpackLimits,
    ) -> Result<(), UnpackError> {
        if self.zip.has_duplicate_names() {
            return Err(UnpackError::Invalid("it names a path twice".to_owned()));
        }
        if self.zip.len() > limits.entries_max {
            return Err(UnpackError::Invalid(format!(
                "it has more than {} files and folders; list what the app does not need in .cfignore",
                limits.entries_max
            )));
        }
        let mut bytes_declared: u64 = 0;
        for index in 0..self.zip.len() {
            bytes_declared = bytes_declared.saturating_add(self.plan_entry(tree, index)?);
        }
        // What is declared may be a lie; the writer counts again.
        if bytes_declared > limits.bytes_max { Err(UnpackError::TooLarge) } else { Ok(()) }
    }

    fn plan_entry(&mut self, tree: &mut Tree, index: usize) -> Result<u64, UnpackError> {
        let mut entry = self.zip.by_index(index).map_err(|e| damaged("an entry", &e))?;
        let name = match std::str::from_utf8(entry.name_raw()) {
            Ok(name) => name.to_owned(),
            Err(_) => entry.name().map_err(|e| damaged("an entry", &e))?.into_owned(),
        };
        let mode = entry.unix_mode().unwrap_or(0);
        match mode & TYPE_BITS {
            FOLDER => tree.add_folder(&name, mode)?,
            0 | REGULAR if name.ends_with('/') => tree.add_folder(&name, 0)?,
            0 | REGULAR => {
                tree.add_file(&name, Content::Zipped(index), mode)?;
                return Ok(entry.size());
            }
            LINK => {
                let mut target = String::new();
                let read = (&mut entry).take(LINK_BYTES_MAX + 1).read_to_string(&mut target);
                let is_usable = read.is_ok() && target.len() as u64 <= LINK_BYTES_MAX;
                if !is_usable {
                    return Err(UnpackError::Invalid(format!(
                        "the symbolic link `{}` is damaged or too long",
                        name.escape_debug()
                    )));
                }
                tree.add_link(&name, &target)?;
            }
            _ => {
                return Err(UnpackError::Invalid(format!(
                    "`{}` is neither file, folder nor symbolic link",
                    name.escape_debug()
                )));
            }
        }
        Ok(0)
    }

    /// The content of one entry. Its checksum is checked when it is read to its end.
    pub(super) fn content(&mut self, index: usize) -> Result<impl Read + '_, UnpackError> {
        self.zip.by_index(index).map_err(|error| damaged("an entry", &error))
    }
}

fn damaged(what: &str, error: &ZipError) -> UnpackError {
    UnpackError::Invalid(format!("{what} of the zip cannot be read ({})", described(error)))
}

fn described(error: &ZipError) -> String {
    match error {
        ZipError::CompressionMethodNotSupported(_) => {
            "it is compressed in another way than `deflate`".to_owned()
        }
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            "it is protected by a password".to_owned()
        }
        other => other.to_string(),
    }
}
