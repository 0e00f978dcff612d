//! The cache of one build: lent to it, watched while it runs, and looked after when it has ended.

use std::{io, path::PathBuf, sync::Arc, time::Duration};

use cupola_ports::stager::StagingRequest;
use tokio::sync::watch;
use tracing::warn;

use super::{
    BuildpackStager,
    scratch::{self, Scratch},
    staging_log::StagingLog,
};
use crate::caches::{Lease, tree};

const CHECK_INTERVAL: Duration = Duration::from_secs(10);

pub(super) enum Cache {
    Kept(Lease),
    /// Another build of the same app has the kept one; this one goes with the scratch folder.
    Fresh(PathBuf),
}

impl Cache {
    pub(super) fn path(&self) -> PathBuf {
        match self {
            Self::Kept(lease) => lease.path(),
            Self::Fresh(path) => path.clone(),
        }
    }

    pub(super) async fn clear(self) {
        if let Self::Kept(lease) = self {
            let cleared = tokio::task::spawn_blocking(move || lease.clear()).await;
            if let Ok(Err(error)) = cleared {
                warn!(%error, "a build cache could not be removed");
            }
        }
    }
}

/// Checks the cache again and again until it is too large. Ends with the build.
pub(super) struct Watcher(tokio::task::JoinHandle<()>);

impl Watcher {
    /// `full` turns true once the cache takes more than `bytes_max`.
    pub(super) fn start(cache: PathBuf, bytes_max: u64, full: watch::Sender<bool>) -> Self {
        Self(tokio::spawn(watch_cache(cache, bytes_max, full)))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn watch_cache(cache: PathBuf, bytes_max: u64, full: watch::Sender<bool>) {
    loop {
        tokio::time::sleep(CHECK_INTERVAL).await;
        let cache = cache.clone();
        let exceeds = tokio::task::spawn_blocking(move || tree::exceeds(&cache, bytes_max));
        if exceeds.await.unwrap_or(false) {
            full.send_replace(true);
            return;
        }
    }
}

impl BuildpackStager {
    pub(super) async fn lend_cache(
        &self,
        request: &StagingRequest,
        stack_digest: &str,
        scratch: &Scratch,
    ) -> io::Result<Cache> {
        let caches = Arc::clone(&self.caches);
        let app_id = request.app_id;
        let stack_digest = stack_digest.to_owned();
        let leased = tokio::task::spawn_blocking(move || caches.lease(app_id, &stack_digest));
        match leased.await.map_err(io::Error::other)?? {
            Some(lease) => Ok(Cache::Kept(lease)),
            None => {
                let folder = scratch.path().join("cache");
                scratch::open_folder(&folder)?;
                Ok(Cache::Fresh(folder))
            }
        }
    }

    /// Keeps the cache for the next build, unless it has outgrown its bound, and notes whether the
    /// build succeeded if that is known.
    pub(super) async fn settle(&self, cache: Cache, is_success: Option<bool>, log: &StagingLog) {
        let Cache::Kept(lease) = cache else { return };
        let bytes_max = self.config.cache_bytes_max;
        let settled = tokio::task::spawn_blocking(move || {
            let is_dropped = tree::exceeds(&lease.path(), bytes_max);
            if is_dropped {
                lease.clear()?;
            }
            if let Some(is_success) = is_success {
                lease.note(is_success)?;
            }
            io::Result::Ok(is_dropped)
        });
        match settled.await.map_err(io::Error::other).flatten() {
            Ok(true) => log.say(&format!(
                "The build cache was dropped because it is larger than {} MiB or deeper than {} folders; the next build starts without it",
                bytes_max >> 20,
                tree::DEPTH_MAX
            )),
            Ok(false) => {}
            Err(error) => warn!(%error, "a build cache could not be looked after"),
        }
    }
}
