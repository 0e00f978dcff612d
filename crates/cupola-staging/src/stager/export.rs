//! A droplet as an archive: its layers, one after the other, in the shape of Cloud Foundry's.
//!
//! It is made while it is read, so that it takes neither memory nor disk. Trees are walked in the
//! order of their digests and times are those of the files, so that it always has the same bytes.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs::{self, File, Metadata, OpenOptions},
    io::{self, Write},
    os::unix::{
        ffi::OsStrExt,
        fs::{MetadataExt, OpenOptionsExt},
    },
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use cupola_domain::{commits::without_login, droplets::DropletContents};
use cupola_ports::{
    sandbox::SandboxError,
    stager::{DropletArchive, ExportError},
};
use flate2::{Compression, write::GzEncoder};
use rustix::fs::OFlags;
use tar::{Builder, EntryType, Header};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, mpsc},
    time::{Instant, timeout_at},
};
use tracing::warn;

use super::BuildpackStager;
use crate::{droplet_archive::RECORD, orders::inside};

/// An archive is handed over in pieces of this size, of which few wait to be taken.
const PIECE_BYTES: usize = 64 << 10;
const PIECES_MAX: usize = 8;
/// A reader that takes nothing for this long does not keep others waiting any more.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Nor does one that takes little again and again: nobody needs longer for a whole droplet.
const EXPORT_MAX: Duration = Duration::from_secs(60 * 60);
/// How long a link name can be in the header of an entry.
const LINK_NAME_MAX: usize = 100;
const VCAP: u64 = 2000;

impl BuildpackStager {
    pub(super) async fn export_droplet(
        &self,
        contents: DropletContents,
    ) -> Result<DropletArchive, ExportError> {
        let turn = self.exports.clone().try_acquire_owned().map_err(|_| ExportError::Busy)?;
        let mut trees = Vec::new();
        for layer in &contents.layers {
            let tree = self.layers.folder(layer, inside::HOME).await.map_err(|e| match e {
                SandboxError::LayerMissing { .. } => ExportError::Gone,
                other => ExportError::Platform(other.to_string()),
            })?;
            trees.extend(tree);
        }
        let record = record(contents).map_err(|e| ExportError::Platform(e.to_string()))?;
        let (pieces, archive) = mpsc::channel(PIECES_MAX);
        let patience = Patience { pause_max: PAUSE_MAX, until: Instant::now() + EXPORT_MAX };
        let pipe =
            Pipe { pieces, runtime: Handle::current(), piece: Vec::new(), patience, _turn: turn };
        tokio::task::spawn_blocking(move || pack(&record, &trees, pipe));
        Ok(archive)
    }
}

/// The metadata without what is not for whoever the archive is given to.
fn record(mut contents: DropletContents) -> serde_json::Result<Vec<u8>> {
    for buildpack in &mut contents.buildpacks {
        buildpack.name = without_login(&buildpack.name);
    }
    serde_json::to_vec(&contents)
}

fn pack(record: &[u8], trees: &[PathBuf], pipe: Pipe) {
    let failing = pipe.clone_for_failure();
    let packed = write(record, trees, pipe);
    if let Err(error) = packed {
        // Either the reader is gone, which is its affair, or the platform could not go on.
        if error.kind() != io::ErrorKind::BrokenPipe {
            warn!(%error, "a droplet was not packed to its end");
        }
        failing.fail(error);
    }
}

fn write(record: &[u8], trees: &[PathBuf], pipe: Pipe) -> io::Result<()> {
    let mut tar = Builder::new(GzEncoder::new(pipe, Compression::fast()));
    tar.append_data(&mut folder_header(0o755, 0), "./", io::empty())?;
    let mut header = header(EntryType::Regular, 0o644, 0);
    header.set_size(record.len() as u64);
    tar.append_data(&mut header, RECORD, record)?;
    // Cloud Foundry's launcher wants it to be there.
    tar.append_data(&mut folder_header(0o755, 0), "tmp/", io::empty())?;
    for tree in trees {
        let mut layer = Layer { tar: &mut tar, links: HashMap::new() };
        layer.folder(tree, Path::new(""))?;
    }
    tar.into_inner()?.finish()?.finish()
}

/// One layer on its way into the archive.
struct Layer<'a, W: Write> {
    tar: &'a mut Builder<W>,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), PathBuf>,
}

impl<W: Write> Layer<'_, W> {
    fn folder(&mut self, folder: &Path, path: &Path) -> io::Result<()> {
        let mut names: Vec<_> = fs::read_dir(folder)?
            .map(|entry| entry.map(|entry| entry.file_name()))
            .collect::<io::Result<_>>()?;
        names.sort();
        for name in names {
            let (source, inner) = (folder.join(&name), path.join(&name));
            let metadata = fs::symlink_metadata(&source)?;
            if metadata.is_dir() {
                let mut header = header_of(EntryType::Directory, &metadata);
                self.tar.append_data(&mut header, as_folder(&inner), io::empty())?;
                self.folder(&source, &inner)?;
            } else if metadata.is_symlink() {
                self.symlink(&source, &inner, &metadata)?;
            } else if metadata.is_file() {
                self.file(&source, &inner, &metadata)?;
            }
        }
        Ok(())
    }

    fn file(&mut self, source: &Path, path: &Path, metadata: &Metadata) -> io::Result<()> {
        if metadata.nlink() > 1 {
            let identity = (metadata.dev(), metadata.ino());
            if let Some(first) = self.links.get(&identity) {
                let mut header = header_of(EntryType::Link, metadata);
                return self.tar.append_link(&mut header, path, first);
            }
            self.links.insert(identity, path.to_owned());
        }
        let mut header = header_of(EntryType::Regular, metadata);
        header.set_size(metadata.len());
        self.tar.append_data(&mut header, path, open(source)?)
    }

    fn symlink(&mut self, source: &Path, path: &Path, metadata: &Metadata) -> io::Result<()> {
        let target = fs::read_link(source)?;
        let mut header = header_of(EntryType::Symlink, metadata);
        // Only the file's own time tells anything.
        header.set_mtime(0);
        // `append_link` tidies the text of the link, which must stay as it is where it can.
        if target.as_os_str().len() <= LINK_NAME_MAX {
            header.set_link_name_literal(target.as_os_str().as_bytes())?;
            self.tar.append_data(&mut header, path, io::empty())
        } else {
            self.tar.append_link(&mut header, path, target)
        }
    }
}

fn open(source: &Path) -> io::Result<File> {
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    OpenOptions::new().read(true).custom_flags(no_follow).open(source)
}

fn header_of(kind: EntryType, metadata: &Metadata) -> Header {
    let mode = if kind == EntryType::Symlink { 0o777 } else { metadata.mode() & 0o777 };
    let mut header = header(kind, mode, u64::try_from(metadata.mtime()).unwrap_or(0));
    header.set_uid(u64::from(metadata.uid()));
    header.set_gid(u64::from(metadata.gid()));
    header
}

fn folder_header(mode: u32, modified_s: u64) -> Header {
    header(EntryType::Directory, mode, modified_s)
}

fn header(kind: EntryType, mode: u32, modified_s: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_size(0);
    header.set_mode(mode);
    header.set_uid(VCAP);
    header.set_gid(VCAP);
    header.set_mtime(modified_s);
    header
}

/// A folder's name ends with `/` in a tar.
fn as_folder(path: &Path) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(OsStr::new("/"));
    text.into()
}

/// Hands over what is written, piece by piece, and waits while nobody takes it.
struct Pipe {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    runtime: Handle,
    piece: Vec<u8>,
    patience: Patience,
    _turn: OwnedSemaphorePermit,
}

/// How long a reader is waited for.
#[derive(Clone, Copy)]
struct Patience {
    pause_max: Duration,
    until: Instant,
}

impl Patience {
    fn ends(self) -> Instant {
        self.until.min(Instant::now() + self.pause_max)
    }
}

/// Tells the reader that no more will come.
struct Failing(mpsc::Sender<io::Result<Bytes>>, Handle);

impl Failing {
    /// However late it reads on: without the error it would take what it has for the whole. Waits
    /// as long as the reader is there, which costs others nothing, as the turn has been given back.
    fn fail(self, error: io::Error) {
        let Self(pieces, runtime) = self;
        runtime.spawn(async move {
            // A reader that is gone needs not be told.
            let _ = pieces.send(Err(error)).await;
        });
    }
}

impl Pipe {
    fn clone_for_failure(&self) -> Failing {
        Failing(self.pieces.clone(), self.runtime.clone())
    }

    fn finish(mut self) -> io::Result<()> {
        self.hand_over()
    }

    fn hand_over(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = Bytes::from(std::mem::take(&mut self.piece));
        let sent = self.runtime.block_on(async {
            timeout_at(self.patience.ends(), self.pieces.send(Ok(piece))).await
        });
        match sent {
            Ok(Ok(())) => Ok(()),
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(bytes);
        if self.piece.len() >= PIECE_BYTES {
            self.hand_over()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.hand_over()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::{sync::Semaphore, task::JoinHandle, time::timeout};

    use super::*;

    const LONG: Duration = Duration::from_secs(60);
    const SHORT: Duration = Duration::from_millis(50);

    /// Packs more than the reader's queue holds.
    fn packing(
        tree: &Path,
        patience: Patience,
    ) -> (JoinHandle<()>, mpsc::Receiver<io::Result<Bytes>>) {
        let noise: Vec<u8> = (0_u64..64 << 10)
            .flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29).to_le_bytes())
            .collect();
        fs::write(tree.join("noise"), noise).unwrap();
        let _turn = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
        let (pieces, archive) = mpsc::channel(1);
        let pipe = Pipe { pieces, runtime: Handle::current(), piece: Vec::new(), patience, _turn };
        let trees = [tree.to_owned()];
        (tokio::task::spawn_blocking(move || pack(b"{}", &trees, pipe)), archive)
    }

    #[tokio::test]
    async fn reader_that_pauses_for_too_long_is_told_when_it_reads_on() {
        let tree = tempfile::tempdir().unwrap();
        let patience = Patience { pause_max: SHORT, until: Instant::now() + LONG };
        let (packing, mut archive) = packing(tree.path(), patience);

        packing.await.unwrap();
        let mut pieces = Vec::new();
        while let Some(piece) = archive.recv().await {
            pieces.push(piece);
        }

        assert!(pieces.first().unwrap().is_ok());
        assert!(pieces.last().unwrap().is_err(), "the archive ends as if it were whole");
    }

    #[tokio::test]
    async fn reader_that_never_pauses_for_long_has_an_end_of_its_time_too() {
        let tree = tempfile::tempdir().unwrap();
        let patience = Patience { pause_max: LONG, until: Instant::now() + SHORT };

        let (packing, _archive) = packing(tree.path(), patience);

        timeout(LONG / 2, packing).await.expect("it goes on").unwrap();
    }
}
