use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::broker::{BrokerError, DeadLetterQueue};

/// Replays in waves that grow while little comes back: whoever mended the cause only in part finds out after ten letters,
/// not after a hundred thousand.
#[derive(Debug)]
pub(super) struct StopOnFailures {
    /// Of 100.
    percent: f64,
    wave: u32,
    in_wave: u32,
    /// Messages that waited for another try before.
    retries_before: u32,
}

const FIRST_WAVE: u32 = 10;
const LARGEST_WAVE: u32 = 5_000;
/// For the workers to take a wave.
const TAKEN_WITHIN: Duration = Duration::from_secs(30);
/// For what they have taken to come back. What comes later counts in the next look.
const COMES_BACK_WITHIN: Duration = Duration::from_secs(2);

impl StopOnFailures {
    pub(super) async fn new(percent: f64, queue: &DeadLetterQueue) -> Result<Self, BrokerError> {
        Ok(Self { percent, wave: FIRST_WAVE, in_wave: 0, retries_before: queue.retries_waiting().await? })
    }

    /// How many may be replayed before the next look.
    pub(super) const fn room(&self) -> u32 {
        self.wave - self.in_wave
    }

    /// Counts what was replayed, and at the end of a wave (or at the last letter) waits for it to be taken and says why to stop, if
    /// there is a reason. `ours` of the letters that arrived were put there by this replay itself.
    pub(super) async fn replayed(
        &mut self,
        queue: &DeadLetterQueue,
        count: u32,
        so_far: u32,
        ours: u32,
    ) -> Result<Option<String>, BrokerError> {
        self.in_wave += count;
        if self.room() > 0 {
            return Ok(None);
        }
        (self.in_wave, self.wave) = (0, (self.wave * 2).min(LARGEST_WAVE));
        self.look(queue, so_far, ours).await
    }

    /// Waits for the workers, then looks at what came back.
    pub(super) async fn look(
        &self,
        queue: &DeadLetterQueue,
        so_far: u32,
        ours: u32,
    ) -> Result<Option<String>, BrokerError> {
        let began = Instant::now();
        while queue.work_waiting().await? > 0 {
            if began.elapsed() > TAKEN_WITHIN {
                return Ok(Some(
                    "no worker takes the replayed messages, so nothing shows whether they fail".to_owned(),
                ));
            }
            sleep(Duration::from_millis(100)).await;
        }
        let taken = Instant::now();
        loop {
            let back = queue.arrived().await?.saturating_sub(ours);
            // A delete that fails by itself is tried again for minutes before its message is a dead letter.
            let retried = queue.retries_waiting().await?.saturating_sub(self.retries_before);
            if so_far > 0 && f64::from(back + retried) * 100.0 >= self.percent * f64::from(so_far) {
                return Ok(Some(format!(
                    "of {so_far} that were replayed, {back} are dead letters again and {retried} failed and wait for another try; --stop-on-failures allows less than {}%",
                    self.percent
                )));
            }
            if taken.elapsed() > COMES_BACK_WITHIN {
                return Ok(None);
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Reads `20%` or `20`. `0.2` may have been meant as a fifth, so less than one needs the sign.
pub(super) fn percent(text: &str) -> Result<f64, String> {
    let (number, least) = text.strip_suffix('%').map_or((text, 1.0), |number| (number, 0.0));
    let percent = number.parse().ok().filter(|percent| *percent > 0.0 && *percent >= least && *percent <= 100.0);
    percent
        .ok_or_else(|| "a share such as 20%, above 0% and at most 100%; below 1 with the sign, as in 0.2%".to_owned())
}
