//! A clock that stands still until a test moves it.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use cupola_domain::time::Timestamp;
use cupola_ports::clock::Clock;

/// 2028-02-29T12:00:00Z: a day that does not exist in the next year.
const BEGIN: Timestamp = Timestamp::from_micros(1_835_438_400_000_000);

pub struct ManualClock {
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    pub(crate) const fn new() -> Self {
        Self { elapsed: Mutex::new(Duration::ZERO) }
    }

    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        BEGIN + self.monotonic()
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
