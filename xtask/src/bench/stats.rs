//! Combines several runs of one measurement, and formats numbers.

/// The results of several runs of one measurement, at least one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Samples {
    sorted: Vec<f64>,
}

impl Samples {
    /// From the results, in any order; `None` if there are no results.
    pub(crate) fn new(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        (!values.is_empty()).then_some(Self { sorted: values })
    }

    /// A measurement that was made only once.
    pub(crate) fn one(value: f64) -> Self {
        Self { sorted: vec![value] }
    }

    /// The middle value, or the mean of the two middle values.
    pub(crate) fn median(&self) -> f64 {
        let half = self.sorted.len() / 2;
        if self.sorted.len() % 2 == 1 {
            self.sorted[half]
        } else {
            f64::midpoint(self.sorted[half - 1], self.sorted[half])
        }
    }

    /// The smallest.
    pub(crate) fn min(&self) -> f64 {
        self.sorted[0]
    }

    /// The largest.
    pub(crate) fn max(&self) -> f64 {
        self.sorted[self.sorted.len() - 1]
    }

    /// The number of runs.
    pub(crate) fn runs(&self) -> usize {
        self.sorted.len()
    }
}

/// The unit of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Time in seconds.
    Seconds,
    /// Memory or disk in bytes.
    Bytes,
    /// A part of one core; 1 means all of it.
    Core,
}

impl Unit {
    /// Its name in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Seconds => "s",
            Self::Bytes => "B",
            Self::Core => "core",
        }
    }

    /// Formats a number of this unit for people.
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::Seconds if value.abs() >= 1.0 => format!("{value:.2} s"),
            Self::Seconds if value.abs() >= 0.1 => format!("{:.0} ms", value * 1e3),
            Self::Seconds => format!("{:.2} ms", value * 1e3),
            Self::Bytes => format!("{:.2} MiB", value / (1024.0 * 1024.0)),
            Self::Core => format!("{:.2}%", value * 100.0),
        }
    }

    /// Formats samples of this unit: the median, and also the extremes if there were several runs.
    pub(crate) fn show_samples(self, samples: &Samples) -> String {
        let median = self.show(samples.median());
        if samples.runs() == 1 {
            return median;
        }
        format!(
            "{median} ({}–{})",
            self.show(samples.min()),
            self.show(samples.max())
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_in_order() {
        let odd = Samples::new(vec![5.0, 1.0, 3.0]).unwrap();
        assert_eq!((odd.min(), odd.median(), odd.max()), (1.0, 3.0, 5.0));
        let even = Samples::new(vec![4.0, 1.0, 2.0, 100.0]).unwrap();
        assert_eq!((even.median(), even.runs()), (3.0, 4));
        assert_eq!(Samples::new(Vec::new()), None);
    }

    #[test]
    fn numbers_are_shown_as_long_as_they_are_exact() {
        assert_eq!(Unit::Seconds.show(0.004_321), "4.32 ms");
        assert_eq!(Unit::Seconds.show(0.123_4), "123 ms");
        assert_eq!(Unit::Seconds.show(2.5), "2.50 s");
        assert_eq!(Unit::Bytes.show(157_286.4), "0.15 MiB");
        assert_eq!(Unit::Core.show(0.0123), "1.23%");
    }

    #[test]
    fn extremes_are_shown_when_there_are_several_runs() {
        let several = Samples::new(vec![0.002, 0.001, 0.003]).unwrap();
        assert_eq!(Unit::Seconds.show_samples(&several), "2.00 ms (1.00 ms–3.00 ms)");
        assert_eq!(Unit::Seconds.show_samples(&Samples::one(0.002)), "2.00 ms");
    }
}
