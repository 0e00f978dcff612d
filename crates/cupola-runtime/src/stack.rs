//! The stack `host`: the host's own `/usr` under a small root file system made for containers.
//!
//! The skeleton holds what lies outside of `/usr`: links of a merged-usr system, the parts of
//! `/etc` that programs need, mount points, the home of `vcap`, and this binary as init. It is made
//! anew when one of its sources changes; running containers keep the one they have.

use std::{
    collections::HashSet,
    fs, io,
    os::unix::{
        fs::{MetadataExt, PermissionsExt, chown, symlink},
        prelude::OsStrExt,
    },
    path::{Path, PathBuf},
};

use sha2::{Digest, Sha256};

use crate::{
    bundle::VCAP_UID,
    error::{Doing, RuntimeError},
};

/// The name of the only stack so far.
pub const HOST_STACK: &str = "host";

/// Changes when the code below makes another skeleton of the same sources.
const SKELETON_VERSION: u32 = 3;

/// Links and folders of the root that lead into `/usr`.
const MERGED: [&str; 7] = ["bin", "sbin", "lib", "lib32", "lib64", "libx32", "libo32"];

const FOLDERS: [&str; 17] = [
    "proc",
    "dev",
    "sys/fs/cgroup",
    "usr",
    "run",
    "mnt",
    "media",
    "srv",
    "opt",
    "root",
    "var/cache",
    "var/lib",
    "var/log",
    "var/spool",
    "etc/ssl/certs",
    "home",
    ".cupola",
];

const VCAP_FOLDERS: [&str; 6] = [
    "home/vcap",
    "home/vcap/app",
    "home/vcap/tmp",
    "home/vcap/deps",
    "home/vcap/logs",
    "home/vcap/profile.d",
];

/// What is taken over from the host's `/etc`, as far as everyone may read it and nothing in it is a
/// login. Settings of package managers are not: builds get those that hold none by their environment.
const FROM_ETC: [&str; 28] = [
    "alternatives",
    "apt",
    "bash.bashrc",
    "ca-certificates.conf",
    "debian_version",
    "fonts",
    "gai.conf",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "localtime",
    "magic",
    "magic.mime",
    "mime.types",
    "os-release",
    "perl",
    "profile",
    "profile.d",
    "protocols",
    "python3",
    "rpc",
    "services",
    "ssl",
    "terminfo",
    "timezone",
];

const FILES: [(&str, &str); 6] = [
    (
        "etc/passwd",
        "root:x:0:0:root:/root:/usr/sbin/nologin\n\
         nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n\
         vcap:x:2000:2000:vcap:/home/vcap:/bin/bash\n",
    ),
    ("etc/group", "root:x:0:\ntty:x:5:\nnogroup:x:65534:\nvcap:x:2000:\n"),
    (
        "etc/nsswitch.conf",
        "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\nnetworks: files\n\
         protocols: files\nservices: files\n",
    ),
    ("etc/hosts", ""),
    ("etc/hostname", ""),
    ("etc/resolv.conf", ""),
];

const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";
const LOCAL_CERTIFICATES: &str = "/usr/local/share/ca-certificates";

/// Release and package list of the host, hashed.
pub(crate) fn host_digest() -> String {
    let mut hash = Sha256::new();
    for path in ["/etc/os-release", "/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite"] {
        if let Ok(bytes) = fs::read(path) {
            hash.update(path.as_bytes());
            hash.update(bytes);
        }
    }
    format!("sha256:{}", hex(&hash.finalize()))
}

/// The tree of the skeleton, made now if it is not there. Owners are container-relative.
pub(crate) fn prepare(stacks: &Path, self_exe: &Path) -> Result<PathBuf, RuntimeError> {
    let name = format!("{HOST_STACK}-{}", &key(self_exe)?[..16]);
    let finished = stacks.join(&name);
    if !finished.exists() {
        let unfinished = stacks.join(format!("{name}.unfinished"));
        let _ = fs::remove_dir_all(&unfinished);
        build(&unfinished.join("tree"), self_exe)
            .doing(|| format!("make the skeleton `{}`", unfinished.display()))?;
        // Otherwise the name could outlive a loss of power and the content not.
        fs::File::open(stacks)
            .and_then(|folder| Ok(rustix::fs::syncfs(folder)?))
            .doing(|| format!("sync `{}`", stacks.display()))?;
        fs::rename(&unfinished, &finished)
            .doing(|| format!("make the skeleton `{}`", finished.display()))?;
    }
    Ok(finished.join("tree"))
}

/// Removes skeletons that no container uses.
pub(crate) fn remove_unused(stacks: &Path, used: &HashSet<PathBuf>) {
    for entry in fs::read_dir(stacks).into_iter().flatten().flatten() {
        if !used.contains(&entry.path().join("tree")) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Follows from everything that the skeleton is made of.
fn key(self_exe: &Path) -> Result<String, RuntimeError> {
    let mut hash = Sha256::new();
    hash.update(SKELETON_VERSION.to_le_bytes());
    let mut sources: Vec<PathBuf> =
        FROM_ETC.iter().map(|name| Path::new("/etc").join(name)).collect();
    sources.extend(language_folders());
    sources.push(PathBuf::from(LOCAL_CERTIFICATES));
    for source in sources {
        add_to_key(&mut hash, &source);
    }
    let exe = fs::metadata(self_exe).doing(|| format!("find `{}`", self_exe.display()))?;
    for number in [exe.dev(), exe.ino(), exe.len(), exe.mtime().cast_unsigned()] {
        hash.update(number.to_le_bytes());
    }
    Ok(hex(&hash.finalize()))
}

fn add_to_key(hash: &mut Sha256, path: &Path) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    hash.update(path.as_os_str().as_bytes());
    hash.update(metadata.len().to_le_bytes());
    hash.update(metadata.mtime().to_le_bytes());
    hash.update(metadata.mtime_nsec().to_le_bytes());
    if metadata.is_dir() {
        for name in sorted_names(path) {
            add_to_key(hash, &path.join(name));
        }
    }
}

/// Configuration of runtimes that keep theirs outside of `/usr`.
fn language_folders() -> Vec<PathBuf> {
    let is_wanted = |name: &str| name.starts_with("java-") || name.starts_with("python3.");
    sorted_names(Path::new("/etc"))
        .into_iter()
        .filter(|name| name.to_str().is_some_and(is_wanted))
        .map(|name| Path::new("/etc").join(name))
        .collect()
}

fn build(tree: &Path, self_exe: &Path) -> io::Result<()> {
    fs::create_dir_all(tree)?;
    for folder in FOLDERS {
        fs::create_dir_all(tree.join(folder))?;
    }
    for folder in ["tmp", "var/tmp"] {
        fs::create_dir_all(tree.join(folder))?;
        fs::set_permissions(tree.join(folder), fs::Permissions::from_mode(0o1777))?;
    }
    for folder in VCAP_FOLDERS {
        fs::create_dir(tree.join(folder))?;
        chown(tree.join(folder), Some(VCAP_UID), Some(VCAP_UID))?;
    }
    link_into_usr(tree)?;
    for source in FROM_ETC.iter().map(|name| Path::new("/etc").join(name)).chain(language_folders())
    {
        copy_readable(&source, &tree.join(source.strip_prefix("/").unwrap_or(&source)))?;
    }
    for (path, text) in FILES {
        fs::write(tree.join(path), text)?;
    }
    symlink("/proc/self/mounts", tree.join("etc/mtab"))?;
    add_local_certificates(tree)?;
    place_init(&tree.join(".cupola/init"), self_exe)
}

fn link_into_usr(tree: &Path) -> io::Result<()> {
    for name in MERGED {
        let host = Path::new("/").join(name);
        if let Ok(target) = fs::read_link(&host) {
            symlink(target, tree.join(name))?;
        }
    }
    Ok(())
}

/// Passwords of package mirrors, which are the host's alone whatever their mode is.
const SECRET_NAMES: [&str; 2] = ["auth.conf", "auth.conf.d"];

/// Copies what everyone may read; links stay links.
fn copy_readable(source: &Path, target: &Path) -> io::Result<()> {
    if SECRET_NAMES.iter().any(|name| source.ends_with(name)) {
        return Ok(());
    }
    let metadata = match fs::symlink_metadata(source) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if metadata.is_symlink() {
        return symlink(fs::read_link(source)?, target);
    }
    if metadata.mode() & 0o004 == 0 {
        return Ok(());
    }
    if metadata.is_dir() {
        fs::create_dir_all(target)?;
        for name in sorted_names(source) {
            copy_readable(&source.join(&name), &target.join(&name))?;
        }
    } else if metadata.is_file() {
        let content = fs::read(source)?;
        if holds_login(&content) {
            let path = source.display();
            tracing::warn!(%path, "containers do not get `{path}`: an address in it has a login");
            return Ok(());
        }
        fs::write(target, content)?;
        fs::set_permissions(target, metadata.permissions())?;
    }
    Ok(())
}

/// Whether there is an address of the form `scheme://user:password@host` in a file.
fn holds_login(content: &[u8]) -> bool {
    let is_end = |byte: &u8| byte.is_ascii_whitespace() || b"/'\"".contains(byte);
    let mut addresses =
        content.windows(3).enumerate().filter(|(_, window)| *window == b"://").map(|(at, _)| {
            let rest = &content[at + 3..];
            &rest[..rest.iter().position(is_end).unwrap_or(rest.len())]
        });
    addresses.any(|authority| authority.contains(&b'@'))
}

/// The host may trust authorities that were put there and not yet bundled.
fn add_local_certificates(tree: &Path) -> io::Result<()> {
    let path = tree.join(CERTIFICATES);
    let mut bundle = fs::read_to_string(&path).unwrap_or_default();
    for name in sorted_names(Path::new(LOCAL_CERTIFICATES)) {
        let local = Path::new(LOCAL_CERTIFICATES).join(name);
        let is_certificate = local.extension().is_some_and(|extension| extension == "crt");
        if let (true, Ok(text)) = (is_certificate, fs::read_to_string(&local))
            && !bundle.contains(text.trim())
        {
            bundle.push_str(text.trim());
            bundle.push('\n');
        }
    }
    if bundle.is_empty() {
        return Ok(());
    }
    // Some distributions have a link here.
    let _ = fs::remove_file(&path);
    fs::write(&path, bundle)
}

/// All containers share the pages of the one file, so it is linked where that is possible.
fn place_init(place: &Path, self_exe: &Path) -> io::Result<()> {
    let mode = fs::metadata(self_exe)?.mode();
    if mode & 0o6005 == 0o005 && fs::hard_link(self_exe, place).is_ok() {
        return Ok(());
    }
    fs::copy(self_exe, place)?;
    fs::set_permissions(place, fs::Permissions::from_mode(0o555))
}

fn sorted_names(folder: &Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    names
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_a_login_stays_on_the_host() {
        let folder = tempfile::TempDir::new().unwrap();
        let (source, target) = (folder.path().join("apt"), folder.path().join("copy"));
        fs::create_dir(&source).unwrap();
        fs::write(source.join("auth.conf"), "machine mirror.example password secret").unwrap();
        let mirror = "deb [arch=amd64] https://me:secret@mirror.example/debian stable main\n";
        fs::write(source.join("mirror.list"), format!("# ours\n{mirror}")).unwrap();
        let plain = "deb https://deb.example/debian stable main # ask admin@example\n";
        fs::write(source.join("plain.list"), plain).unwrap();

        copy_readable(&source, &target).unwrap();

        assert_eq!(sorted_names(&target), ["plain.list"]);
        assert_eq!(fs::read_to_string(target.join("plain.list")).unwrap(), plain);
    }
}
