//! Requests without a pause, to see whether any fails.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::JoinHandle,
};

use crate::{
    http,
    platform::{Platform, wait_for},
};

/// A client that asks for an app's front page again and again until it is told to end.
pub struct Load {
    is_over: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    client: JoinHandle<Vec<String>>,
}

impl Load {
    pub fn start(platform: &Platform, app: &str) -> Self {
        let (is_over, answered) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let (over, count, router) = (is_over.clone(), answered.clone(), platform.router);
        let host = format!("{app}.apps.localhost");
        let client = std::thread::spawn(move || {
            let mut failures = Vec::new();
            while !over.load(Ordering::Relaxed) {
                failures.extend(failure(router, &host));
                count.fetch_add(1, Ordering::Relaxed);
            }
            failures
        });
        Self { is_over, answered, client }
    }

    /// Waits until so many more requests were answered.
    #[track_caller]
    pub fn wait_for_more(&self, count: u64) {
        let wanted = self.answered.load(Ordering::Relaxed) + count;
        wait_for("more answers", || {
            (self.answered.load(Ordering::Relaxed) >= wanted).then_some(())
        });
    }

    /// Ends it; fails the test if a request failed.
    #[track_caller]
    pub fn expect_no_failure(self) {
        self.is_over.store(true, Ordering::Relaxed);
        let failures = self.client.join().unwrap();
        let answered = self.answered.load(Ordering::Relaxed);
        assert!(failures.is_empty(), "{} of {answered} failed: {failures:?}", failures.len());
    }
}

fn failure(router: SocketAddr, host: &str) -> Option<String> {
    match http::get(router, host, "/") {
        Ok(answer) if answer.status == 200 => None,
        Ok(answer) => Some(answer.head),
        Err(error) => Some(error.to_string()),
    }
}
