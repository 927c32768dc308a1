use std::time::Duration;

/// Rows a batch: grows while the database is quick, shrinks when it is not.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSize {
    rows: u32,
    most: u32,
}

const FIRST: u32 = 1_000;
const LEAST: u32 = 10;
const MOST: u32 = 5_000;
/// Under this, larger batches cost nobody anything.
const QUICK: Duration = Duration::from_millis(100);
/// Above this, others feel our locks, and a stop would have to wait for us.
const SLOW: Duration = Duration::from_millis(400);

impl BatchSize {
    /// Never more than `rate` rows, so that the budget is exceeded by a second's worth at most.
    pub(super) fn new(rate: Option<u32>) -> Self {
        let most = rate.map_or(MOST, |rate| rate.clamp(1, MOST));
        Self { rows: FIRST.min(most), most }
    }

    pub(super) const fn rows(self) -> u32 {
        self.rows
    }

    /// After a batch that took so long.
    pub(super) fn took(&mut self, time: Duration) {
        if time < QUICK {
            self.rows = self.rows.saturating_mul(2).min(self.most);
        } else if time > SLOW {
            self.shrink();
        }
    }

    /// After a batch that ran into its time-out. `false` where it cannot get smaller.
    pub(super) fn shrink(&mut self) -> bool {
        let least = LEAST.min(self.most);
        let before = self.rows;
        self.rows = (self.rows / 2).max(least);
        self.rows < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_speed_within_its_bounds() {
        let mut size = BatchSize::new(None);
        for _ in 0..10 {
            size.took(Duration::from_millis(1));
        }
        assert_eq!(size.rows(), MOST);
        size.took(Duration::from_millis(200));
        assert_eq!(size.rows(), MOST);
        for _ in 0..20 {
            size.took(Duration::from_secs(1));
        }
        assert_eq!(size.rows(), LEAST);
        assert!(!size.shrink());
        size.took(Duration::ZERO);
        assert_eq!(size.rows(), 2 * LEAST);
    }

    #[test]
    fn never_exceeds_the_rate() {
        let mut size = BatchSize::new(Some(3));
        size.took(Duration::ZERO);
        assert_eq!(size.rows(), 3);
        assert!(!size.shrink());
        assert_eq!(size.rows(), 3);
    }
}
