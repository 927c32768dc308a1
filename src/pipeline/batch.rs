use std::time::Duration;

use tokio::time::Instant;

use super::intake::Item;
use crate::backoff::Backoff;
use crate::policy::{EventEnd, merge};

/// Messages that go through the steps together, as one value: intake fills it, apply answers for its event ends, settle takes out of it
/// whatever is not held.
pub(super) struct Batch {
    items: Vec<Item>,
    /// Messages that it began with.
    size: usize,
    began: Instant,
    /// Since when nothing of it has succeeded.
    held_since: Instant,
    backoff: Backoff,
}

impl Batch {
    pub(super) fn new(items: Vec<Item>) -> Self {
        let now = Instant::now();
        Self { size: items.len(), items, began: now, held_since: now, backoff: Backoff::for_outage() }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    /// The distinct event ends that its messages ask for.
    pub(super) fn ends(&self) -> Vec<EventEnd> {
        merge(self.items.iter().filter_map(|item| item.request.end()))
    }

    /// Takes all messages out, to be settled. Those that are held come back by [`hold`](Self::hold).
    pub(super) fn take(&mut self) -> Vec<Item> {
        std::mem::take(&mut self.items)
    }

    /// Holds messages until a later attempt; `progress` says whether other messages of the batch have succeeded, so that it is no
    /// outage yet.
    pub(super) fn hold(&mut self, items: Vec<Item>, progress: bool) {
        self.items = items;
        if progress {
            self.held_since = Instant::now();
            self.backoff.reset();
        }
    }

    pub(super) fn is_settled(&self) -> bool {
        self.items.is_empty()
    }

    pub(super) fn held_for(&self) -> Duration {
        self.held_since.elapsed()
    }

    /// How long to wait before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        self.backoff.next_delay()
    }

    pub(super) const fn size(&self) -> usize {
        self.size
    }

    pub(super) fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batch_that_is_held_is_not_tried_again_at_once() {
        assert!(Batch::new(Vec::new()).next_delay() > Duration::ZERO);
    }
}
