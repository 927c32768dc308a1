//! Whose fault an error is that may be the database's or one event's own, such as 53100 or 08001: a trigger may raise anything.
//!
//! It is the event's own once another delete has passed since it failed. Until then its messages wait, and the attempt is not counted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::key::Key;

/// This many events that fail in such a way, while nothing passes, look like an outage.
const LIKE_AN_OUTAGE: usize = 3;
/// A failure longer ago says nothing about now: its message comes again before that, here or elsewhere.
const RECENT: Duration = Duration::from_mins(1);
/// More are forgotten, which costs each of them one more attempt.
const REMEMBERED: usize = 10_000;

/// Events that failed with such an error. Shared by all batches, and kept from one session to the next.
#[derive(Debug, Default)]
pub(super) struct Suspects(Mutex<Evidence>);

#[derive(Debug, Default)]
struct Evidence {
    /// Deletes that have passed.
    passed: u64,
    /// How many had passed when the event failed, and when that was.
    failed: HashMap<Key, (u64, Instant)>,
}

impl Suspects {
    /// A delete of rows has been committed.
    pub(super) fn passed(&self, key: Key) {
        let mut evidence = self.evidence();
        evidence.passed += 1;
        evidence.failed.remove(&key);
    }

    /// The event fails and will be tried in steps: what passes from now on beside it counts.
    pub(super) fn note(&self, key: Key) {
        let mut evidence = self.evidence();
        let passed = evidence.passed;
        evidence.failed.entry(key).or_insert((passed, Instant::now()));
    }

    /// The event has failed. Whether it is its own fault: something else has passed since it failed before.
    pub(super) fn failed(&self, key: Key) -> bool {
        let mut evidence = self.evidence();
        if evidence.failed.len() >= REMEMBERED {
            evidence.failed.clear();
        }
        let passed = evidence.passed;
        evidence.failed.insert(key, (passed, Instant::now())).is_some_and(|(before, _)| before < passed)
    }

    /// Whether several events have failed lately and nothing has passed since.
    pub(super) fn look_like_an_outage(&self) -> bool {
        let evidence = self.evidence();
        let unexplained = |(before, at): &&(u64, Instant)| *before == evidence.passed && at.elapsed() < RECENT;
        evidence.failed.values().filter(unexplained).count() >= LIKE_AN_OUTAGE
    }

    fn evidence(&self) -> MutexGuard<'_, Evidence> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn key(event: u128) -> Key {
        (Uuid::from_u128(event), None)
    }

    #[test]
    fn failure_is_its_own_once_another_has_passed_since() {
        let suspects = Suspects::default();
        suspects.passed(key(9));
        assert!(!suspects.failed(key(1)), "what passed before shows nothing");
        assert!(!suspects.failed(key(1)));
        suspects.passed(key(2));
        suspects.note(key(1));
        assert!(suspects.failed(key(1)), "to be noted again takes nothing away");
        assert!(!suspects.failed(key(1)), "each failure needs evidence of its own");
    }

    #[test]
    fn several_failures_look_like_an_outage_until_something_passes() {
        let suspects = Suspects::default();
        for event in 0..3 {
            assert!(!suspects.look_like_an_outage(), "{event}");
            suspects.failed(key(event));
        }
        assert!(suspects.look_like_an_outage());
        suspects.passed(key(9));
        assert!(!suspects.look_like_an_outage());
    }

    #[test]
    fn what_passes_between_the_note_and_the_failure_counts() {
        let suspects = Suspects::default();
        suspects.note(key(1));
        suspects.passed(key(2));
        assert!(suspects.failed(key(1)));
    }
}
