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
    set_back: Mutex<Duration>,
}

impl ManualClock {
    pub(crate) const fn new() -> Self {
        Self { elapsed: Mutex::new(Duration::ZERO), set_back: Mutex::new(Duration::ZERO) }
    }

    pub fn advance(&self, by: Duration) {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }

    /// Somebody corrects the wall clock, which was ahead.
    pub fn set_back(&self, by: Duration) {
        *self.set_back.lock().unwrap_or_else(PoisonError::into_inner) += by;
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let now = BEGIN + self.monotonic();
        let set_back = *self.set_back.lock().unwrap_or_else(PoisonError::into_inner);
        Timestamp::from_micros(now.micros() - set_back.as_micros() as i64)
    }

    fn monotonic(&self) -> Duration {
        *self.elapsed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
