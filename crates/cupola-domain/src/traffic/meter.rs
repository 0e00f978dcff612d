//! Sums what the data plane counted over stretches of time: the last minutes of every app, and
//! stretches that are opened for deployments.
//!
//! Times are microseconds of a monotonic clock that may begin anywhere, below zero too.
//!
//! Invariant: bounded. What is kept grows with the apps that had requests in the last minutes and
//! with the open stretches, not with requests or time.

use std::{
    collections::{HashMap, VecDeque},
    time::Duration,
};

use super::{CostPhase, RequestCounts, Stretch};
use crate::ids::{AppId, DeploymentId};

/// How far back the last minutes go.
pub const RECENT: Duration = Duration::from_secs(300);
/// Counts of the last minutes are kept in pieces this long.
const PIECE_US: i64 = 10_000_000;
/// Reports follow each other by the clock of another process.
const JITTER_US: i64 = 1_000_000;
/// What the data plane had not told yet when it died is at most this old.
const UNTOLD_US: i64 = 500_000;
/// Gaps in the counting that are remembered; there is one per death of the data plane.
const GAPS_MAX: usize = 1_000;

/// Names an open stretch: of which deployment, and which part of it.
pub type StretchName = (DeploymentId, CostPhase);

#[derive(Debug, Default)]
pub struct Meter {
    recent: HashMap<AppId, VecDeque<(i64, RequestCounts)>>,
    open: HashMap<StretchName, Open>,
    /// When requests were counted: from and until, ascending, apart from each other.
    counted: VecDeque<(i64, i64)>,
    /// The data plane is there, so that silence means that there is nothing to tell.
    is_live: bool,
}

#[derive(Debug)]
struct Open {
    app_id: AppId,
    since: i64,
    counts: RequestCounts,
}

impl Meter {
    /// Takes what was counted in the `period` before `now`.
    pub fn take(&mut self, now: i64, period: Duration, apps: &[(AppId, RequestCounts)]) {
        self.cover(now.saturating_sub(micros(period)), now);
        for (app_id, counts) in apps {
            for open in self.open.values_mut().filter(|open| open.app_id == *app_id) {
                open.counts.add(counts);
            }
            let pieces = self.recent.entry(*app_id).or_default();
            let number = now.div_euclid(PIECE_US);
            match pieces.back_mut() {
                Some((last, sum)) if *last == number => sum.add(counts),
                _ => pieces.push_back((number, counts.clone())),
            }
        }
        let oldest = (now - micros(RECENT)).div_euclid(PIECE_US);
        self.recent.retain(|_, pieces| {
            while pieces.front().is_some_and(|(number, _)| *number < oldest) {
                pieces.pop_front();
            }
            !pieces.is_empty()
        });
    }

    /// Says whether the data plane is there and counts.
    pub fn set_live(&mut self, now: i64, is_live: bool) {
        if self.is_live
            && !is_live
            && let Some((_, until)) = self.counted.back_mut()
        {
            *until = (*until).max(now - UNTOLD_US);
        }
        self.is_live = is_live;
    }

    fn cover(&mut self, from: i64, until: i64) {
        let slack = if self.is_live { JITTER_US } else { 0 };
        match self.counted.back_mut() {
            Some(last) if from <= last.1 + slack => last.1 = last.1.max(until),
            _ => self.counted.push_back((from, until)),
        }
        if self.counted.len() > GAPS_MAX {
            self.counted.pop_front();
        }
    }

    /// How long requests were counted between two points.
    fn counted(&self, from: i64, until: i64) -> Duration {
        let last = self.counted.len().saturating_sub(1);
        let spans = self.counted.iter().enumerate().map(|(number, (begin, end))| {
            let end = if self.is_live && number == last { until } else { *end };
            end.min(until) - (*begin).max(from)
        });
        Duration::from_micros(spans.map(|span| span.max(0).unsigned_abs()).sum())
    }

    /// The last minutes of an app. None if nothing is known of them.
    pub fn recent(&self, now: i64, app: AppId) -> Option<Stretch> {
        let from = now - micros(RECENT);
        let mut sum = RequestCounts::default();
        let pieces = self.recent.get(&app).into_iter().flatten();
        let within = pieces.filter(|(number, _)| *number >= from.div_euclid(PIECE_US));
        within.for_each(|(_, counts)| sum.add(counts));
        Stretch::of(&sum, RECENT, self.counted(from, now))
    }

    /// Begins to sum for a deployment, unless it does so already. `since` may be earlier: then a
    /// part is not counted.
    pub fn open(&mut self, name: StretchName, app_id: AppId, since: i64) {
        let fresh = || Open { app_id, since, counts: RequestCounts::default() };
        self.open.entry(name).or_insert_with(fresh);
    }

    /// A stretch that is open. None if there is none or nothing is known of it.
    pub fn so_far(&self, now: i64, name: StretchName) -> Option<Stretch> {
        let open = self.open.get(&name)?;
        let lasted = Duration::from_micros((now - open.since).max(0).unsigned_abs());
        Stretch::of(&open.counts, lasted, self.counted(open.since, now))
    }

    /// Forgets stretches that are over or whose deployments are gone.
    pub fn close_all_but(&mut self, keep: impl Fn(StretchName) -> bool) {
        self.open.retain(|name, _| keep(*name));
    }
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::traffic::Ending;

    const SECOND: i64 = 1_000_000;

    fn requests(count: u64) -> RequestCounts {
        let mut counts = RequestCounts::default();
        let ending = Ending::Answered { status: 200, latency: Duration::from_millis(3) };
        (0..count).for_each(|_| counts.record(ending));
        counts
    }

    fn stretch() -> StretchName {
        (DeploymentId::random(), CostPhase::During)
    }

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn nothing_is_known_before_the_data_plane_has_told_anything() {
        let mut meter = Meter::default();
        let (app, deployment) = (AppId::random(), stretch());
        meter.open(deployment, app, 0);

        assert_eq!(meter.recent(SECOND, app), None);
        assert_eq!(meter.so_far(SECOND, deployment), None);
    }

    #[test]
    fn requests_before_and_during_are_told_apart() {
        let mut meter = Meter::default();
        let (app, other, deployment) = (AppId::random(), AppId::random(), stretch());
        meter.take(10 * SECOND, secs(5), &[(app, requests(7))]);
        meter.set_live(10 * SECOND, true);

        let before = meter.recent(10 * SECOND, app).unwrap();
        meter.open(deployment, app, 10 * SECOND);
        meter.take(12 * SECOND, secs(2), &[(app, requests(3)), (other, requests(90))]);
        let during = meter.so_far(13 * SECOND, deployment).unwrap();

        assert_eq!((before.served(), before.counted_ms, before.lasted_ms), (7, 5_000, 300_000));
        assert_eq!((during.served(), during.counted_ms, during.lasted_ms), (3, 3_000, 3_000));
        assert_eq!(during.p99_us, Some(3_008));
    }

    #[test]
    fn stretch_that_follows_is_counted_apart_while_the_one_before_is_still_open() {
        let mut meter = Meter::default();
        let (app, during) = (AppId::random(), stretch());
        let after = (during.0, CostPhase::After);
        meter.open(during, app, 0);
        meter.take(SECOND, secs(1), &[(app, requests(3))]);
        let before_it_opens = meter.so_far(SECOND, after);

        meter.open(after, app, SECOND);
        meter.close_all_but(|name| name == after);
        meter.take(2 * SECOND, secs(1), &[(app, requests(5))]);

        assert_eq!(before_it_opens, None);
        assert_eq!(meter.so_far(2 * SECOND, during), None);
        assert_eq!(meter.so_far(2 * SECOND, after).unwrap().served(), 5);
    }

    #[test]
    fn silence_of_a_data_plane_that_is_there_is_zero() {
        let mut meter = Meter::default();
        meter.take(0, secs(1), &[]);
        meter.set_live(0, true);

        let recent = meter.recent(600 * SECOND, AppId::random()).unwrap();

        assert_eq!((recent.served(), recent.counted_ms, recent.p50_us), (0, 300_000, None));
    }

    #[test]
    fn what_a_dead_data_plane_did_not_tell_is_not_counted() {
        let mut meter = Meter::default();
        let (app, deployment) = (AppId::random(), stretch());
        meter.take(0, secs(1), &[]);
        meter.set_live(0, true);
        meter.open(deployment, app, 0);

        meter.set_live(10 * SECOND, false);
        meter.take(14 * SECOND, secs(3), &[(app, requests(1))]);
        meter.set_live(14 * SECOND, true);
        let during = meter.so_far(20 * SECOND, deployment).unwrap();

        assert_eq!((during.lasted_ms, during.counted_ms), (20_000, 9_500 + 9_000));
    }

    #[test]
    fn after_a_restart_of_control_the_part_before_it_is_unknown() {
        let mut meter = Meter::default();
        let (app, deployment) = (AppId::random(), stretch());

        // The clock of this process began a second ago, the deployment half a minute ago; the data
        // plane kept what nobody took in the last four seconds.
        meter.open(deployment, app, -30 * SECOND);
        meter.take(SECOND, secs(4), &[(app, requests(5))]);
        let during = meter.so_far(SECOND, deployment).unwrap();

        assert_eq!((during.lasted_ms, during.counted_ms, during.served()), (31_000, 4_000, 5));
    }

    #[test]
    fn old_pieces_are_forgotten() {
        let mut meter = Meter::default();
        let (quiet, busy) = (AppId::random(), AppId::random());
        meter.take(0, secs(1), &[(quiet, requests(1))]);
        meter.set_live(0, true);

        meter.take(400 * SECOND, secs(400), &[(busy, requests(1))]);

        assert_eq!(meter.recent.len(), 1);
        assert_eq!(meter.recent(400 * SECOND, quiet).unwrap().served(), 0);
    }

    proptest! {
        #[test]
        fn never_more_is_counted_than_lasted(
            reports in proptest::collection::vec((1i64..20, 0u64..40, any::<bool>()), 1..40),
            from in 0i64..200,
        ) {
            let mut meter = Meter::default();
            let (app, deployment) = (AppId::random(), stretch());
            let mut now = 0;
            meter.open(deployment, app, from * SECOND);
            for (step, period, is_live) in reports {
                now += step * SECOND;
                meter.take(now, secs(period), &[(app, requests(1))]);
                meter.set_live(now, is_live);
            }

            let now = now.max(from * SECOND);
            for stretch in [meter.recent(now, app), meter.so_far(now, deployment)].into_iter().flatten() {
                prop_assert!(stretch.counted_ms <= stretch.lasted_ms);
            }
            let apart = meter.counted.iter().zip(meter.counted.iter().skip(1));
            prop_assert!(apart.into_iter().all(|(one, next)| one.1 < next.0));
        }
    }
}
