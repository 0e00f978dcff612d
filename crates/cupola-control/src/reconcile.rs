//! The loops that bring what is there to what is wanted.
//!
//! A loop takes no input: it looks at everything it is about, does what is due, and sleeps until
//! something may have changed. An event and the clock both only wake it. So a start after a crash
//! is an ordinary pass, and there is no second way to do anything.
//!
//! Invariant: missing information means hold. A pass that cannot read changes nothing.

mod access_log;
mod deployments;
mod instances;
mod readiness;
mod retention;
mod routes;
mod staging;
mod state;
mod tasks;
mod traffic;

use std::{future::Future, time::Duration};

use cupola_ports::store::Lease;
use tokio::{sync::watch, task::JoinSet};

use crate::{Control, ControlError};

/// The loops while they run. Dropping them ends them where they are, which they survive.
pub struct Loops {
    tasks: JoinSet<()>,
}

impl Loops {
    /// Takes the lead, with an epoch above the one that the data plane serves, and starts every
    /// loop. They end when `stop` turns true.
    pub async fn start(
        control: &Control,
        served_epoch: u64,
        stop: watch::Receiver<bool>,
    ) -> Result<Self, ControlError> {
        let lease = control.ports.store.take_lease("loops", served_epoch).await?;
        let mut tasks = JoinSet::new();
        let mut spawn = |loop_: BoxedLoop| {
            let mut stop = stop.clone();
            tasks.spawn(async move {
                tokio::select! {
                    () = loop_ => {}
                    _ = stop.wait_for(|stopped| *stopped) => {}
                }
            });
        };
        spawn(Box::pin(instances::run(control.clone(), lease.clone())));
        spawn(Box::pin(staging::run(control.clone(), lease.clone())));
        spawn(Box::pin(jobs(control.clone(), lease.clone())));
        spawn(Box::pin(access_log::run(control.clone())));
        spawn(Box::pin(traffic::run(control.clone(), lease.clone())));
        spawn(Box::pin(retention::run(control.clone(), lease)));
        Ok(Self { tasks })
    }

    /// Waits until every loop has ended.
    pub async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

type BoxedLoop = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// How long a loop rests after a pass that failed.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// How long a loop sleeps when nothing wakes it.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs the jobs of the API.
async fn jobs(control: Control, lease: Lease) {
    let mut commits = control.ports.store.commits();
    loop {
        commits.mark_unchanged();
        match control.run_jobs(Some(&lease)).await {
            Ok(_) => sleep_until_commit(&mut commits, PERIOD).await,
            Err(error) => rest_after("jobs", &error).await,
        }
    }
}

async fn sleep_until_commit(commits: &mut watch::Receiver<u64>, at_most: Duration) {
    // An error means that the store is gone, and with it the process; the time is up either way.
    let _ = tokio::time::timeout(at_most, commits.changed()).await;
}

/// Says why a pass failed, and rests.
async fn rest_after(name: &str, error: &ControlError) {
    tracing::error!(error = error as &dyn std::error::Error, "a pass of the loop `{name}` failed");
    tokio::time::sleep(AFTER_FAILURE).await;
}

/// A leased transaction, for what a loop writes.
async fn write(
    control: &Control,
    lease: &Lease,
) -> Result<Box<dyn cupola_ports::store::WriteTx>, ControlError> {
    Ok(control.ports.store.write(Some(lease)).await?)
}
