use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::broker::{BrokerError, DeadLetterQueue};

/// Replays in waves that grow while few dead letters come back: whoever fixed the cause only in part finds out after ten of them, not after a
/// hundred thousand.
#[derive(Debug)]
pub(super) struct FailureWatch {
    /// Percentage, above 0 and at most 100.
    percent: f64,
    wave: u32,
    in_wave: u32,
    /// Messages that waited for another attempt before.
    retries_before: u32,
}

const FIRST_WAVE: u32 = 10;
const LARGEST_WAVE: u32 = 5_000;
/// For the workers to receive a wave.
const RECEIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// For what they have received to come back. What comes later counts at the next check.
const RETURN_TIMEOUT: Duration = Duration::from_secs(2);
const POLL_INTERVAL: Duration = Duration::from_millis(100);

impl FailureWatch {
    pub(super) async fn new(percent: f64, queue: &DeadLetterQueue) -> Result<Self, BrokerError> {
        Ok(Self { percent, wave: FIRST_WAVE, in_wave: 0, retries_before: queue.retries_waiting().await? })
    }

    /// How many may be replayed before the next check.
    pub(super) const fn left_in_wave(&self) -> u32 {
        self.wave - self.in_wave
    }

    /// Counts `count` more replayed dead letters, and checks at the end of a wave. Returns the reason to stop, if there is one.
    pub(super) async fn replayed(
        &mut self,
        queue: &DeadLetterQueue,
        count: u32,
        so_far: u32,
        ours: u32,
    ) -> Result<Option<String>, BrokerError> {
        if self.wave_is_over(count) { self.check(queue, so_far, ours).await } else { Ok(None) }
    }

    /// Counts; at the end of a wave the next one begins, which is twice as large.
    fn wave_is_over(&mut self, count: u32) -> bool {
        self.in_wave += count;
        let over = self.left_in_wave() == 0;
        if over {
            (self.in_wave, self.wave) = (0, (self.wave * 2).min(LARGEST_WAVE));
        }
        over
    }

    /// Waits until the workers have received what was replayed, then counts what came back. Of the dead letters that arrived, `ours` were put
    /// there by this replay itself. Returns the reason to stop, if there is one.
    pub(super) async fn check(
        &self,
        queue: &DeadLetterQueue,
        so_far: u32,
        ours: u32,
    ) -> Result<Option<String>, BrokerError> {
        let began = Instant::now();
        while queue.work_waiting().await? > 0 {
            if began.elapsed() > RECEIVE_TIMEOUT {
                let why = "no worker receives the replayed messages, so nothing shows whether they fail";
                return Ok(Some(why.to_owned()));
            }
            sleep(POLL_INTERVAL).await;
        }
        let received = Instant::now();
        loop {
            let back = queue.arrived().await?.saturating_sub(ours);
            // A message whose own delete fails is tried again for minutes before it is a dead letter.
            let retried = queue.retries_waiting().await?.saturating_sub(self.retries_before);
            if so_far > 0 && f64::from(back + retried) * 100.0 >= self.percent * f64::from(so_far) {
                return Ok(Some(format!(
                    "of {so_far} replayed, {back} are dead letters again and {retried} failed and wait for another attempt; --stop-on-failures allows less than {}%",
                    self.percent
                )));
            }
            if received.elapsed() > RETURN_TIMEOUT {
                return Ok(None);
            }
            sleep(POLL_INTERVAL).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_grow_by_two_up_to_the_largest() {
        let mut watch = FailureWatch { percent: 20.0, wave: FIRST_WAVE, in_wave: 0, retries_before: 0 };
        let mut waves = Vec::new();
        for _ in 0..11 {
            waves.push(watch.left_in_wave());
            assert!(!watch.wave_is_over(watch.left_in_wave() - 1) && watch.left_in_wave() == 1);
            assert!(watch.wave_is_over(1));
        }
        assert_eq!(waves, [10, 20, 40, 80, 160, 320, 640, 1_280, 2_560, 5_000, 5_000]);
    }
}
