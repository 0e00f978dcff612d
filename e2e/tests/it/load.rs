//! Requests without a pause, to see whether any fails.

use e2e::load::{Kind, Report};

use crate::platform::{PATIENCE, Platform};

/// Clients that ask an app until they are told to end.
pub struct Load(e2e::load::Load);

impl Load {
    /// One client that asks for an app's front page.
    pub fn start(platform: &Platform, app: &str) -> Self {
        Self::of(platform, app, &[Kind::Plain])
    }

    /// One client for each of the kinds. The app is `apps/steady.py`.
    pub fn of(platform: &Platform, app: &str, kinds: &[Kind]) -> Self {
        let host = format!("{app}.apps.localhost");
        Self(e2e::load::Load::start(platform.router, &host, kinds))
    }

    pub fn report(&self) -> Report {
        self.0.report()
    }

    /// Waits until so many more requests of each kind were answered.
    #[track_caller]
    pub fn wait_for_more(&self, count: u64) {
        let is_served = self.0.wait_for_more(count, PATIENCE);
        assert!(is_served, "waited {PATIENCE:?} in vain for {count} answers: {:?}", self.report());
    }

    /// Ends it; fails the test if a request failed.
    #[track_caller]
    pub fn expect_no_failure(self) {
        let report = self.0.finish();
        assert_eq!(report.failed, 0, "{report:?}");
    }
}
