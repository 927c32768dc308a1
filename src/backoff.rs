//! Growing pauses between tries, with jitter. The only file that names the crate `backoff`, which is unmaintained
//! (RUSTSEC-2025-0012) and was chosen by the project's owner; to replace it, change this file.

use std::time::Duration;

use ::backoff::ExponentialBackoff;
use ::backoff::backoff::Backoff as _;

/// Pauses that double from a start to a ceiling, each varied by half either way, for as long as it takes.
#[derive(Debug)]
pub struct Pauses(ExponentialBackoff);

impl Pauses {
    /// Pauses from about `first` up to about `longest`.
    #[must_use]
    pub fn between(first: Duration, longest: Duration) -> Self {
        Self(ExponentialBackoff {
            current_interval: first,
            initial_interval: first,
            randomization_factor: 0.5,
            multiplier: 2.0,
            max_interval: longest,
            max_elapsed_time: None, // an outage lasts as long as it lasts
            ..ExponentialBackoff::default()
        })
    }

    /// For a server that is away: noticed again within seconds of its return, and not asked more than that.
    #[must_use]
    pub fn for_outage() -> Self {
        Self::between(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// The next pause.
    pub fn next_pause(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Begins again at the first pause, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// A duration of about `interval`, varied by a tenth either way, so that replicas started together drift apart.
#[must_use]
pub fn jittered(interval: Duration) -> Duration {
    Pauses(ExponentialBackoff {
        current_interval: interval,
        initial_interval: interval,
        randomization_factor: 0.1,
        max_interval: interval,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    })
    .next_pause()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_the_ceiling_and_never_end() {
        let mut pauses = Pauses::between(Duration::from_millis(100), Duration::from_secs(5));
        let taken: Vec<_> = (0..100).map(|_| pauses.next_pause()).collect();
        assert!(taken[0] >= Duration::from_millis(50) && taken[0] <= Duration::from_millis(150), "{taken:?}");
        assert!(
            taken[10..]
                .iter()
                .all(|pause| *pause >= Duration::from_millis(2500) && *pause <= Duration::from_millis(7500))
        );
        pauses.reset();
        assert!(pauses.next_pause() <= Duration::from_millis(150));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..100 {
            let pause = jittered(Duration::from_secs(10));
            assert!(pause >= Duration::from_secs(9) && pause <= Duration::from_secs(11), "{pause:?}");
        }
    }
}
