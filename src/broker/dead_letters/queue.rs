//! The dead-letter queue during a `dlq` command.
//!
//! Letters are read in order and held unacknowledged. Those that are not removed return to their places when the command ends. When it
//! is killed or loses its connection, the broker returns them: then no letter is lost, but their order may change. One command works
//! at a time, with an exclusive queue as its lock, so a `dlq list` never hides letters from a replay, nor a replay from a list.
//! Requeuing counts as a delivery up to RabbitMQ 4.2; the queue's delivery limit is out of reach for that reason, and the count is
//! dropped from what is replayed.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::{Instant, sleep, timeout};

use super::held_letter::HeldLetter;
use super::lock::lock;
use super::read::DeadLetter;
use super::window::{FIRST_WINDOW, MAX_WINDOW, next_window, open_window};
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, close_channel, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::depth::{depth, waiting};
use crate::broker::topology::names::Topology;

/// Entries up to which an Erlang map is sorted (MAP_SMALL_MAP_LIMIT of its runtime).
const SORTED: usize = 32;
/// Commands in flight at once. With 32 the broker's channel begins to merge several into one.
const COMMANDS: usize = 16;
/// A dead letter in the queue arrives sooner; one that does not is held by another consumer, unless RabbitMQ is still encoding it.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(10);
/// After this time without a dead letter the queue is asked whether it has one left: a quorum queue counts what has expired behind
/// another message until its turn comes, as the probe of `doctor --probe` does.
const SILENCE: Duration = Duration::from_secs(1);
/// For that answer: RabbitMQ takes seconds to encode tens of thousands of nested tables, at each delivery but the first.
const ENCODING_TIMEOUT: Duration = Duration::from_mins(2);
/// For requeuing at the end of a command. Beyond it the letters return with the end of the connection, in any order.
const REQUEUE_TIMEOUT: Duration = Duration::from_mins(1);

/// The letters that are in the queue at the time of opening, the oldest first.
pub struct DeadLetterQueue {
    connection: Connection,
    channel: Channel,
    topology: Topology,
    /// Received and not yet returned by [`Self::next`].
    window: VecDeque<Delivery>,
    /// How many to receive next.
    next_window: u16,
    /// Delivery tags that are neither removed nor requeued.
    unacknowledged: BTreeSet<u64>,
    /// The last delivery tag of each consumer so far.
    last_tags: Vec<u64>,
    /// Letters at the last count, without those that were removed since.
    counted: u32,
    /// Where a walk ends.
    len: u32,
    received: u32,
    removed: u32,
}

impl DeadLetterQueue {
    /// Connects, waits a few seconds for another `dlq` command to end, and counts the letters.
    ///
    /// # Errors
    /// When the broker cannot be reached, the queue is missing, or another command is still at work.
    pub async fn open(address: &BrokerAddress, topology: &Topology) -> Result<Self, BrokerError> {
        let connection = connect(address, "dlq").await?;
        match Self::start(&connection, topology).await {
            Ok((channel, len)) => Ok(Self {
                connection,
                channel,
                topology: topology.clone(),
                window: VecDeque::new(),
                next_window: FIRST_WINDOW,
                unacknowledged: BTreeSet::new(),
                last_tags: Vec::new(),
                counted: len,
                len,
                received: 0,
                removed: 0,
            }),
            Err(error) => {
                close(&connection).await;
                Err(error)
            }
        }
    }

    async fn start(connection: &Connection, topology: &Topology) -> Result<(Channel, u32), BrokerError> {
        lock(connection, &topology.dead_letter_lock()).await?;
        let channel = open_channel(connection).await?;
        let len = depth(&channel, &topology.dead_letter_queue()).await?;
        Ok((channel, len))
    }

    /// Letters that were in the queue when it was opened, or those of the next walk after [`Self::requeue`].
    #[must_use]
    pub const fn letters(&self) -> u32 {
        self.len
    }

    /// The next letter; `None` after the last of [`Self::letters`], even if more have arrived.
    ///
    /// # Errors
    /// When the connection is lost or the queue is deleted.
    pub async fn next(&mut self) -> Result<Option<HeldLetter>, BrokerError> {
        if self.window.is_empty() && self.received < self.len {
            self.receive(self.len, true).await?;
        }
        let Some(delivery) = self.window.pop_front() else { return Ok(None) };
        Ok(Some(HeldLetter { letter: DeadLetter::read(&delivery, &self.topology), delivery }))
    }

    /// Receives the next letters, never more than are left up to `end`. The consumer ends before any of them is acknowledged, which
    /// would let letters in that arrived later.
    ///
    /// Not cancel-safe: dropped half-way it forgets what has arrived, and requeuing would change the order.
    async fn receive(&mut self, end: u32, keep: bool) -> Result<(), BrokerError> {
        let size = u16::try_from(end - self.received).unwrap_or(MAX_WINDOW).min(self.next_window);
        let mut consumer = open_window(&self.channel, &self.topology.dead_letter_queue(), size).await?;
        let (mut last, mut count, mut bytes) = (None, 0, 0);
        while count < size {
            let Some(delivery) = self.next_of(&mut consumer).await? else { break };
            self.unacknowledged.insert(delivery.delivery_tag);
            last = Some(delivery.delivery_tag);
            count += 1;
            bytes += delivery.data.len();
            if keep {
                self.window.push_back(delivery);
            }
        }
        let cancelled = self.channel.basic_cancel(consumer.tag(), BasicCancelOptions::default());
        answer("read the dead-letter queue", cancelled).await?;
        self.received += u32::from(count);
        self.last_tags.extend(last);
        if count == 0 {
            tracing::warn!(
                missing = end - self.received,
                "dead letters did not arrive: they have expired, or another program holds or removes them"
            );
            (self.counted, self.len) = (self.received, self.received);
        }
        self.next_window = next_window(usize::from(count), bytes);
        Ok(())
    }

    /// The next delivery; `None` where the queue has none left for this consumer.
    async fn next_of(&self, consumer: &mut Consumer) -> Result<Option<Delivery>, BrokerError> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        let mut last = false;
        loop {
            match timeout(SILENCE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => return Ok(Some(delivery)),
                Ok(Some(Err(error))) => return Err(BrokerError::during("read the dead-letter queue")(error)),
                Ok(None) => {
                    return Err(BrokerError::Topology("the dead-letter queue was deleted meanwhile".to_owned()));
                }
                Err(_) if last || Instant::now() >= deadline => return Ok(None),
                Err(_) => last = self.left().await? == 0,
            }
        }
    }

    /// Dead letters that are ready. The answer comes on the channel of the deliveries, behind those that are on their way.
    async fn left(&self) -> Result<u32, BrokerError> {
        const WHAT: &str = "read the dead-letter queue";
        // passive: asks, never creates.
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.topology.dead_letter_queue();
        let asked = self.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        let answered = timeout(ENCODING_TIMEOUT, asked).await.map_err(|_| BrokerError::TimedOut(WHAT))?;
        Ok(answered.map_err(BrokerError::during(WHAT))?.message_count())
    }

    /// Letters that arrived after opening.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn arrived(&self) -> Result<u32, BrokerError> {
        let ready = depth(&self.channel, &self.topology.dead_letter_queue()).await?;
        Ok((ready + self.received).saturating_sub(self.counted))
    }

    /// Retry copies in the wait queues. Asked on a channel of its own, which the broker closes where the user has no permission.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn retries_waiting(&self) -> Result<u32, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let waiting = waiting(&channel, &self.topology).await?;
        close_channel(&channel).await?;
        Ok(waiting)
    }

    /// Messages ready in the work queue.
    ///
    /// # Errors
    /// When the broker does not answer, or refuses.
    pub async fn work_waiting(&self) -> Result<u32, BrokerError> {
        depth(&self.channel, self.topology.queue()).await
    }

    /// Acknowledges the letter, which removes it from the queue.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn remove(&mut self, held: &HeldLetter) -> Result<(), BrokerError> {
        let removed = held.delivery.acker.ack(BasicAckOptions::default());
        if answer("remove a dead letter", removed).await? {
            self.unacknowledged.remove(&held.delivery.delivery_tag);
            self.removed += 1;
            return Ok(());
        }
        Err(BrokerError::Topology(
            "the connection ended before a letter could be removed; it is still in the queue".to_owned(),
        ))
    }

    /// Requeues what was not removed, so that the next walk begins with the oldest letter again and ends with what are then the first
    /// `first` letters.
    ///
    /// A quorum queue keeps what was returned apart from the rest, in the order of returning, and delivers it first. So the order
    /// stays only if all letters are received and then returned from the first to the last, few at a time: what comes in one
    /// command the broker returns in the order of Erlang maps, by consumer and then by letter, and those are sorted up to 32
    /// entries.
    ///
    /// # Errors
    /// When the connection is lost.
    pub async fn requeue(&mut self, first: u32) -> Result<(), BrokerError> {
        self.window.clear();
        while self.received < self.counted {
            self.receive(self.counted, false).await?;
        }
        let queue = self.topology.dead_letter_queue();
        let mut ready = depth(&self.channel, &queue).await?;
        let mut commands = 0;
        for end in std::mem::take(&mut self.last_tags) {
            let later = self.unacknowledged.split_off(&(end + 1));
            let of_one_consumer: Vec<_> = std::mem::replace(&mut self.unacknowledged, later).into_iter().collect();
            for sorted in of_one_consumer.chunks(SORTED) {
                // multiple: everything unacknowledged up to this tag.
                let options = BasicNackOptions { multiple: true, requeue: true };
                let last = sorted[sorted.len() - 1];
                answer("requeue dead letters", self.channel.basic_nack(last, options)).await?;
                ready += u32::try_from(sorted.len()).unwrap_or(u32::MAX);
                commands += 1;
                if commands % COMMANDS == 0 {
                    self.until_ready(ready).await?;
                }
            }
        }
        self.until_ready(ready).await?;
        self.counted -= std::mem::take(&mut self.removed);
        (self.len, self.received) = (first.min(self.counted), 0);
        Ok(())
    }

    /// Waits until the queue has as many ready: with too many commands in flight the broker would merge several into one.
    async fn until_ready(&self, count: u32) -> Result<(), BrokerError> {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        while depth(&self.channel, &self.topology.dead_letter_queue()).await? < count && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Requeues everything and closes the connection, which releases the lock.
    pub async fn close(mut self) {
        timeout(REQUEUE_TIMEOUT, self.requeue(0)).await.ok();
        close(&self.connection).await;
    }
}
