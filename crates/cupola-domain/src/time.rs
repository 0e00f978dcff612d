//! Points in time as microseconds since 1970 UTC, the form they have in the database.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// A point in wall-clock time. Decisions about waiting use it only through the `Clock` port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `micros` microseconds after 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Whole seconds since 1970-01-01T00:00:00Z.
    pub const fn seconds(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z, the unit of log-cache.
    pub const fn nanos(self) -> i64 {
        self.0.saturating_mul(1_000)
    }

    /// How long before `self` the point `earlier` was; zero if it was later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0).max(0).unsigned_abs())
    }

    /// The point so long before.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        let micros = i64::try_from(earlier.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_sub(micros))
    }

    /// Reads RFC 3339 with any offset. None: it is something else.
    pub fn from_rfc3339(text: &str) -> Option<Self> {
        text.parse().ok().map(|point: jiff::Timestamp| Self(point.as_microsecond()))
    }

    /// The form of the Cloud Foundry API: RFC 3339 in UTC without fractions of a second.
    pub fn rfc3339(self) -> String {
        jiff::Timestamp::from_second(self.seconds())
            .map_or_else(|_| "9999-12-31T23:59:59Z".to_owned(), |point| point.to_string())
    }
}

impl std::ops::Add<Duration> for Timestamp {
    type Output = Self;

    fn add(self, later: Duration) -> Self {
        let micros = i64::try_from(later.as_micros()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(micros))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leap_day_is_written_like_any_other_day() {
        let leap_day = Timestamp::from_micros(1_835_395_200_999_999);

        assert_eq!(leap_day.rfc3339(), "2028-02-29T00:00:00Z");
    }

    #[test]
    fn a_clock_that_stepped_back_yields_no_negative_duration() {
        let later = Timestamp::from_micros(5);

        assert_eq!(Timestamp::from_micros(1).since(later), Duration::ZERO);
    }
}
