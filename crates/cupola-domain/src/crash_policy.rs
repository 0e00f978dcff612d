//! Decides when an instance that ended by itself is started again.
//!
//! The rule of Diego (upstream: bbs, models/restart_calculator.go): three times at once, then after
//! 30 s doubling to 16 min, and no more after 200 crashes in a row. Five minutes up forget the row.

use std::time::Duration;

const IMMEDIATE_RESTARTS: u32 = 3;
const FIRST_DELAY: Duration = Duration::from_secs(30);
const DELAY_MAX: Duration = Duration::from_secs(16 * 60);
const CRASHES_MAX: u32 = 200;
const UPTIME_THAT_RESETS: Duration = Duration::from_secs(5 * 60);

/// What follows from a crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AfterCrash {
    /// Crashes in a row, this one included.
    pub crash_count: u32,
    /// How long to wait before the next start; none: no more.
    pub restart_after: Option<Duration>,
}

/// What follows when an instance crashed that was up for `uptime` and whose index had crashed
/// `crashes_before` times in a row.
pub fn after_crash(crashes_before: u32, uptime: Duration) -> AfterCrash {
    let before = if uptime >= UPTIME_THAT_RESETS { 0 } else { crashes_before };
    let crash_count = before.saturating_add(1);
    AfterCrash { crash_count, restart_after: delay(crash_count) }
}

/// Whether an index that crashed so often in a row is started again only after a while.
pub const fn waits(crash_count: u32) -> bool {
    crash_count > IMMEDIATE_RESTARTS
}

fn delay(crash_count: u32) -> Option<Duration> {
    if crash_count > CRASHES_MAX {
        None
    } else if crash_count <= IMMEDIATE_RESTARTS {
        Some(Duration::ZERO)
    } else {
        let doublings = (crash_count - IMMEDIATE_RESTARTS - 1).min(10);
        Some((FIRST_DELAY * 2_u32.pow(doublings)).min(DELAY_MAX))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn delay_of(crash_count: u32) -> Option<Duration> {
        after_crash(crash_count - 1, Duration::ZERO).restart_after
    }

    #[test]
    fn three_restarts_at_once_then_doubling_from_30_s_to_16_min() {
        let delays: Vec<_> = (1..=10).map(|count| delay_of(count).unwrap().as_secs()).collect();

        assert_eq!(delays, [0, 0, 0, 30, 60, 120, 240, 480, 960, 960]);
    }

    #[test]
    fn gives_up_after_200_crashes() {
        assert_eq!(delay_of(200), Some(DELAY_MAX));
        assert_eq!(delay_of(201), None);
    }

    #[test]
    fn five_minutes_up_forget_the_crashes_before() {
        let after = after_crash(150, UPTIME_THAT_RESETS);

        assert_eq!(after, AfterCrash { crash_count: 1, restart_after: Some(Duration::ZERO) });
    }

    proptest! {
        #[test]
        fn delay_never_falls_and_never_exceeds_its_bound(count in 1_u32..200) {
            let (this, next) = (delay_of(count).unwrap(), delay_of(count + 1).unwrap());

            prop_assert!(this <= next && next <= DELAY_MAX);
        }
    }
}
