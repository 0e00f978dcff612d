//! Medians and percentiles of a few measured values.

/// Measured values, the smallest first.
#[derive(Clone, Debug)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    /// Of at least one value.
    pub(crate) fn new(mut values: Vec<f64>) -> Self {
        assert!(!values.is_empty(), "a measurement has at least one value");
        values.sort_by(f64::total_cmp);
        Self(values)
    }

    pub(crate) fn n(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn median(&self) -> f64 {
        let middle = self.0.len() / 2;
        if self.0.len().is_multiple_of(2) {
            f64::midpoint(self.0[middle - 1], self.0[middle])
        } else {
            self.0[middle]
        }
    }

    /// The smallest value that is not exceeded by this many of a hundred.
    pub(crate) fn percentile(&self, of_hundred: usize) -> f64 {
        let rank = (self.0.len() * of_hundred).div_ceil(100);
        self.0[rank.saturating_sub(1)]
    }

    pub(crate) fn min(&self) -> f64 {
        self.0[0]
    }

    pub(crate) fn max(&self) -> f64 {
        self.0[self.0.len() - 1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_and_percentiles_are_of_the_sorted_values() {
        let odd = Samples::new(vec![3.0, 1.0, 2.0]);
        let even = Samples::new(vec![4.0, 1.0, 2.0, 3.0]);
        let hundred = Samples::new((1..=100).map(f64::from).collect());

        assert!((odd.median() - 2.0).abs() < 1e-9);
        assert!((even.median() - 2.5).abs() < 1e-9);
        assert!((hundred.percentile(99) - 99.0).abs() < 1e-9);
        assert!((odd.percentile(99) - 3.0).abs() < 1e-9);
    }
}
