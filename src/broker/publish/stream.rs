use std::collections::VecDeque;
use std::time::Duration;

use futures_util::FutureExt;
use lapin::message::BasicReturnMessage;
use lapin::{Confirmation, PublisherConfirm};
use tokio::time::{Instant, timeout};

use super::outgoing::Outgoing;
use super::publisher::{Link, PublishError, is_same, send, unconfirmed};
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::close;
use crate::broker::error::BrokerError;

/// Messages in flight at once.
const WINDOW: usize = 2_000;
/// For the oldest confirm. A blocked connection (memory or disk alarm at the broker) runs into it.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(15);

/// Publishes many messages in a row, with confirms and mandatory: the next are sent while earlier ones are on their way.
///
/// What the broker gives back as unroutable, lapin hands to whichever confirm is completed next, and that may be one of a
/// message that was in flight beside it. So a message counts as confirmed for good only when a window's worth behind it are
/// confirmed too, or when all are.
pub struct PublishStream {
    link: Link,
    /// In the order of sending; the first `answered` have their answer.
    recent: VecDeque<Sent>,
    answered: usize,
    /// Confirmed for good, and no longer in `recent`.
    confirmed: u64,
    failed: bool,
    /// The broker has not answered in time.
    silent: bool,
}

struct Sent {
    number: u64,
    message: Outgoing,
    state: State,
}

enum State {
    Waiting(PublisherConfirm),
    Told(Result<(), PublishError>),
}

/// What became of all messages of a stream.
#[derive(Debug, Default)]
pub struct Published {
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

impl PublishStream {
    /// Connects.
    pub async fn open(address: &BrokerAddress) -> Result<Self, BrokerError> {
        let link = Link::open(address).await?;
        Ok(Self {
            link,
            recent: VecDeque::with_capacity(2 * WINDOW),
            answered: 0,
            confirmed: 0,
            failed: false,
            silent: false,
        })
    }

    /// Sends a message, under a number by which it is named later, when there is room for it. `false` when one has failed, so that it
    /// makes no sense to go on.
    pub async fn send(&mut self, number: u64, message: Outgoing) -> bool {
        while self.recent.len() - self.answered >= WINDOW && !self.failed {
            self.hear().await;
        }
        if self.failed {
            return false;
        }
        let state = match send(&self.link.channel, &message, Instant::now() + CONFIRM_TIMEOUT).await {
            Ok(confirm) => State::Waiting(confirm),
            Err(error) => {
                self.failed = true;
                State::Told(Err(error))
            }
        };
        self.recent.push_back(Sent { number, message, state });
        while self.answered >= WINDOW && !self.failed {
            self.recent.pop_front();
            self.answered -= 1;
            self.confirmed += 1;
        }
        !self.failed
    }

    /// Waits for an answer, for ever where nothing is in flight; `false` when a message has failed. May be dropped.
    pub async fn listen(&mut self) -> bool {
        if self.answered == self.recent.len() && !self.failed {
            return std::future::pending().await;
        }
        self.hear().await;
        !self.failed
    }

    /// How many are confirmed, as far as is known by now.
    #[must_use]
    pub const fn confirmed(&self) -> u64 {
        self.confirmed + self.answered as u64
    }

    /// Waits for what is still in flight, and tells what became of all.
    pub async fn finish(mut self) -> Published {
        while self.answered < self.recent.len() {
            self.hear().await;
        }
        close(&self.link.connection).await;
        let mut published = Published { confirmed: self.confirmed, ..Published::default() };
        for sent in self.recent {
            let State::Told(told) = sent.state else { continue };
            match &told {
                Ok(()) => published.confirmed += 1,
                Err(PublishError::Unroutable { .. }) => published.unroutable += 1,
                Err(PublishError::Refused | PublishError::Rejected(_) | PublishError::Invalid(_)) => {
                    published.refused += 1;
                }
                Err(PublishError::Unconfirmed(_)) => published.unconfirmed += 1,
            }
            if let Err(error) = told {
                published.first_failure.get_or_insert((sent.number, error));
            }
        }
        published
    }

    /// Waits for the oldest answer, and takes with it those that have come already.
    async fn hear(&mut self) {
        let mut wait = true;
        while let Some(sent) = self.recent.get_mut(self.answered) {
            let (told, back) = match &mut sent.state {
                // It was given back already, or never sent.
                State::Told(told) => (told.clone(), None),
                State::Waiting(confirm) => match confirm.now_or_never() {
                    Some(answer) => read(answer),
                    None if self.silent => (Err(no_confirm()), None),
                    None if wait => {
                        if let Ok(answer) = timeout(CONFIRM_TIMEOUT, confirm).await {
                            read(answer)
                        } else {
                            // Waiting as long for each of the others would add up.
                            self.silent = true;
                            (Err(no_confirm()), None)
                        }
                    }
                    None => return,
                },
            };
            wait = false;
            self.failed |= told.is_err();
            sent.state = State::Told(told);
            self.answered += 1;
            if let Some(back) = back {
                self.given_back(&back);
            }
        }
    }

    /// Each message that came back is matched by everything it consists of; of identical ones it does not matter which. One that
    /// matches none leaves none of them certain.
    fn given_back(&mut self, back: &BasicReturnMessage) {
        self.failed = true;
        let not_known = |sent: &&mut Sent| !matches!(sent.state, State::Told(Err(_)));
        if let Some(sent) = self.recent.iter_mut().filter(not_known).find(|sent| is_same(&sent.message, back)) {
            let (exchange, routing_key) = (sent.message.exchange.clone(), sent.message.routing_key.clone());
            sent.state = State::Told(Err(PublishError::Unroutable { exchange, routing_key }));
            return;
        }
        for sent in self.recent.iter_mut().filter(not_known) {
            sent.state =
                State::Told(Err(PublishError::Unconfirmed("a message came back that is none of these".to_owned())));
        }
    }
}

fn read(answer: lapin::Result<Confirmation>) -> (Result<(), PublishError>, Option<BasicReturnMessage>) {
    match answer {
        Ok(Confirmation::Ack(back)) => (Ok(()), back),
        Ok(Confirmation::Nack(back)) => (Err(PublishError::Refused), back),
        Ok(Confirmation::NotRequested) => {
            (Err(PublishError::Unconfirmed("the channel has no confirms".to_owned())), None)
        }
        Err(error) => (Err(unconfirmed(&error)), None),
    }
}

fn no_confirm() -> PublishError {
    PublishError::Unconfirmed("no confirm in time; is the broker short of memory or disk?".to_owned())
}
