//! The times that the unwritten lines of a source have, so that a free one is found quickly even
//! behind thousands of taken ones.

use std::collections::BTreeMap;

/// Runs of neighbouring taken times: the first of each, and its last.
#[derive(Default)]
pub(super) struct Taken(BTreeMap<i64, i64>);

impl Taken {
    /// Takes the time, or the next free one after it.
    pub(super) fn take(&mut self, wanted: i64) -> i64 {
        let before = self.0.range_mut(..=wanted).next_back();
        let (first, at) = match before {
            // In the run or right behind it: the run grows by one.
            Some((first, last)) if *last >= wanted - 1 => {
                *last = (*last).max(wanted - 1) + 1;
                (*first, *last)
            }
            _ => {
                self.0.insert(wanted, wanted);
                (wanted, wanted)
            }
        };
        if let Some(last) = self.0.remove(&(at + 1)) {
            self.0.insert(first, last);
        }
        at
    }
}

impl FromIterator<i64> for Taken {
    fn from_iter<I: IntoIterator<Item = i64>>(times: I) -> Self {
        let mut taken = Self::default();
        for time in times {
            taken.take(time);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn each_gets_the_first_free_time_from_the_wanted_one_on(
            wanted in prop::collection::vec(0_i64..40, 0..100)
        ) {
            let mut naive = BTreeSet::new();
            let mut taken = Taken::default();

            for wanted in wanted {
                let free = (wanted..).find(|at| !naive.contains(at)).unwrap();
                naive.insert(free);
                prop_assert_eq!(taken.take(wanted), free);
            }
        }
    }
}
