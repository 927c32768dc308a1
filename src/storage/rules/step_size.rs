use std::time::Duration;

/// Rows of a step: at first, and at most.
const FIRST_STEP: usize = 64;
const LARGEST_STEP: usize = 10_000;
/// A step under this may be followed by a larger one.
const QUICK: Duration = Duration::from_millis(100);

/// How many rows a step takes: remembered from step to step and from event to event.
#[derive(Debug, Clone, Copy)]
pub struct StepSize(usize);

impl Default for StepSize {
    fn default() -> Self {
        Self(FIRST_STEP)
    }
}

impl StepSize {
    pub(in crate::storage) const fn rows(self) -> usize {
        self.0
    }

    /// After a step that took so long.
    pub(in crate::storage) fn took(&mut self, time: Duration) {
        if time < QUICK {
            self.0 = (self.0 * 4).min(LARGEST_STEP);
        }
    }

    /// After a failed step of `rows`. `false` where it was one row.
    pub(in crate::storage) fn shrink(&mut self, rows: usize) -> bool {
        self.0 = (rows / 8).max(1);
        rows > 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_they_are_quick_and_shrink_to_one_row() {
        let mut size = StepSize::default();
        for _ in 0..10 {
            size.took(Duration::ZERO);
        }
        assert_eq!(size.0, LARGEST_STEP);
        size.took(QUICK);
        assert_eq!(size.0, LARGEST_STEP);
        let mut rows = 64;
        for smaller in [8, 1] {
            assert!(size.shrink(rows));
            rows = size.0;
            assert_eq!(rows, smaller);
        }
        assert!(!size.shrink(rows), "one row is the least");
        assert_eq!(size.0, 1);
    }
}
