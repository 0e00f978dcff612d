//! Makes the trees of a droplet from its archive: a tar, compressed with gzip, of what an instance
//! has below its home.
//!
//! The archive is read twice, once for names and once for contents, so that nothing is written of
//! one that is refused, and nothing through a link.

use std::{
    collections::BTreeMap,
    fs::{self, File, FileTimes, Permissions},
    io::{self, BufReader, Read},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    time::{Duration, SystemTime},
};

use flate2::read::MultiGzDecoder;
use serde::Deserialize;
use tar::{Archive, Entry, EntryType};

use super::{
    UnpackError,
    tree::{Content, Node, Tree, clean, invalid, shown},
    write::{Budget, create, failed},
};
use crate::{
    builder::processes,
    droplet_archive::{KEPT, RECORD, RECORD_BYTES_MAX, STAGING_INFO},
    orders::{FoundDroplet, UnpackLimits, UnpackOrder},
};

const STAGING_INFO_BYTES_MAX: u64 = 1 << 20;

type Tgz = Archive<MultiGzDecoder<BufReader<File>>>;

/// Times by path, in seconds since 1970: compiled Python refers to those of its sources.
type ModifiedTimes = BTreeMap<String, u64>;

struct Plan {
    tree: Tree,
    modified: ModifiedTimes,
    record: Option<String>,
}

pub(super) fn unpack(archive: &Path, order: &UnpackOrder) -> Result<FoundDroplet, UnpackError> {
    let plan = plan(archive, order.limits)?;
    if !matches!(plan.tree.get("app"), Some(Node::Folder { .. })) {
        return Err(UnpackError::Invalid(
            "it is no droplet: it has no folder `app`. Send what `cf download-droplet` wrote"
                .to_owned(),
        ));
    }
    write(&plan, archive, order)?;
    let info = staging_info(&order.into)?;
    let mut process_types = BTreeMap::new();
    if !info.start_command.is_empty() {
        process_types.insert("web".to_owned(), info.start_command);
    }
    let procfile = processes::from_procfile(&order.into.join("app"));
    process_types.extend(procfile.map_err(|e| invalid(e.to_string()))?);
    Ok(FoundDroplet {
        record: plan.record,
        process_types: processes::checked(process_types).map_err(|e| invalid(e.to_string()))?,
        detected_buildpack: Some(info.detected_buildpack).filter(|name| !name.is_empty()),
        has_deps: plan.tree.nodes().any(|(path, node)| is_dependency(path, node)),
    })
}

fn plan(archive: &Path, limits: UnpackLimits) -> Result<Plan, UnpackError> {
    let mut plan = Plan {
        tree: Tree::of_droplet(limits.entries_max),
        modified: ModifiedTimes::new(),
        record: None,
    };
    let mut bytes: u64 = 0;
    let mut archive = open(archive)?;
    for (index, entry) in archive.entries().map_err(|e| damaged(&e))?.enumerate() {
        // What is not kept counts too: it has to be read.
        if index >= limits.entries_max {
            let entries_max = limits.entries_max;
            return Err(invalid(format!("it has more than {entries_max} files and folders")));
        }
        let mut entry = entry.map_err(|e| damaged(&e))?;
        bytes = bytes.saturating_add(entry.size());
        if bytes > limits.bytes_max {
            return Err(UnpackError::TooLarge);
        }
        plan.add(index, &mut entry)?;
    }
    Ok(plan)
}

impl Plan {
    fn add(&mut self, index: usize, entry: &mut Entry<'_, impl Read>) -> Result<(), UnpackError> {
        let name = text(&entry.path_bytes(), "a path")?;
        let path = clean(&name)?;
        if path == RECORD {
            self.record = record(entry);
            return Ok(());
        }
        let top = path.split('/').next().unwrap_or_default();
        if !KEPT.contains(&top) {
            return Ok(());
        }
        let header = entry.header();
        let is_right_kind = match header.entry_type() {
            EntryType::Directory => path != STAGING_INFO,
            EntryType::Regular => path == STAGING_INFO || path != top,
            _ => path != top,
        };
        if !is_right_kind {
            return Err(invalid(format!("`{path}` is not what it is in a droplet")));
        }
        let mode = header.mode().map_err(|e| damaged(&e))?;
        let modified = header.mtime().unwrap_or(0);
        match header.entry_type() {
            EntryType::Directory => self.tree.add_folder(&path, mode)?,
            EntryType::Regular | EntryType::Continuous => {
                self.tree.add_file(&path, Content::Archived(index), mode)?;
            }
            EntryType::Symlink => self.tree.add_any_link(&path, &target(entry)?)?,
            EntryType::Link => self.tree.add_hard_link(&path, &target(entry)?)?,
            _ => {
                return Err(invalid(format!(
                    "`{}` is neither file, folder nor link",
                    shown(&name)
                )));
            }
        }
        self.modified.insert(path, modified);
        Ok(())
    }
}

fn write(plan: &Plan, archive: &Path, order: &UnpackOrder) -> Result<(), UnpackError> {
    let root = &order.into;
    for (path, node) in plan.tree.nodes() {
        if let Node::Folder { .. } = node {
            make_folder(&root.join(path))?;
        }
    }
    let bytes = fs::metadata(archive).map_err(|e| failed("look at the upload", &e))?.len();
    let mut budget = Budget::new(order.limits, bytes);
    for (index, entry) in open(archive)?.entries().map_err(|e| damaged(&e))?.enumerate() {
        let mut entry = entry.map_err(|e| damaged(&e))?;
        let path = clean(&text(&entry.path_bytes(), "a path")?)?;
        let Some(Node::File { content, mode }) = plan.tree.get(&path) else { continue };
        if *content != Content::Archived(index) {
            continue;
        }
        let target = create(&root.join(&path), *mode)?;
        budget.copy(&mut entry, &target, &path, true)?;
        target
            .set_times(times(plan.modified.get(&path)))
            .map_err(|e| failed("set the time of a file", &e))?;
    }
    write_links(&plan.tree, root)?;
    finish_folders(plan, root)
}

/// Those that every container has are there already.
fn make_folder(path: &Path) -> Result<(), UnpackError> {
    match fs::create_dir(path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        outcome => outcome,
    }
    .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o700)))
    .map_err(|e| failed("make a folder", &e))
}

fn write_links(tree: &Tree, root: &Path) -> Result<(), UnpackError> {
    for (path, node) in tree.nodes() {
        match node {
            Node::HardLink { first } => fs::hard_link(root.join(first), root.join(path)),
            _ => Ok(()),
        }
        .map_err(|e| failed("make a hard link", &e))?;
    }
    for (path, node) in tree.nodes() {
        match node {
            Node::Link { target } => symlink(target, root.join(path)),
            _ => Ok(()),
        }
        .map_err(|e| failed("make a symbolic link", &e))?;
    }
    Ok(())
}

/// The innermost first: a folder that cannot be written to any more is finished.
fn finish_folders(plan: &Plan, root: &Path) -> Result<(), UnpackError> {
    let folders: Vec<_> = plan.tree.nodes().collect();
    for (path, node) in folders.into_iter().rev() {
        let Node::Folder { mode } = node else { continue };
        let full = root.join(path);
        File::open(&full)
            .and_then(|folder| folder.set_times(times(plan.modified.get(path))))
            .and_then(|()| fs::set_permissions(&full, Permissions::from_mode(*mode)))
            .map_err(|e| failed("finish a folder", &e))?;
    }
    Ok(())
}

fn times(modified_s: Option<&u64>) -> FileTimes {
    let since = Duration::from_secs(modified_s.copied().unwrap_or(0));
    let time = SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH);
    FileTimes::new().set_modified(time).set_accessed(time)
}

fn open(archive: &Path) -> Result<Tgz, UnpackError> {
    let file = File::open(archive).map_err(|e| failed("open the upload", &e))?;
    Ok(Archive::new(MultiGzDecoder::new(BufReader::new(file))))
}

/// A record that cannot be one is none: the droplet is then one from elsewhere.
fn record(entry: &mut Entry<'_, impl Read>) -> Option<String> {
    let mut record = String::new();
    entry.take(RECORD_BYTES_MAX).read_to_string(&mut record).ok()?;
    Some(record)
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StagingInfo {
    detected_buildpack: String,
    start_command: String,
}

/// It is JSON, which is YAML too, as some builders write it.
fn staging_info(home: &Path) -> Result<StagingInfo, UnpackError> {
    let path = home.join(STAGING_INFO);
    let Ok(file) = File::open(path) else { return Ok(StagingInfo::default()) };
    let mut info = String::new();
    file.take(STAGING_INFO_BYTES_MAX)
        .read_to_string(&mut info)
        .map_err(|e| invalid(format!("its {STAGING_INFO} cannot be read: {e}")))?;
    serde_yaml_ng::from_str::<Option<StagingInfo>>(&info)
        .map(Option::unwrap_or_default)
        .map_err(|e| invalid(format!("its {STAGING_INFO} is not valid: {e}")))
}

fn is_dependency(path: &str, node: &Node) -> bool {
    let name = path.rsplit('/').next().unwrap_or_default();
    let is_told_only = matches!(name, "config.yml" | "launch.yml");
    path.starts_with("deps/") && !matches!(node, Node::Folder { .. }) && !is_told_only
}

fn target(entry: &Entry<'_, impl Read>) -> Result<String, UnpackError> {
    text(&entry.link_name_bytes().unwrap_or_default(), "a link")
}

fn text(bytes: &[u8], what: &str) -> Result<String, UnpackError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| {
        invalid(format!("{what} in it, `{}`, is not UTF-8", shown(&String::from_utf8_lossy(bytes))))
    })
}

fn damaged(error: &io::Error) -> UnpackError {
    invalid(format!("it is not a whole tar file, compressed with gzip ({error}); send it again"))
}
