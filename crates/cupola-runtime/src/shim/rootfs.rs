//! The file system of a container: layers below, a disk of its own on top.
//!
//! All of it lies in the shim's own mount table, so that the host's stays clean and a shim that is
//! killed leaves nothing. The overlay is mounted with relative paths: an app that reads its own
//! mount table learns nothing about the host's folders.

use std::{
    ffi::CString,
    fs::{self, File},
    io,
    os::{fd::AsFd, unix::fs::PermissionsExt, unix::fs::chown},
    path::{Path, PathBuf},
};

use rustix::mount::{
    MountFlags, MountPropagationFlags, UnmountFlags, mount, mount_bind, mount_change, unmount,
};

use crate::{
    bundle::VCAP_UID,
    error::{Doing, RuntimeError},
    records::{Launch, LaunchBind},
    sys,
};

pub(super) const ROOTFS: &str = "rootfs";
const DISK: &str = "disk";
/// ext4 refuses to write somewhat earlier than at its last block of 4 KiB.
const FULL_BLOCKS: u64 = 256;

/// Mounts everything below the current folder.
pub(super) fn prepare(launch: &Launch) -> Result<(), RuntimeError> {
    sys::unshare_mounts().doing(|| "make a mount table".to_owned())?;
    mount_change("/", MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC)
        .doing(|| "keep mounts from the host".to_owned())?;
    pin_namespaces(launch)?;
    mount_disk(launch)?;
    write_host_files(launch)?;
    mount_overlay(launch)?;
    launch
        .binds
        .iter()
        .enumerate()
        .try_for_each(|(number, bind)| mount_source(launch, number, bind))
}

/// Lets go of what `prepare` mounted. The loop device goes with its last mount.
pub(super) fn release() {
    for folder in [ROOTFS, DISK] {
        let _ = unmount(folder, UnmountFlags::DETACH);
    }
}

/// Whether nothing more can be written.
pub(super) fn disk_is_full() -> bool {
    // In another mount table than that of `prepare`, this would be the host's file system.
    let is_mounted = Path::new(DISK).join("upper").exists();
    is_mounted
        && rustix::fs::statvfs(DISK)
            .is_ok_and(|disk| disk.f_bavail <= FULL_BLOCKS || disk.f_favail == 0)
}

fn pin_namespaces(launch: &Launch) -> Result<(), RuntimeError> {
    make_folder("ns")?;
    for (name, source) in [("user", &launch.user_namespace), ("net", &launch.net_namespace)] {
        let pin = Path::new("ns").join(name);
        File::create(&pin).doing(|| format!("make the place of the {name} namespace"))?;
        mount_bind(source, &pin).doing(|| format!("keep the {name} namespace"))?;
    }
    Ok(())
}

/// The disk was made by control. The loop device keeps the file; nobody needs its name.
fn mount_disk(launch: &Launch) -> Result<(), RuntimeError> {
    make_folder(DISK)?;
    let path = &launch.disk_image;
    let image = File::options()
        .read(true)
        .write(true)
        .open(path)
        .doing(|| format!("open the disk `{}`", path.display()))?;
    let mounted = mount_image(&image);
    let _ = fs::remove_file(path);
    mounted
}

fn mount_image(image: &File) -> Result<(), RuntimeError> {
    let (device, _held) =
        sys::attach_loop(image.as_fd()).doing(|| "make a loop device".to_owned())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOATIME;
    // The inode tables stay sparse instead of being filled with zeros in the background.
    mount(device.as_str(), DISK, "ext4", flags, c"noinit_itable")
        .doing(|| format!("mount the disk `{device}`"))
}

/// Files of /etc that differ from instance to instance. A bind mount would show its host path.
fn write_host_files(launch: &Launch) -> Result<(), RuntimeError> {
    let upper = Path::new(DISK).join("upper");
    let root = launch.uid_base;
    for folder in [upper.clone(), upper.join("etc"), Path::new(DISK).join("work")] {
        make_folder(&folder)?;
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o755))
            .and_then(|()| chown(&folder, Some(root), Some(root)))
            .doing(|| format!("hand over `{}`", folder.display()))?;
    }
    let files =
        [("hosts", &launch.hosts), ("resolv.conf", &launch.resolv_conf), ("hostname", &launch.id)];
    for (name, text) in files {
        let path = upper.join("etc").join(name);
        fs::write(&path, text)
            .and_then(|()| chown(&path, Some(root), Some(root)))
            .doing(|| format!("write `{}`", path.display()))?;
    }
    Ok(())
}

fn mount_overlay(launch: &Launch) -> Result<(), RuntimeError> {
    make_folder("lower")?;
    make_folder(ROOTFS)?;
    let namespace = File::open("ns/user").doing(|| "open the user namespace".to_owned())?;
    let mut lowers = Vec::new();
    for (number, tree) in launch.lowers.iter().enumerate() {
        let place = PathBuf::from(format!("lower/{number}"));
        make_folder(&place)?;
        let mounted = if launch.idmapped {
            sys::mount_idmapped(tree, &place, namespace.as_fd(), false)
        } else {
            mount_bind(tree, &place).map_err(io::Error::from)
        };
        mounted.doing(|| format!("mount the layer `{}`", tree.display()))?;
        lowers.push(place.to_string_lossy().into_owned());
    }
    lowers.reverse();
    // Nothing here outlives the container, so nothing is worth a sync: `volatile`.
    let options =
        format!("lowerdir={},upperdir=disk/upper,workdir=disk/work,volatile", lowers.join(":"));
    let options = CString::new(options).map_err(io::Error::from).doing(|| "name layers".into())?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV;
    mount("overlay", ROOTFS, "overlay", flags, options.as_c_str())
        .doing(|| "mount the overlay".to_owned())
}

/// Prepares a folder or file of the host at a place that shows nothing of its path.
///
/// What is writable has container-relative owners on disk, as layers have. What is not may be
/// root's alone: it is shown as owned by `vcap`, so that it can be read.
fn mount_source(launch: &Launch, number: usize, bind: &LaunchBind) -> Result<(), RuntimeError> {
    make_folder("binds")?;
    let place = Path::new("binds").join(number.to_string());
    let source = &bind.source;
    let what = || format!("mount `{}`", source.display());
    if source.is_dir() {
        make_folder(&place)?;
    } else {
        File::create(&place).doing(what)?;
    }
    let mounted = if bind.writable {
        chown(source, Some(VCAP_UID), Some(VCAP_UID)).doing(what)?;
        let namespace = File::open("ns/user").doing(what)?;
        sys::mount_idmapped(source, &place, namespace.as_fd(), true)
    } else {
        sys::user_namespace_of_one(0, launch.uid_base + VCAP_UID)
            .and_then(|namespace| sys::mount_idmapped(source, &place, namespace.as_fd(), false))
    };
    match mounted {
        Ok(()) => Ok(()),
        // A file system without id-mapped mounts: the owner itself is shifted.
        Err(_) if bind.writable => {
            let vcap = launch.uid_base + VCAP_UID;
            chown(source, Some(vcap), Some(vcap)).doing(what)?;
            mount_bind(source, &place).doing(what)
        }
        Err(_) => mount_bind(source, &place).doing(what),
    }
}

fn make_folder(path: impl AsRef<Path>) -> Result<(), RuntimeError> {
    let path = path.as_ref();
    match fs::create_dir(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(error).doing(|| format!("create the folder `{}`", path.display()))
        }
        _ => fs::set_permissions(path, fs::Permissions::from_mode(0o711))
            .doing(|| format!("open the folder `{}`", path.display())),
    }
}
