//! Resource matching: which files of a push are in packages that its user may read, so that a
//! repeat push sends only what changed.
//!
//! A file has no copy of its own: it is where the package has it. Beside each package lies the list
//! of its files by SHA-1. So what is known to whom follows from who may read which package, and
//! ends with the package.

use std::{
    collections::{HashMap, HashSet},
    error::Error,
    fs::{self, File},
    io::{self, BufRead, BufReader, BufWriter, Read, Write},
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cupola_domain::droplets::LayerDigest;
use cupola_ports::{
    blobs::BlobStore,
    sandbox::{LayerFile, Layers},
    stager::{Resource, Upload, UploadError},
};
use rustix::fs::OFlags;
use sha1::{Digest as _, Sha1};
use tokio::sync::oneshot;
use tracing::warn;

use super::{
    BuildpackStager,
    scratch::{self, Scratch},
};
use crate::orders::inside;

const NOTE_WAIT_MAX: Duration = Duration::from_secs(2);
/// The first segment of the keys of lists.
const FOLDER: &str = "package-files";
/// Where an earlier version kept copies of files.
const FOLDER_OF_OLD: &str = "resources";
/// What a list begins with. Each part of it ends with a zero byte, as no path has one.
const HEAD: &[u8] = b"cupola-package-files 1\0";
/// Of lists, how much is read to answer one question.
const LISTS_BYTES_READ_MAX: u64 = 64 << 20;

/// Where a file is.
struct Place {
    package: LayerDigest,
    /// Relative to the app.
    path: String,
}

type Places = HashMap<(String, u64), Place>;

impl BuildpackStager {
    pub(super) async fn known_resources(
        &self,
        wanted: Vec<Resource>,
        among: &[LayerDigest],
    ) -> Result<Vec<Resource>, UploadError> {
        let places = self.places(&wanted, among).await?;
        Ok(wanted.into_iter().filter(|file| places.contains_key(&key(file))).collect())
    }

    /// Puts the known files of an upload into `folder`, each under its SHA-1.
    pub(super) async fn fetch_known(
        &self,
        upload: &Upload,
        folder: &Path,
    ) -> Result<(), UploadError> {
        scratch::open_folder(folder).map_err(platform)?;
        if upload.known.len() > self.config.upload_limits.entries_max as usize {
            return Err(UploadError::Invalid("it names too many files".to_owned()));
        }
        // What unpacks asks the same, but what is copied for it is on the disk by then.
        let limit_mib = self.config.upload_limits.unpacked_mib_max;
        let bytes = upload.known.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        if bytes > u64::from(limit_mib) << 20 {
            return Err(UploadError::TooLarge { limit_mib });
        }
        let mut places = self.places(&upload.known, &upload.among).await?;
        let mut apps: HashMap<LayerDigest, Option<PathBuf>> = HashMap::new();
        let mut fetched = HashSet::new();
        for resource in &upload.known {
            if fetched.contains(&resource.sha1) {
                continue;
            }
            let unknown = || UploadError::UnknownResource { sha1: shown(&resource.sha1) };
            let place = places.remove(&key(resource)).ok_or_else(unknown)?;
            if !apps.contains_key(&place.package) {
                let app = self.layers.folder(&place.package, inside::APP).await.ok().flatten();
                apps.insert(place.package.clone(), app);
            }
            let app = apps.get(&place.package).and_then(Option::as_ref).ok_or_else(unknown)?;
            let target = folder.join(&resource.sha1);
            take(&app.join(&place.path), &target, resource.bytes).map_err(|error| {
                // The package may just have been removed.
                if error.kind() == io::ErrorKind::NotFound { unknown() } else { platform(error) }
            })?;
            fetched.insert(resource.sha1.clone());
        }
        Ok(())
    }

    /// Where the wanted files are, of those that are in the packages `among`.
    async fn places(
        &self,
        wanted: &[Resource],
        among: &[LayerDigest],
    ) -> Result<Places, UploadError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut missing: HashSet<_> =
            wanted.iter().filter(|file| self.is_usable(file)).map(key).collect();
        let mut places = Places::new();
        let name = format!("lists-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let scratch = Scratch::new(&self.config.scratch_dir, &name).map_err(platform)?;
        let mut bytes = 0;
        for package in among {
            if missing.is_empty() || bytes > LISTS_BYTES_READ_MAX {
                break;
            }
            let path = scratch.path().join(package.hex());
            let is_there = self.blobs.fetch(&list_key(package), &path).await;
            if !is_there.map_err(|error| UploadError::Platform(error.to_string()))? {
                continue;
            }
            bytes += fs::metadata(&path).map_or(0, |metadata| metadata.len());
            let (package, wanted) = (package.clone(), missing);
            let found = tokio::task::spawn_blocking(move || {
                let found = find(&path, &package, &wanted);
                found.map(|found| (found, wanted))
            });
            let (found, wanted) =
                found.await.map_err(io::Error::other).flatten().map_err(platform)?;
            missing = wanted;
            missing.retain(|file| !found.contains_key(file));
            places.extend(found);
        }
        Ok(places)
    }

    fn is_usable(&self, resource: &Resource) -> bool {
        is_sha1(&resource.sha1) && (1..=self.config.resource_bytes_max).contains(&resource.bytes)
    }

    /// Lists the files of a package for later pushes. A failure costs the next push a larger upload
    /// and nothing else, so it is only told in the platform's log. The push waits for a while, so
    /// that the usual package is listed when it is ready; a huge one is in the background.
    pub(super) async fn note_files(&self, package: &LayerDigest) {
        let lister = Lister {
            layers: Arc::clone(&self.layers),
            blobs: Arc::clone(&self.blobs),
            scratch_dir: self.config.scratch_dir.clone(),
            each_max: self.config.resource_bytes_max,
            all_max: self.config.resources_bytes_max,
        };
        let package = package.clone();
        let (blobs, lists_max) = (Arc::clone(&self.blobs), self.config.lists_bytes_max);
        let (end, noted) = oneshot::channel::<()>();
        tokio::spawn(async move {
            if let Err(error) = lister.list(&package).await {
                warn!(%package, %error, "files of a package were not listed for resource matching");
            }
            // From here on nobody waits.
            drop(end);
            for (folder, bytes_max) in [(FOLDER_OF_OLD, 0), (FOLDER, lists_max)] {
                if let Err(error) = blobs.trim(folder, bytes_max).await {
                    let error = &error as &dyn Error;
                    warn!(error, "what is kept for resource matching was not trimmed");
                }
            }
        });
        let _ = tokio::time::timeout(NOTE_WAIT_MAX, noted).await;
    }
}

struct Lister {
    layers: Arc<dyn Layers>,
    blobs: Arc<dyn BlobStore>,
    scratch_dir: PathBuf,
    each_max: u64,
    all_max: u64,
}

impl Lister {
    async fn list(&self, package: &LayerDigest) -> Result<(), Box<dyn Error + Send + Sync>> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("list-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let scratch = Scratch::new(&self.scratch_dir, &name)?;
        if self.blobs.fetch(&list_key(package), &scratch.path().join("old")).await? {
            return Ok(());
        }
        let files = self.layers.files(package, inside::APP).await?;
        let chosen = within_bounds(files, self.each_max, self.all_max);
        let list = scratch.path().join("new");
        let path = list.clone();
        tokio::task::spawn_blocking(move || write_list(&path, &chosen)).await??;
        Ok(self.blobs.put(&list_key(package), &list).await?)
    }
}

fn within_bounds(files: Vec<LayerFile>, each_max: u64, all_max: u64) -> Vec<LayerFile> {
    let mut left = all_max;
    let mut chosen = Vec::new();
    for file in files {
        if !(1..=each_max).contains(&file.bytes) {
            continue;
        }
        let Some(rest) = left.checked_sub(file.bytes) else { break };
        left = rest;
        chosen.push(file);
    }
    chosen
}

/// Each file is hashed here, whatever the push said of it: what unpacked it is believed nothing.
fn write_list(path: &Path, files: &[LayerFile]) -> io::Result<()> {
    let mut list = BufWriter::new(File::create_new(path)?);
    list.write_all(HEAD)?;
    for file in files {
        write!(list, "{} {} {}\0", sha1_of(&file.host_path)?, file.bytes, file.path)?;
    }
    list.flush()
}

/// Looks the wanted files up in a list. One of another version has none of them.
fn find(list: &Path, package: &LayerDigest, wanted: &HashSet<(String, u64)>) -> io::Result<Places> {
    let mut places = Places::new();
    let mut list = BufReader::new(File::open(list)?);
    let mut part = Vec::new();
    list.read_until(0, &mut part)?;
    if part != HEAD {
        return Ok(places);
    }
    loop {
        part.clear();
        if list.read_until(0, &mut part)? == 0 {
            return Ok(places);
        }
        let Some((file, path)) = entry(&part) else { continue };
        if wanted.contains(&file) {
            let place = Place { package: package.clone(), path: path.to_owned() };
            places.insert(file, place);
        }
    }
}

fn entry(part: &[u8]) -> Option<((String, u64), &str)> {
    let text = std::str::from_utf8(part.strip_suffix(&[0])?).ok()?;
    let (sha1, rest) = text.split_once(' ')?;
    let (bytes, path) = rest.split_once(' ')?;
    Some(((sha1.to_owned(), bytes.parse().ok()?), path))
}

/// Shows a file of a package at `target`, readable for all. It stays the package's, so that its
/// permissions are not changed: one that not everybody may read is copied.
fn take(source: &Path, target: &Path, bytes: u64) -> io::Result<()> {
    let metadata = fs::symlink_metadata(source)?;
    if !metadata.is_file() || metadata.len() != bytes {
        return Err(io::ErrorKind::NotFound.into());
    }
    if metadata.mode() & 0o044 == 0o044 && fs::hard_link(source, target).is_ok() {
        return Ok(());
    }
    let no_follow = i32::try_from(OFlags::NOFOLLOW.bits()).map_err(io::Error::other)?;
    let mut from = fs::OpenOptions::new().read(true).custom_flags(no_follow).open(source)?;
    io::copy(&mut from, &mut File::create_new(target)?)?;
    scratch::open_file(target)
}

fn key(file: &Resource) -> (String, u64) {
    (file.sha1.clone(), file.bytes)
}

fn list_key(package: &LayerDigest) -> String {
    format!("{FOLDER}/{}", package.hex())
}

fn platform(error: io::Error) -> UploadError {
    UploadError::Platform(error.to_string())
}

fn shown(text: &str) -> String {
    text.chars().take(64).flat_map(char::escape_debug).collect()
}

fn sha1_of(path: &Path) -> io::Result<String> {
    let mut file = File::open(path)?;
    let mut hash = Sha1::new();
    let mut buffer = vec![0; 64 << 10];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            count => hash.update(&buffer[..count]),
        }
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

fn is_sha1(text: &str) -> bool {
    let is_lower_hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    text.len() == 40 && text.bytes().all(is_lower_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHA1: &str = "aaf4c61ddcc5e8a2dabede0f3b482cd9aea9434d";

    fn file(bytes: u64) -> LayerFile {
        LayerFile { path: "x".into(), bytes, mode: 0o644, host_path: "/x".into() }
    }

    #[test]
    fn empty_and_huge_files_are_not_listed_and_the_sum_is_bounded() {
        let files = vec![file(0), file(1), file(5), file(11), file(4), file(2)];

        let chosen = within_bounds(files, 10, 10);

        let sizes: Vec<_> = chosen.iter().map(|file| file.bytes).collect();
        assert_eq!(sizes, [1, 5, 4]);
    }

    #[test]
    fn list_of_version_1_is_read_and_written_as_it_was_first_written() {
        let dir = tempfile::tempdir().unwrap();
        let (hello, list) = (dir.path().join("hello"), dir.path().join("list"));
        fs::write(&hello, "hello").unwrap();
        let golden = format!("cupola-package-files 1\0{SHA1} 5 a folder/new\nline\0");
        let path = "a folder/new\nline".to_owned();

        write_list(&list, &[LayerFile { path, host_path: hello, ..file(5) }]).unwrap();
        let wanted = HashSet::from([(SHA1.to_owned(), 5), (SHA1.to_owned(), 6)]);
        let package = LayerDigest::from_sha256([1; 32]);
        let found = find(&list, &package, &wanted).unwrap();

        assert_eq!(fs::read_to_string(&list).unwrap(), golden);
        assert_eq!(found.len(), 1);
        assert_eq!(found[&(SHA1.to_owned(), 5)].path, "a folder/new\nline");
    }

    #[test]
    fn list_of_another_version_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let list = dir.path().join("list");
        fs::write(&list, format!("cupola-package-files 2\0{SHA1} 5 a\0")).unwrap();

        let wanted = HashSet::from([(SHA1.to_owned(), 5)]);
        let found = find(&list, &LayerDigest::from_sha256([1; 32]), &wanted).unwrap();

        assert!(found.is_empty());
    }
}
