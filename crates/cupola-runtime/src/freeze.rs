//! Copies trees of an ended container into a layer, and names it by its digest.
//!
//! The digest is the SHA-256 of a canonical tar: depth first, names sorted by their bytes, times at
//! zero, owners relative to the container, permissions without set-uid, set-gid and sticky bits of
//! files. Times stay on the files themselves, because compiled Python refers to them, but two trees
//! that differ in nothing else are the same layer.
//!
//! Invariant: the tree is hostile. Every step goes through directory descriptors and follows no
//! link; only directories, regular files, hard links among them, and symbolic links are kept.

use std::{
    collections::{BTreeMap, HashMap},
    ffi::{CStr, CString, OsStr},
    fs::File,
    io::{self, Read, Write},
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::FileExt},
    },
    path::{Path, PathBuf},
};

use cupola_domain::droplets::LayerDigest;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, chownat, fchmod, linkat,
    mkdirat, openat, readlinkat, statat, symlinkat, utimensat,
};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

/// Deeper trees than this are refused: each level holds two descriptors.
const DEPTH_MAX: usize = 200;
const ENTRIES_MAX: u64 = 2_000_000;
/// What fits into the header of a tar entry.
const LINK_NAME_MAX: usize = 100;

/// A finished copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frozen {
    pub(crate) digest: LayerDigest,
    pub(crate) bytes: u64,
    pub(crate) entries: u64,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum FreezeError {
    #[error("its files are larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("it has folders deeper than {DEPTH_MAX} levels")]
    TooDeep,
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooMany,
    #[error("cannot copy `{}`", path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

/// Copies `paths`, absolute in the tree `root`, into the new folder `into`. Owners are shifted down
/// by `uid_base`; those outside of its 65536 ids become root.
pub(crate) fn freeze(
    root: BorrowedFd<'_>,
    paths: &[String],
    into: &Path,
    uid_base: u32,
    bytes_max: u64,
) -> Result<Frozen, FreezeError> {
    let at = |source: rustix::io::Errno| FreezeError::Io {
        path: into.to_owned(),
        source: source.into(),
    };
    mkdirat(CWD, into, Mode::from(0o755)).map_err(at)?;
    let target = open_folder(CWD, &c_string(into.as_os_str().as_bytes())).map_err(at)?;
    let mut copy = Copy {
        tar: Builder::new(Hasher(Sha256::new())),
        uid_base,
        bytes_max,
        bytes: 0,
        entries: 0,
        links: HashMap::new(),
    };
    let source =
        openat(root, c".", OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(at)?;
    copy.folder(&source, &target, Path::new(""), &Selection::of(paths), 0)?;
    let hasher = copy
        .tar
        .into_inner()
        .map_err(|source| FreezeError::Io { path: into.to_owned(), source })?;
    Ok(Frozen {
        digest: LayerDigest::from_sha256(hasher.0.finalize().into()),
        bytes: copy.bytes,
        entries: copy.entries,
    })
}

/// Reads one file, absolute in the tree `root`, unless it is larger than `bytes_max` or reached
/// through a link.
pub(crate) fn read_file(
    root: BorrowedFd<'_>,
    path: &str,
    bytes_max: u64,
) -> io::Result<Option<Vec<u8>>> {
    let Some(file) =
        open_beneath(root, path.trim_start_matches('/'), OFlags::RDONLY | OFlags::NONBLOCK)?
    else {
        return Ok(None);
    };
    let metadata = rustix::fs::fstat(&file)?;
    let size = u64::try_from(metadata.st_size).unwrap_or(u64::MAX);
    if FileType::from_raw_mode(metadata.st_mode) != FileType::RegularFile || size > bytes_max {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    File::from(file).take(bytes_max).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Opens a path below `root` without following any link. None if there is no such path.
pub(crate) fn open_beneath(
    root: BorrowedFd<'_>,
    path: &str,
    flags: OFlags,
) -> io::Result<Option<OwnedFd>> {
    use rustix::{fs::ResolveFlags, io::Errno};
    let path = if path.is_empty() { "." } else { path };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match rustix::fs::openat2(root, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::XDEV | Errno::NXIO) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Which part of a folder is kept.
#[derive(Debug, PartialEq, Eq)]
enum Selection {
    All,
    Only(BTreeMap<Vec<u8>, Self>),
}

impl Selection {
    fn of(paths: &[String]) -> Self {
        let mut top = Self::Only(BTreeMap::new());
        for path in paths {
            let mut place = &mut top;
            for part in path.split('/').filter(|part| !matches!(*part, "" | "." | "..")) {
                match place {
                    Self::All => break,
                    Self::Only(parts) => {
                        place = parts
                            .entry(part.as_bytes().to_vec())
                            .or_insert_with(|| Self::Only(BTreeMap::new()));
                    }
                }
            }
            *place = Self::All;
        }
        top
    }

    /// What is kept of this entry, if it is kept at all.
    fn entry(&self, name: &[u8]) -> Option<&Self> {
        match self {
            Self::All => Some(&Self::All),
            Self::Only(parts) => parts.get(name),
        }
    }
}

struct Copy {
    tar: Builder<Hasher>,
    uid_base: u32,
    bytes_max: u64,
    bytes: u64,
    entries: u64,
    /// The first name of each file that has several.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Copy {
    fn folder(
        &mut self,
        source: &OwnedFd,
        target: &OwnedFd,
        path: &Path,
        selection: &Selection,
        depth: usize,
    ) -> Result<(), FreezeError> {
        if depth > DEPTH_MAX {
            return Err(FreezeError::TooDeep);
        }
        let at = |error: rustix::io::Errno| io_at(path, error.into());
        for name in sorted_names(source).map_err(at)? {
            let Some(part) = selection.entry(name.as_bytes()) else { continue };
            let inner = path.join(OsStr::from_bytes(name.as_bytes()));
            let place = Place { source, target, name: &name, path: &inner };
            self.entry(&place, part, depth).map_err(|error| match error {
                StepError::Freeze(error) => error,
                StepError::Io(source) => io_at(&inner, source),
            })?;
        }
        Ok(())
    }

    fn entry(
        &mut self,
        place: &Place<'_>,
        part: &Selection,
        depth: usize,
    ) -> Result<(), StepError> {
        let stat = statat(place.source, place.name, AtFlags::SYMLINK_NOFOLLOW)?;
        let kind = FileType::from_raw_mode(stat.st_mode);
        // A selected path that leads through something else than folders is not there.
        if kind != FileType::Directory && *part != Selection::All {
            return Ok(());
        }
        if matches!(kind, FileType::Directory | FileType::RegularFile | FileType::Symlink) {
            self.entries += 1;
            if self.entries > ENTRIES_MAX {
                return Err(FreezeError::TooMany.into());
            }
        }
        match kind {
            FileType::Directory => self.sub_folder(place, &stat, part, depth),
            FileType::RegularFile => self.file(place, &stat),
            FileType::Symlink => self.symlink(place, &stat),
            // Sockets and pipes mean nothing after their process; devices cannot be made inside.
            _ => Ok(()),
        }
    }

    fn sub_folder(
        &mut self,
        place: &Place<'_>,
        stat: &Stat,
        part: &Selection,
        depth: usize,
    ) -> Result<(), StepError> {
        let mut header = self.header(EntryType::Directory, stat, 0);
        self.tar.append_data(&mut header, as_folder(place.path), io::empty())?;
        mkdirat(place.target, place.name, Mode::from(0o700))?;
        let source = open_folder(place.source.as_fd(), place.name)?;
        let target = open_folder(place.target.as_fd(), place.name)?;
        self.folder(&source, &target, place.path, part, depth + 1)?;
        fchmod(&target, mode_of(stat))?;
        self.own(place, stat)?;
        Ok(())
    }

    fn file(&mut self, place: &Place<'_>, stat: &Stat) -> Result<(), StepError> {
        let identity = (stat.st_dev, stat.st_ino);
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&identity) {
                return self.hard_link(place, stat, &first.clone());
            }
            self.links.insert(identity, place.path.to_owned());
        }
        let size = u64::try_from(stat.st_size).unwrap_or(u64::MAX);
        self.bytes = self.bytes.saturating_add(size);
        if self.bytes > self.bytes_max {
            return Err(FreezeError::TooLarge { bytes_max: self.bytes_max }.into());
        }
        let read = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = File::from(openat(place.source, place.name, read, Mode::empty())?);
        let write =
            OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = File::from(openat(place.target, place.name, write, Mode::from(0o600))?);
        let mut header = self.header(EntryType::Regular, stat, size);
        let mut both = Tee { source: source.take(size), target: &target, at: 0 };
        self.tar.append_data(&mut header, place.path, &mut both)?;
        // What ends in a hole is as long as its source.
        target.set_len(both.at)?;
        fchmod(&target, mode_of(stat))?;
        self.own(place, stat)?;
        Ok(())
    }

    fn hard_link(&mut self, place: &Place<'_>, stat: &Stat, first: &Path) -> Result<(), StepError> {
        let mut header = self.header(EntryType::Link, stat, 0);
        self.tar.append_link(&mut header, place.path, first)?;
        // The first name lies in the copy, which only we write: no link can be on the way.
        let mut up = PathBuf::new();
        for _ in 1..place.path.components().count() {
            up.push("..");
        }
        linkat(place.target, up.join(first), place.target, place.name, AtFlags::empty())?;
        Ok(())
    }

    fn symlink(&mut self, place: &Place<'_>, stat: &Stat) -> Result<(), StepError> {
        let leads_to = readlinkat(place.source, place.name, Vec::new())?;
        let mut header = self.header(EntryType::Symlink, stat, 0);
        let leads_to_path = Path::new(OsStr::from_bytes(leads_to.as_bytes()));
        // `append_link` tidies the text of the link, which must stay as it is where it can.
        if leads_to.as_bytes().len() <= LINK_NAME_MAX {
            header.set_link_name_literal(leads_to.as_bytes())?;
            self.tar.append_data(&mut header, place.path, io::empty())?;
        } else {
            self.tar.append_link(&mut header, place.path, leads_to_path)?;
        }
        symlinkat(&leads_to, place.target, place.name)?;
        self.own(place, stat)?;
        Ok(())
    }

    /// Gives the copy its owner and its times.
    fn own(&self, place: &Place<'_>, stat: &Stat) -> rustix::io::Result<()> {
        let uid = Uid::from_raw(self.shifted(stat.st_uid));
        let gid = Gid::from_raw(self.shifted(stat.st_gid));
        chownat(place.target, place.name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        let time = rustix::fs::Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: stat.st_mtime_nsec.cast_signed(),
        };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(place.target, place.name, &times, AtFlags::SYMLINK_NOFOLLOW)
    }

    fn header(&self, kind: EntryType, stat: &Stat, size: u64) -> Header {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(size);
        header.set_mode(if kind == EntryType::Symlink { 0o777 } else { permissions(stat) });
        header.set_uid(u64::from(self.shifted(stat.st_uid)));
        header.set_gid(u64::from(self.shifted(stat.st_gid)));
        header.set_mtime(0);
        header
    }

    fn shifted(&self, id: u32) -> u32 {
        id.checked_sub(self.uid_base).filter(|inner| *inner < 65_534).unwrap_or(0)
    }
}

/// One entry of a folder: where it is, and where its copy goes.
struct Place<'a> {
    source: &'a OwnedFd,
    target: &'a OwnedFd,
    name: &'a CStr,
    path: &'a Path,
}

enum StepError {
    Freeze(FreezeError),
    Io(io::Error),
}

impl From<FreezeError> for StepError {
    fn from(error: FreezeError) -> Self {
        Self::Freeze(error)
    }
}

impl From<io::Error> for StepError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<rustix::io::Errno> for StepError {
    fn from(error: rustix::io::Errno) -> Self {
        Self::Io(error.into())
    }
}

fn io_at(path: &Path, source: io::Error) -> FreezeError {
    FreezeError::Io { path: path.to_owned(), source }
}

/// Permissions without set-uid, set-gid and sticky bits.
fn permissions(stat: &Stat) -> u32 {
    stat.st_mode & 0o777
}

fn mode_of(stat: &Stat) -> Mode {
    Mode::from_raw_mode(permissions(stat))
}

fn as_folder(path: &Path) -> PathBuf {
    path.join("")
}

fn c_string(bytes: &[u8]) -> CString {
    CString::new(bytes).unwrap_or_default()
}

fn open_folder(at: BorrowedFd<'_>, name: &CStr) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(at, name, flags, Mode::empty())
}

fn sorted_names(folder: &OwnedFd) -> rustix::io::Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            names.push(entry.file_name().to_owned());
        }
    }
    names.sort();
    Ok(names)
}

struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Writes what is read from `source` to `target`. Zeros become holes: a build can write a file that
/// is larger than its disk, and the copy must not take more of the host's than the original did.
struct Tee<'a> {
    source: io::Take<File>,
    target: &'a File,
    at: u64,
}

impl Read for Tee<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.source.read(buffer)?;
        let bytes = &buffer[..count];
        if bytes.iter().any(|byte| *byte != 0) {
            self.target.write_all_at(bytes, self.at)?;
        }
        self.at += count as u64;
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::MetadataExt};

    use super::*;

    #[test]
    fn a_file_with_holes_stays_one() {
        let folder = tempfile::TempDir::new().unwrap();
        fs::create_dir(folder.path().join("tree")).unwrap();
        let source = File::create(folder.path().join("tree/file")).unwrap();
        source.write_all_at(b"start", 0).unwrap();
        source.write_all_at(b"middle", 8 << 20).unwrap();
        source.set_len(32 << 20).unwrap();
        let root = File::open(folder.path().join("tree")).unwrap();
        let into = folder.path().join("copy");

        let frozen = freeze(root.as_fd(), &["/".to_owned()], &into, 0, 1 << 30).unwrap();

        assert_eq!(frozen.bytes, 32 << 20);
        let (source, copy) = (folder.path().join("tree/file"), into.join("file"));
        assert_eq!(fs::read(&source).unwrap(), fs::read(&copy).unwrap());
        assert!(fs::metadata(&copy).unwrap().blocks() * 512 < 1 << 20);
    }

    #[test]
    fn a_selected_folder_includes_the_ones_named_below_it() {
        let paths =
            ["/home/vcap/app".to_owned(), "/home/vcap/app/x".to_owned(), "/etc/../a".to_owned()];

        let selection = Selection::of(&paths);

        let home = selection.entry(b"home").unwrap().entry(b"vcap").unwrap();
        assert_eq!(home.entry(b"app"), Some(&Selection::All));
        assert_eq!(home.entry(b"deps"), None);
        assert!(selection.entry(b"etc").unwrap().entry(b"a").is_some());
    }
}
