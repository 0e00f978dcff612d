//! What became of requests: how many were answered, how many failed, and how long answers took.
//!
//! Invariant: missing is not zero. Every sum says for how long requests were counted.

mod histogram;
mod meter;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use histogram::Histogram;
pub use meter::{Meter, RECENT, StretchName};

/// The requests to one app, each counted once when it is over, however it ended. Those that were
/// refused as wrong (400) before an instance was asked are in none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestCounts {
    /// Answers of the app by class: 1xx, 2xx, 3xx, 4xx, 5xx.
    pub answers: [u64; 5],
    /// What the platform did not bring to its end: 502, 503 and 504 of the router itself, and
    /// answers that broke off.
    pub failed: u64,
    /// Clients that went away before the answer began.
    pub abandoned: u64,
    /// Upgraded connections that ended, such as WebSockets.
    pub tunnels: u64,
    /// Until the answer began, of `answers` alone: a failure may be quick.
    pub latency: Histogram,
}

/// How one request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// By an answer of the app with this status, which began after so long.
    Answered {
        status: u16,
        latency: Duration,
    },
    Failed,
    Abandoned,
    Tunnel,
}

impl RequestCounts {
    pub fn record(&mut self, ending: Ending) {
        match ending {
            Ending::Answered { status, latency } => {
                let class = usize::from(status / 100).clamp(1, 5) - 1;
                self.answers[class] += 1;
                self.latency.record(latency);
            }
            Ending::Failed => self.failed += 1,
            Ending::Abandoned => self.abandoned += 1,
            Ending::Tunnel => self.tunnels += 1,
        }
    }

    pub fn add(&mut self, other: &Self) {
        for (sum, more) in self.answers.iter_mut().zip(other.answers) {
            *sum += more;
        }
        self.failed += other.failed;
        self.abandoned += other.abandoned;
        self.tunnels += other.tunnels;
        self.latency.add(&other.latency);
    }
}

/// The requests to one app over a stretch of time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stretch {
    pub lasted_ms: u64,
    /// For so long of it requests were counted. What came in the rest is unknown.
    pub counted_ms: u64,
    pub answers: [u64; 5],
    pub failed: u64,
    pub abandoned: u64,
    pub tunnels: u64,
    /// None without an answer.
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
}

impl Stretch {
    /// None if nothing is known of it.
    fn of(counts: &RequestCounts, lasted: Duration, counted: Duration) -> Option<Self> {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        (counted > Duration::ZERO).then(|| Self {
            lasted_ms: ms(lasted),
            counted_ms: ms(counted.min(lasted)),
            answers: counts.answers,
            failed: counts.failed,
            abandoned: counts.abandoned,
            tunnels: counts.tunnels,
            p50_us: counts.latency.quantile(500),
            p99_us: counts.latency.quantile(990),
        })
    }

    /// Requests that the app answered.
    pub fn served(&self) -> u64 {
        self.answers.iter().sum()
    }
}

/// What a deployment cost the users of its app. A stretch that is none is not known, or has not
/// ended yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cost {
    /// The minutes before it began.
    pub before: Option<Stretch>,
    /// From its beginning until it ended.
    pub during: Option<Stretch>,
    /// The minute after, or less if something else changed.
    pub after: Option<Stretch>,
    pub phase: CostPhase,
}

/// Which stretch is being counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CostPhase {
    #[default]
    During,
    After,
    Final,
}

/// How long requests are counted after a deployment.
pub const AFTER: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_errors_of_an_app_are_told_apart_from_failures_of_the_platform() {
        let mut counts = RequestCounts::default();
        let answered = |status| Ending::Answered { status, latency: Duration::from_millis(2) };

        for ending in [answered(101), answered(200), answered(404), answered(503)] {
            counts.record(ending);
        }
        for ending in [Ending::Failed, Ending::Abandoned, Ending::Tunnel] {
            counts.record(ending);
        }

        assert_eq!(counts.answers, [1, 1, 0, 1, 1]);
        assert_eq!((counts.failed, counts.abandoned, counts.tunnels), (1, 1, 1));
        assert_eq!(counts.latency.count(), 4);
    }

    #[test]
    fn what_was_never_counted_is_unknown() {
        let counts = RequestCounts::default();

        assert_eq!(Stretch::of(&counts, Duration::from_secs(9), Duration::ZERO), None);
    }
}
