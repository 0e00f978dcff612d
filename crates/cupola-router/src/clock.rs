//! A clock that costs one load to read: milliseconds since the start, advanced by the sweeps.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Instant,
};

#[derive(Clone)]
pub(crate) struct CoarseClock {
    started: Instant,
    now_ms: Arc<AtomicU64>,
}

impl CoarseClock {
    pub(crate) fn new() -> Self {
        Self { started: Instant::now(), now_ms: Arc::new(AtomicU64::new(1)) }
    }

    /// The time of the last tick. Never zero, so that zero can mean "never".
    pub(crate) fn now_ms(&self) -> u64 {
        self.now_ms.load(Relaxed)
    }

    pub(crate) fn tick(&self) {
        let elapsed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.now_ms.fetch_max(elapsed + 1, Relaxed);
    }
}
