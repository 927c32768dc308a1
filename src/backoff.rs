//! Growing delays between attempts, with jitter. The only file that names the crate `backoff`, which is unmaintained
//! (RUSTSEC-2025-0012) and was chosen by the project's owner; to replace it, change this file.

use std::time::Duration;

use ::backoff::ExponentialBackoff;
use ::backoff::backoff::Backoff as _;

/// Delays that double from a start to a ceiling, each varied by half either way, without an end.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Backoff {
    /// Delays from about `first` up to about `longest`.
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

    /// For a server that does not answer: its return is noticed within seconds, and it is asked no more often than that.
    #[must_use]
    pub fn for_outage() -> Self {
        Self::between(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// The next delay.
    pub fn next_delay(&mut self) -> Duration {
        self.0.next_backoff().unwrap_or(self.0.max_interval)
    }

    /// Begins again at the first delay, after a success.
    pub fn reset(&mut self) {
        self.0.reset();
    }
}

/// A duration of about `interval`, varied by a tenth either way, so that replicas started together drift apart.
#[must_use]
pub fn jittered(interval: Duration) -> Duration {
    Backoff(ExponentialBackoff {
        current_interval: interval,
        initial_interval: interval,
        randomization_factor: 0.1,
        max_interval: interval,
        max_elapsed_time: None,
        ..ExponentialBackoff::default()
    })
    .next_delay()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_the_ceiling_and_never_end() {
        let mut backoff = Backoff::between(Duration::from_millis(100), Duration::from_secs(5));
        let delays: Vec<_> = (0..100).map(|_| backoff.next_delay()).collect();
        assert!(delays[0] >= Duration::from_millis(50) && delays[0] <= Duration::from_millis(150), "{delays:?}");
        assert!(
            delays[10..]
                .iter()
                .all(|delay| *delay >= Duration::from_millis(2500) && *delay <= Duration::from_millis(7500))
        );
        backoff.reset();
        assert!(backoff.next_delay() <= Duration::from_millis(150));
    }

    #[test]
    fn jitter_stays_within_a_tenth() {
        for _ in 0..100 {
            let delay = jittered(Duration::from_secs(10));
            assert!(delay >= Duration::from_secs(9) && delay <= Duration::from_secs(11), "{delay:?}");
        }
    }
}
