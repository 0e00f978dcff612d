//! Durations counted in buckets that are as wide as a sixteenth of what they hold, so that a
//! quantile is true to a few per cent from a microsecond to an hour.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Buckets per doubling, and the exponent of it.
const STEPS: u32 = 16;
const STEP_BITS: u32 = 4;

/// At most 464 buckets; only those that were hit take space.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Histogram {
    /// Number and count, ascending.
    buckets: Vec<(u16, u64)>,
}

impl Histogram {
    pub fn record(&mut self, duration: Duration) {
        // Longer than 71 minutes is in the last bucket.
        let micros = u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
        self.put(bucket_of(micros), 1);
    }

    pub fn add(&mut self, other: &Self) {
        other.buckets.iter().for_each(|(bucket, count)| self.put(*bucket, *count));
    }

    pub fn count(&self) -> u64 {
        self.buckets.iter().map(|(_, count)| count).sum()
    }

    /// In microseconds: so many thousandths are not longer. None if nothing was recorded.
    pub fn quantile(&self, thousandths: u64) -> Option<u64> {
        let rank = (self.count() * thousandths).div_ceil(1000).max(1);
        let mut below = 0;
        let at = self.buckets.iter().find(|(_, count)| {
            below += count;
            below >= rank
        });
        at.map(|(bucket, _)| middle_of(*bucket))
    }

    fn put(&mut self, bucket: u16, count: u64) {
        match self.buckets.binary_search_by_key(&bucket, |(bucket, _)| *bucket) {
            Ok(at) => self.buckets[at].1 += count,
            Err(at) => self.buckets.insert(at, (bucket, count)),
        }
    }
}

fn bucket_of(micros: u32) -> u16 {
    if micros < STEPS {
        return micros as u16;
    }
    let exponent = micros.ilog2();
    let step = (micros >> (exponent - STEP_BITS)) % STEPS;
    ((exponent - STEP_BITS + 1) * STEPS + step) as u16
}

fn middle_of(bucket: u16) -> u64 {
    let (doubling, step) = (u32::from(bucket) / STEPS, u32::from(bucket) % STEPS);
    if doubling == 0 {
        return u64::from(step);
    }
    // A number from elsewhere must not shift out of range.
    let shift = (doubling - 1).min(u32::BITS);
    (u64::from(STEPS + step) << shift) + ((1 << shift) >> 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(micros: &[u32]) -> Histogram {
        let mut histogram = Histogram::default();
        micros.iter().for_each(|one| histogram.record(Duration::from_micros(u64::from(*one))));
        histogram
    }

    #[test]
    fn quantiles_of_nothing_are_unknown_and_of_one_are_that_one() {
        assert_eq!(Histogram::default().quantile(500), None);
        assert_eq!(of(&[7]).quantile(990), Some(7));
    }

    #[test]
    fn buckets_number_from_zero_without_a_gap() {
        let edges: Vec<u16> = (0..70).map(bucket_of).collect();

        assert_eq!(edges[..33], (0..33).collect::<Vec<u16>>());
        assert_eq!(bucket_of(u32::MAX), 463);
    }

    #[test]
    fn histogram_is_written_as_pairs() {
        let text = serde_json::to_string(&of(&[3, 3, 1_000])).unwrap();

        assert_eq!(text, "[[3,2],[111,1]]");
        assert_eq!(serde_json::from_str::<Histogram>(&text).unwrap(), of(&[3, 3, 1_000]));
    }

    proptest! {
        #[test]
        fn quantile_is_near_the_true_one(
            mut micros in proptest::collection::vec(any::<u32>(), 1..200),
            thousandths in 1u64..=1000,
        ) {
            let found = of(&micros).quantile(thousandths).unwrap() as f64;

            micros.sort_unstable();
            let rank = (micros.len() * thousandths as usize).div_ceil(1000).max(1);
            let true_one = f64::from(micros[rank - 1]);
            prop_assert!((found - true_one).abs() <= true_one / 30.0 + 0.5, "{found} for {true_one}");
        }

        #[test]
        fn parts_add_up_to_the_whole(
            a in proptest::collection::vec(any::<u32>(), 0..50),
            b in proptest::collection::vec(any::<u32>(), 0..50),
        ) {
            let mut sum = of(&a);
            sum.add(&of(&b));

            prop_assert_eq!(sum, of(&[a, b].concat()));
        }
    }
}
