use std::time::Duration;

/// The delays after the first, second, third and every later failure of one message, one wait queue each.
///
/// Fixed, because a queue's `x-message-ttl` cannot be changed. They range from a lock that is released in a moment to a deployment of
/// the backend that takes minutes.
pub const DELAYS: [(&str, Duration); 4] = [
    ("1s", Duration::from_secs(1)),
    ("10s", Duration::from_secs(10)),
    ("1m", Duration::from_mins(1)),
    ("10m", Duration::from_mins(10)),
];

/// What follows a failed attempt of a message that failed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextStep {
    /// Wait in the queue of this delay (an index into [`DELAYS`]), then try again.
    Wait(usize),
    /// It has used its attempts.
    GiveUp,
}

/// Decides after attempt number `attempt` (the first is 1) of at most `max_attempts` has failed.
#[must_use]
pub fn after_failure(attempt: u32, max_attempts: u32) -> NextStep {
    if attempt >= max_attempts {
        return NextStep::GiveUp;
    }
    let failures_before = usize::try_from(attempt.saturating_sub(1)).unwrap_or(usize::MAX);
    NextStep::Wait(failures_before.min(DELAYS.len() - 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_and_the_last_attempt_gives_up() {
        let steps: Vec<_> = (1..=7).map(|attempt| after_failure(attempt, 7)).collect();
        assert_eq!(
            steps,
            [
                NextStep::Wait(0),
                NextStep::Wait(1),
                NextStep::Wait(2),
                NextStep::Wait(3),
                NextStep::Wait(3),
                NextStep::Wait(3),
                NextStep::GiveUp,
            ]
        );
        assert!(DELAYS.windows(2).all(|pair| pair[0].1 < pair[1].1));
    }

    #[test]
    fn a_single_attempt_is_never_retried() {
        assert_eq!(after_failure(1, 1), NextStep::GiveUp);
    }

    #[test]
    #[cfg(feature = "worker")] // has the reader of durations
    fn names_say_the_delay() {
        for (name, delay) in DELAYS {
            assert_eq!(crate::config::parse_duration(name), Ok(delay));
        }
    }
}
