//! What builds of an app keep for the next one: a folder per app, bounded in size.

pub(crate) mod tree;

use std::{
    collections::HashSet,
    fs::{self, Permissions},
    io,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cupola_domain::ids::AppId;
use tracing::warn;

/// After this many failed builds in a row the next one starts without a cache, in case that is why.
const FAILURES_MAX: u32 = 2;
const FAILURES_NAME: &str = "failures";
const STACK_NAME: &str = "stack";
/// Marks a cache that is to be removed once the build that uses it has ended.
const DOOMED_NAME: &str = "doomed";

#[derive(Debug)]
pub(crate) struct Caches {
    dir: PathBuf,
    busy: Arc<Mutex<HashSet<AppId>>>,
}

/// The right to use a cache until it is dropped.
#[derive(Debug)]
pub(crate) struct Lease {
    app_id: AppId,
    folder: PathBuf,
    busy: Arc<Mutex<HashSet<AppId>>>,
}

impl Caches {
    pub(crate) fn new(dir: PathBuf) -> Self {
        Self { dir, busy: Arc::default() }
    }

    /// The cache of an app, made if it is not there; nothing while another build has it. What was
    /// built on another state of the stack is dropped: it may be linked with libraries of that one.
    pub(crate) fn lease(&self, app_id: AppId, stack_digest: &str) -> io::Result<Option<Lease>> {
        if !locked(&self.busy).insert(app_id) {
            return Ok(None);
        }
        let folder = self.dir.join(app_id.to_string());
        let lease = Lease { app_id, folder, busy: Arc::clone(&self.busy) };
        let stack = lease.folder.join(STACK_NAME);
        let is_doomed = lease.folder.join(DOOMED_NAME).exists();
        let is_of_stack = fs::read(&stack).is_ok_and(|known| known == stack_digest.as_bytes());
        if is_doomed || !is_of_stack || lease.failures() >= FAILURES_MAX {
            lease.clear()?;
        }
        fs::create_dir_all(lease.path())?;
        fs::write(stack, stack_digest)?;
        fs::set_permissions(lease.path(), Permissions::from_mode(0o755))?;
        Ok(Some(lease))
    }

    /// Removes the cache of an app: now, or when the build that uses it gives it back.
    pub(crate) fn remove(&self, app_id: AppId) -> io::Result<()> {
        let folder = self.dir.join(app_id.to_string());
        {
            let mut busy = locked(&self.busy);
            if busy.contains(&app_id) {
                fs::create_dir_all(&folder)?;
                return fs::write(folder.join(DOOMED_NAME), "");
            }
            busy.insert(app_id);
        }
        let lease = Lease { app_id, folder, busy: Arc::clone(&self.busy) };
        lease.clear()
    }

    /// Removes what was to be removed when the process that used it ended.
    pub(crate) fn remove_doomed(&self) {
        for entry in fs::read_dir(&self.dir).into_iter().flatten().flatten() {
            let folder = entry.path();
            if folder.join(DOOMED_NAME).exists()
                && let Err(error) = tree::remove(&folder)
            {
                let path = folder.display();
                warn!(%error, "the build cache {path} of a deleted app could not be removed");
            }
        }
    }
}

impl Lease {
    pub(crate) fn path(&self) -> PathBuf {
        self.folder.join("files")
    }

    pub(crate) fn clear(&self) -> io::Result<()> {
        tree::remove(&self.folder)
    }

    /// Remembers how the build ended, for the next one.
    pub(crate) fn note(&self, is_success: bool) -> io::Result<()> {
        let path = self.folder.join(FAILURES_NAME);
        if is_success {
            return match fs::remove_file(path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
                _ => Ok(()),
            };
        }
        fs::create_dir_all(&self.folder)?;
        fs::write(path, (self.failures() + 1).to_string())
    }

    fn failures(&self) -> u32 {
        let text = fs::read_to_string(self.folder.join(FAILURES_NAME));
        text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let (app_id, busy) = (self.app_id, Arc::clone(&self.busy));
        let folder = std::mem::take(&mut self.folder);
        let mut held = locked(&busy);
        if !folder.join(DOOMED_NAME).exists() {
            held.remove(&app_id);
            return;
        }
        drop(held);
        // Still busy until it is gone, so that no build gets a cache that is being removed.
        let remove = move || {
            if let Err(error) = tree::remove(&folder) {
                warn!(app.id = %app_id, %error, "the build cache of app {app_id} could not be removed");
            }
            locked(&busy).remove(&app_id);
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

/// The set stays right when a holder panics: it only ever inserts or removes.
fn locked(busy: &Mutex<HashSet<AppId>>) -> MutexGuard<'_, HashSet<AppId>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_has_one_user_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path().to_owned());
        let app_id = AppId::random();

        let first = caches.lease(app_id, "stack").unwrap();
        let second = caches.lease(app_id, "stack").unwrap();
        drop(first);
        let third = caches.lease(app_id, "stack").unwrap();

        assert!(second.is_none());
        assert!(third.is_some());
    }

    #[test]
    fn a_cache_is_dropped_after_two_failures_in_a_row() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path().to_owned());
        let app_id = AppId::random();
        let lease = caches.lease(app_id, "stack").unwrap().unwrap();
        fs::write(lease.path().join("kept"), "x").unwrap();

        lease.note(false).unwrap();
        drop(lease);
        let after_one = caches.lease(app_id, "stack").unwrap().unwrap();
        let is_kept_after_one = after_one.path().join("kept").exists();
        after_one.note(false).unwrap();
        drop(after_one);
        let after_two = caches.lease(app_id, "stack").unwrap().unwrap();

        assert!(is_kept_after_one);
        assert!(!after_two.path().join("kept").exists());
        assert_eq!(after_two.failures(), 0);
    }

    #[test]
    fn a_cache_of_another_stack_is_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path().to_owned());
        let app_id = AppId::random();
        let before = caches.lease(app_id, "old").unwrap().unwrap();
        fs::write(before.path().join("kept"), "x").unwrap();
        drop(before);

        let after = caches.lease(app_id, "new").unwrap().unwrap();

        assert!(!after.path().join("kept").exists());
    }

    #[test]
    fn a_cache_in_use_is_removed_when_the_build_gives_it_back() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path().to_owned());
        let app_id = AppId::random();
        let lease = caches.lease(app_id, "stack").unwrap().unwrap();

        caches.remove(app_id).unwrap();
        let is_kept_while_used = lease.path().exists();
        drop(lease);

        assert!(is_kept_while_used);
        assert!(!dir.path().join(app_id.to_string()).exists());
    }

    #[test]
    fn a_cache_whose_build_never_gave_it_back_is_removed_at_the_next_start() {
        let dir = tempfile::tempdir().unwrap();
        let caches = Caches::new(dir.path().to_owned());
        let app_id = AppId::random();
        let lease = caches.lease(app_id, "stack").unwrap().unwrap();
        caches.remove(app_id).unwrap();
        std::mem::forget(lease);

        Caches::new(dir.path().to_owned()).remove_doomed();

        assert!(!dir.path().join(app_id.to_string()).exists());
    }
}
