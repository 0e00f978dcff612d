//! Forwarding of packets, a setting of the whole machine that several installations may need.
//!
//! The first one remembers the old value, the last one puts it back.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};

use crate::error::{Doing, RuntimeError};

const SETTING: &str = "/proc/sys/net/ipv4/ip_forward";
/// Shared by all installations, and gone after a boot as the setting is.
const FOLDER: &str = "/run/cupola-forwarding";
const OLD: &str = "old-value";

pub(crate) fn acquire(installation: &str) -> Result<(), RuntimeError> {
    let what = || "let the host forward packets (net.ipv4.ip_forward)".to_owned();
    let _lock = lock().doing(what)?;
    if holders().is_empty() {
        let old = fs::read_to_string(SETTING).doing(what)?;
        fs::write(folder().join(OLD), old.trim()).doing(what)?;
    }
    fs::write(folder().join(holder(installation)), "").doing(what)?;
    if fs::read_to_string(SETTING).doing(what)?.trim() != "1" {
        fs::write(SETTING, "1").doing(what)?;
    }
    Ok(())
}

pub(crate) fn release(installation: &str) -> Result<(), RuntimeError> {
    let what = || "put back net.ipv4.ip_forward".to_owned();
    if !folder().exists() {
        return Ok(());
    }
    let _lock = lock().doing(what)?;
    let was_holder = fs::remove_file(folder().join(holder(installation))).is_ok();
    if was_holder && holders().is_empty() {
        if let Ok(old) = fs::read_to_string(folder().join(OLD)) {
            fs::write(SETTING, old).doing(what)?;
        }
        fs::remove_dir_all(folder()).doing(what)?;
    }
    Ok(())
}

fn folder() -> PathBuf {
    PathBuf::from(FOLDER)
}

fn holder(installation: &str) -> String {
    format!("holder-{installation}")
}

fn holders() -> Vec<String> {
    fs::read_dir(folder())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("holder-"))
        .collect()
}

/// Held while the folder is changed. It may be removed by the one who had it before.
fn lock() -> io::Result<File> {
    use std::os::unix::fs::MetadataExt;
    loop {
        fs::create_dir_all(FOLDER)?;
        let path = Path::new(FOLDER).join("lock");
        let file = match File::create(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            result => result?,
        };
        flock(&file, FlockOperation::LockExclusive)?;
        let is_same = fs::metadata(&path)
            .is_ok_and(|now| file.metadata().is_ok_and(|locked| locked.ino() == now.ino()));
        if is_same {
            return Ok(file);
        }
    }
}
