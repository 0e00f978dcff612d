//! How requests ended, per app, until control is told.
//!
//! Each worker counts for itself, so that no core waits for another; a report takes what all have.
//! Invariant: bounded by the apps that had requests, however long nobody asks.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use cupola_domain::{
    ids::AppId,
    traffic::{Ending, RequestCounts},
};

type PerApp = HashMap<AppId, RequestCounts>;

/// What was counted and not told yet.
pub(crate) struct Accounts {
    workers: Vec<OfWorker>,
    /// The end of what was told.
    told_until: Mutex<Instant>,
}

/// On cache lines of its own: two cores that count must not share one.
#[derive(Default)]
#[repr(align(128))]
struct OfWorker(Mutex<PerApp>);

/// What one report tells.
#[derive(Default)]
pub(crate) struct Told {
    pub(crate) counts: Vec<(AppId, RequestCounts)>,
    pub(crate) period: Duration,
}

impl Accounts {
    pub(crate) fn new(workers: usize) -> Self {
        let workers = (0..workers).map(|_| OfWorker::default()).collect();
        Self { workers, told_until: Mutex::new(Instant::now()) }
    }

    pub(crate) fn record(&self, worker: usize, app_id: AppId, ending: Ending) {
        lock(&self.workers[worker].0).entry(app_id).or_default().record(ending);
    }

    pub(crate) fn take(&self) -> Told {
        let mut sum = PerApp::default();
        for worker in &self.workers {
            // The map keeps its room, so that counting on allocates nothing for it.
            lock(&worker.0).drain().for_each(|(app, counts)| add(&mut sum, app, &counts));
        }
        let now = Instant::now();
        let since = std::mem::replace(&mut *lock(&self.told_until), now);
        Told { counts: sum.into_iter().collect(), period: now - since }
    }

    /// It could not be told after all.
    pub(crate) fn put_back(&self, told: &Told) {
        if let Some(first) = self.workers.first() {
            let mut first = lock(&first.0);
            told.counts.iter().for_each(|(app, counts)| add(&mut first, *app, counts));
        }
        let mut told_until = lock(&self.told_until);
        *told_until = told_until.checked_sub(told.period).unwrap_or(*told_until);
    }
}

fn add(sum: &mut PerApp, app: AppId, counts: &RequestCounts) {
    sum.entry(app).or_default().add(counts);
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_are_summed_and_told_once() {
        let (accounts, app) = (Accounts::new(2), AppId::random());
        accounts.record(0, app, Ending::Failed);
        accounts.record(1, app, Ending::Failed);

        let told = accounts.take();

        assert_eq!(told.counts.len(), 1);
        assert_eq!(told.counts[0].1.failed, 2);
        assert!(accounts.take().counts.is_empty());
    }

    #[test]
    fn what_could_not_be_told_is_told_with_the_next() {
        let (accounts, app) = (Accounts::new(1), AppId::random());
        accounts.record(0, app, Ending::Failed);
        let lost = accounts.take();

        accounts.put_back(&lost);
        accounts.record(0, app, Ending::Tunnel);
        let told = accounts.take();

        assert_eq!((told.counts[0].1.failed, told.counts[0].1.tunnels), (1, 1));
        assert!(told.period >= lost.period);
    }
}
