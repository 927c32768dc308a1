//! Whether the loops of the worker still turn. Each says by when it will be back; `/livez` and systemd's watchdog ask for one that is late.
//!
//! A loop that waits says so first, however long it waits: an idle worker, and one whose servers are away, must not look dead.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::time::Instant;

/// Every await of a loop has a deadline of its own, and together they take about a minute at most. A false alarm costs each message in
/// flight one of its 20 deliveries.
const TURN_AT_MOST: Duration = Duration::from_mins(3);

/// The loops of one process.
#[derive(Debug, Clone, Default)]
pub struct Heartbeats(Arc<Mutex<Vec<Watched>>>);

#[derive(Debug)]
struct Watched {
    name: &'static str,
    due: Weak<Mutex<Instant>>,
}

/// By when one loop will be back. The default is nobody's loop, and nobody asks.
#[derive(Debug, Clone, Default)]
pub struct Heartbeat(Option<Arc<Mutex<Instant>>>);

impl Heartbeats {
    /// Watches a loop until the last clone of its heartbeat is dropped.
    #[must_use]
    pub fn watch(&self, name: &'static str) -> Heartbeat {
        let due = Arc::new(Mutex::new(Instant::now() + TURN_AT_MOST));
        lock(&self.0).push(Watched { name, due: Arc::downgrade(&due) });
        Heartbeat(Some(due))
    }

    /// The first loop that should have been back by now.
    #[must_use]
    pub fn late(&self) -> Option<&'static str> {
        self.late_at(Instant::now())
    }

    fn late_at(&self, now: Instant) -> Option<&'static str> {
        let is_late = |watched: &&Watched| watched.due.upgrade().is_some_and(|due| *lock(&due) < now);
        lock(&self.0).iter().find(is_late).map(|watched| watched.name)
    }
}

impl Heartbeat {
    /// At the beginning of each turn, and before each wait: back after the wait and one turn.
    pub fn back_after(&self, wait: Duration) {
        if let Some(due) = &self.0 {
            *lock(due) = Instant::now() + wait + TURN_AT_MOST;
        }
    }

    /// As if the loop had stood still since the process started.
    #[cfg(test)]
    pub(crate) fn stand_still(&self) {
        *lock(self.0.as_ref().expect("it is watched")) = Instant::now() - Duration::from_millis(1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loop_is_late_once_neither_its_wait_nor_a_turn_explains_it() {
        let heartbeats = Heartbeats::default();
        let (first, second) = (heartbeats.watch("first"), heartbeats.watch("second"));
        first.back_after(Duration::ZERO);
        second.back_after(TURN_AT_MOST);
        let now = Instant::now();
        assert_eq!(heartbeats.late_at(now), None);
        assert_eq!(heartbeats.late_at(now + TURN_AT_MOST * 3 / 2), Some("first"));
        first.back_after(2 * TURN_AT_MOST);
        assert_eq!(heartbeats.late_at(now + TURN_AT_MOST * 3 / 2), None, "it is back");
        assert_eq!(heartbeats.late_at(now + TURN_AT_MOST * 5 / 2), Some("second"));
    }

    #[test]
    fn loop_that_has_ended_is_not_late() {
        let heartbeats = Heartbeats::default();
        drop(heartbeats.watch("ended"));
        assert_eq!(heartbeats.late_at(Instant::now() + 2 * TURN_AT_MOST), None);
    }

    #[test]
    fn nobodys_loop_is_never_late() {
        Heartbeat::default().back_after(Duration::ZERO);
    }
}
