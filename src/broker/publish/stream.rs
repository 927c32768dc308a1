use std::collections::VecDeque;

use futures_util::FutureExt;
use tokio::time::{Instant, timeout};

use super::channel::ConfirmChannel;
use super::confirm::{CONFIRM_TIMEOUT, InFlight, mark_returned};
use super::error::PublishError;
use super::outgoing::Outgoing;
use super::publisher::NAME;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::error::BrokerError;

/// Messages in flight at once.
const WINDOW: usize = 2_000;

/// Publishes many messages in a row, with `mandatory` and confirms: the next are published while earlier ones are in flight.
///
/// The confirm of one message may carry the return of another that was in flight beside it. So a message counts as confirmed for good
/// only when a window's worth behind it are confirmed too, or when all are.
pub struct PublishStream {
    channel: ConfirmChannel,
    /// In the order of publishing, each with its number; the confirms of the first `answered` are read.
    recent: VecDeque<(u64, InFlight<Outgoing>)>,
    answered: usize,
    /// Confirmed for good, and no longer in `recent`.
    confirmed: u64,
    failed: bool,
    /// A confirm did not come in time: the others are not waited for, since that would add up.
    timed_out: bool,
}

/// The outcome of all messages of a stream.
#[derive(Debug, Default)]
pub struct PublishReport {
    /// Messages that are safely in a queue.
    pub confirmed: u64,
    /// Those that no queue is bound for.
    pub unroutable: u64,
    /// Those that the broker refused.
    pub refused: u64,
    /// Those that may be in a queue or not.
    pub unconfirmed: u64,
    /// The first that is not confirmed, by its number; all before it are.
    pub first_failure: Option<(u64, PublishError)>,
}

impl PublishReport {
    fn add(&mut self, number: u64, result: Result<(), PublishError>) {
        match &result {
            Ok(()) => self.confirmed += 1,
            Err(PublishError::Unroutable { .. }) => self.unroutable += 1,
            Err(PublishError::Refused | PublishError::Rejected(_) | PublishError::Invalid(_)) => self.refused += 1,
            Err(PublishError::Unconfirmed(_)) => self.unconfirmed += 1,
        }
        if let Err(error) = result {
            self.first_failure.get_or_insert((number, error));
        }
    }
}

impl PublishStream {
    /// Connects.
    ///
    /// # Errors
    /// When the broker cannot be reached or refuses the login.
    pub async fn open(address: &BrokerAddress) -> Result<Self, BrokerError> {
        Ok(Self {
            channel: ConfirmChannel::open(address, NAME).await?,
            recent: VecDeque::with_capacity(2 * WINDOW),
            answered: 0,
            confirmed: 0,
            failed: false,
            timed_out: false,
        })
    }

    /// Publishes a message when the window has room for it. The number names it in the report. `false` when a message has failed, so
    /// that going on makes no sense.
    pub async fn send(&mut self, number: u64, message: Outgoing) -> bool {
        while self.recent.len() - self.answered >= WINDOW && !self.failed {
            self.await_confirm().await;
        }
        if self.failed {
            return false;
        }
        let deadline = Instant::now() + CONFIRM_TIMEOUT;
        let sent = InFlight::publish(self.channel.channel(), message, deadline).await;
        self.failed |= sent.error().is_some();
        self.recent.push_back((number, sent));
        while self.answered >= WINDOW && !self.failed {
            self.recent.pop_front();
            self.answered -= 1;
            self.confirmed += 1;
        }
        !self.failed
    }

    /// Waits for a confirm, for ever where nothing is in flight; `false` when a message has failed.
    ///
    /// Cancel-safe.
    pub async fn listen(&mut self) -> bool {
        if self.answered == self.recent.len() && !self.failed {
            return std::future::pending().await;
        }
        self.await_confirm().await;
        !self.failed
    }

    /// Messages that are confirmed, as far as is known by now.
    #[must_use]
    pub const fn confirmed(&self) -> u64 {
        self.confirmed + self.answered as u64
    }

    /// Waits for what is still in flight, and reports the outcome of all.
    pub async fn finish(mut self) -> PublishReport {
        while self.answered < self.recent.len() {
            self.await_confirm().await;
        }
        self.channel.close().await;
        let mut report = PublishReport { confirmed: self.confirmed, ..PublishReport::default() };
        for (number, sent) in self.recent {
            report.add(number, sent.into_result());
        }
        report
    }

    /// Waits for the oldest confirm, and reads with it those that have come already.
    async fn await_confirm(&mut self) {
        let mut wait = true;
        while let Some((_, sent)) = self.recent.get_mut(self.answered) {
            let answer = match sent.confirmed().now_or_never() {
                Some(returned) => Some(returned),
                None if self.timed_out => None,
                None if wait => timeout(CONFIRM_TIMEOUT, sent.confirmed()).await.ok(),
                None => return,
            };
            if answer.is_none() {
                sent.give_up();
                self.timed_out = true;
            }
            wait = false;
            self.failed |= sent.error().is_some();
            self.answered += 1;
            if let Some(returned) = answer.flatten() {
                self.failed = true;
                mark_returned(self.recent.iter_mut().map(|(_, sent)| sent), &returned);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_counts_each_outcome_and_keeps_the_first_failure() {
        let unroutable = PublishError::Unroutable { exchange: "e".to_owned(), routing_key: "k".to_owned() };
        let unconfirmed = || Err(PublishError::Unconfirmed("gone".to_owned()));
        let mut report = PublishReport { confirmed: 2000, ..PublishReport::default() };
        let results = [Ok(()), unconfirmed(), Err(PublishError::Refused), Err(unroutable), unconfirmed(), Ok(())];
        for (number, result) in (7..).zip(results) {
            report.add(number, result);
        }
        assert_eq!((report.confirmed, report.unroutable, report.refused, report.unconfirmed), (2002, 1, 1, 2));
        assert!(matches!(report.first_failure, Some((8, PublishError::Unconfirmed(_)))), "{report:?}");
    }
}
