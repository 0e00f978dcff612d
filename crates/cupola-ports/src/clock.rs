//! Time as an argument.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use cupola_domain::time::Timestamp;

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// Wall-clock time, for what people read. It may jump.
    fn now(&self) -> Timestamp;

    /// Time since a fixed point in this process, for decisions. It never goes back.
    fn monotonic(&self) -> Duration;
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    pub fn new() -> Self {
        Self { started: Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

#[expect(clippy::disallowed_methods, reason = "the one place where the machine is asked")]
impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }

    fn monotonic(&self) -> Duration {
        self.started.elapsed()
    }
}
