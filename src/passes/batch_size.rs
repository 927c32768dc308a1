use std::time::Duration;

/// Rows per batch: grows while the database is quick, shrinks when it is not, and is narrowed down when a batch fails, to the one row that
/// makes it fail.
#[derive(Debug, Clone, Copy)]
pub(super) struct BatchSize {
    rows: u32,
    most: u32,
    narrowing: Option<Narrowing>,
}

/// One of the next `suspects` rows makes a batch fail, as far as it is known.
#[derive(Debug, Clone, Copy)]
struct Narrowing {
    suspects: u32,
    /// Its parts: a refusal costs little, so it is halved; a timeout costs seconds, so there are fewer and larger steps.
    parts: u32,
    /// The rows of the batch that failed first.
    whole: u32,
}

const FIRST: u32 = 1_000;
const MOST: u32 = 5_000;
/// A batch that takes less than this can be larger.
const QUICK: Duration = Duration::from_millis(100);
/// A batch that takes longer than this keeps others waiting for its locks, and a stop waiting for its end.
const SLOW: Duration = Duration::from_millis(400);

impl BatchSize {
    /// Never more than `rate` rows, so that the budget is exceeded by at most one second's rows.
    pub(super) fn new(rate: Option<u32>) -> Self {
        let most = rate.map_or(MOST, |rate| rate.clamp(1, MOST));
        Self { rows: FIRST.min(most), most, narrowing: None }
    }

    pub(super) const fn rows(self) -> u32 {
        self.rows
    }

    /// After a batch that succeeded and took this long.
    pub(super) fn passed(&mut self, time: Duration) {
        let Some(mut narrowing) = self.narrowing else {
            if time < QUICK {
                self.rows = self.rows.saturating_mul(2).min(self.most);
            } else if time > SLOW {
                self.rows = (self.rows / 2).max(1);
            }
            return;
        };
        narrowing.suspects = narrowing.suspects.saturating_sub(self.rows);
        if narrowing.suspects == 0 {
            // No single row was the cause.
            self.narrowing = None;
            return;
        }
        self.narrowing = Some(narrowing);
        self.rows =
            if narrowing.parts == 2 { narrowing.suspects.div_ceil(2) } else { self.rows.min(narrowing.suspects) };
    }

    /// After a batch that timed out. `false` if it was a single row.
    pub(super) fn too_slow(&mut self) -> bool {
        self.narrow(8)
    }

    /// After a batch that was refused. `false` if it was a single row.
    pub(super) fn refused(&mut self) -> bool {
        self.narrow(2)
    }

    fn narrow(&mut self, parts: u32) -> bool {
        if self.rows == 1 {
            return false;
        }
        let whole = self.narrowing.map_or(self.rows, |narrowing| narrowing.whole);
        self.narrowing = Some(Narrowing { suspects: self.rows, parts, whole });
        self.rows = (self.rows / parts).max(1);
        true
    }

    /// The row that made a batch fail is passed over. More such rows may follow, so the next batch is smaller than the one that failed.
    pub(super) fn stepped_over(&mut self) {
        let whole = self.narrowing.take().map_or(self.rows, |narrowing| narrowing.whole);
        self.rows = (whole / 4).max(1);
    }

    /// Whether no batch has failed, or the row that made it fail is found.
    pub(super) const fn is_whole(self) -> bool {
        self.narrowing.is_none()
    }

    /// For the next pass: the size still suits the database's speed, but the rows are others.
    pub(super) fn begin_pass(&mut self) {
        self.narrowing = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_speed_within_its_bounds() {
        let mut size = BatchSize::new(None);
        for _ in 0..10 {
            size.passed(Duration::from_millis(1));
        }
        assert_eq!(size.rows(), MOST);
        size.passed(Duration::from_secs(1));
        assert_eq!(size.rows(), MOST / 2);
        for neither in [QUICK, Duration::from_millis(200), SLOW] {
            size.passed(neither);
            assert_eq!(size.rows(), MOST / 2);
        }
        for _ in 0..20 {
            size.passed(Duration::from_secs(1));
        }
        assert_eq!(size.rows(), 1);
        assert!(!size.too_slow());
        size.passed(Duration::ZERO);
        assert_eq!(size.rows(), 2);
    }

    #[test]
    fn never_exceeds_the_rate() {
        let mut size = BatchSize::new(Some(3));
        size.passed(Duration::ZERO);
        assert_eq!(size.rows(), 3);
    }

    #[test]
    fn next_batch_is_smaller_than_the_one_that_failed_and_the_next_pass_begins_whole() {
        let mut size = BatchSize::new(None);
        while size.too_slow() {}
        size.stepped_over();
        assert_eq!((size.rows(), size.is_whole()), (FIRST / 4, true));
        assert!(size.refused() && !size.is_whole());
        size.begin_pass();
        assert!(size.is_whole());
    }

    /// Batches until all rows are done, if those at `bad` refuse.
    fn batches(rows: u32, bad: impl Fn(u32) -> bool, fails: impl Fn(&mut BatchSize) -> bool) -> u32 {
        let (mut size, mut at, mut batches) = (BatchSize::new(None), 0, 0);
        while at < rows {
            batches += 1;
            let end = (at + size.rows()).min(rows);
            if !(at..end).any(&bad) {
                at = end;
                size.passed(Duration::ZERO);
            } else if !fails(&mut size) {
                at += 1;
                size.stepped_over();
            }
        }
        batches
    }

    #[test]
    fn one_bad_row_costs_a_handful_of_batches_wherever_it_is() {
        for bad in [0, 1, 499, 500, 777, 999, 1_000, 2_999, 3_000] {
            let refused = batches(3_001, |row| row == bad, BatchSize::refused);
            assert!(refused <= 25, "{bad}: {refused}");
        }
    }

    #[test]
    fn a_row_that_is_too_slow_is_found_in_few_time_outs() {
        for bad in [0, 1, 499, 500, 777, 999] {
            let time_outs = std::cell::Cell::new(0);
            batches(
                1_000,
                |row| row == bad,
                |size| {
                    time_outs.set(time_outs.get() + 1);
                    size.too_slow()
                },
            );
            assert!(time_outs.get() <= 4, "{bad}: {}", time_outs.get());
        }
    }

    #[test]
    fn many_bad_rows_cost_a_few_batches_each() {
        let spread = batches(100_000, |row| row % 100 == 7, BatchSize::refused);
        assert!(spread <= 1_000 * 20, "{spread}");
        let all = batches(10_000, |_| true, BatchSize::refused);
        assert!(all <= 10_100, "{all}");
    }

    #[test]
    fn where_every_row_is_slow_the_size_ends_at_one_and_grows_again() {
        let mut size = BatchSize::new(None);
        assert!(size.too_slow() && size.too_slow() && size.too_slow());
        assert_eq!(size.rows(), 1);
        for _ in 0..20 {
            size.passed(Duration::from_millis(600));
            assert_eq!(size.rows(), 1);
        }
        size.passed(Duration::ZERO);
        assert_eq!(size.rows(), 2);
    }
}
