//! The dead-letter queue in the hands of an operator's command.
//!
//! Letters are taken in order and held unacknowledged; those that are not removed go back to their places when the command
//! ends; one that is killed, or loses its connection, leaves that to the broker, which keeps every letter but not their order. One
//! command at a time: it holds an exclusive queue as a lock, so a look never hides letters
//! from a replay, nor a replay from a look. Giving back counts as a delivery up to RabbitMQ 4.2; the queue's delivery
//! limit is out of reach for that reason, and the count is dropped from what is replayed.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::protocol::AMQPSoftError;
use lapin::types::FieldTable;
use lapin::{Channel, Connection, Consumer};
use tokio::time::{Instant, sleep, timeout};

use super::read::DeadLetter;
use crate::broker::connection::address::BrokerAddress;
use crate::broker::connection::connect::{answer, close, connect, open_channel};
use crate::broker::error::BrokerError;
use crate::broker::topology::depth::{depth, waiting};
use crate::broker::topology::names::Topology;

/// Letters in our memory at once, at most. A consumer that has received so many is replaced by a new one, with a prefetch of its
/// own, while what was received stays unacknowledged.
const WINDOW: u16 = 500;
/// At first, when nobody knows how large they are.
const FIRST_WINDOW: u16 = 4;
/// Bodies in our memory at once, as far as those before tell.
const WINDOW_BYTES: usize = 16 * 1024 * 1024;
/// Entries up to which an Erlang map is sorted.
const SORTED: usize = 32;
/// Commands under way at once. With 32 the broker's channel begins to put several into one.
const COMMANDS: usize = 16;
/// A dead letter that is in the queue arrives sooner; one that does not is in somebody else's hands, unless RabbitMQ is still encoding it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Without a dead letter for so long, the queue is asked whether it has one left: a quorum queue counts what has expired behind
/// another until its turn comes, as `doctor --probe` leaves it.
const SILENCE: Duration = Duration::from_secs(1);
/// For that answer: RabbitMQ encodes tens of thousands of tables inside one another for seconds, at each delivery but the first.
const ENCODED_WITHIN: Duration = Duration::from_mins(2);
/// At the end of a command; what is held then goes back with the connection, in any order.
const GIVE_BACK_WITHIN: Duration = Duration::from_mins(1);
/// For another `dlq` command to end.
const LOCK_WITHIN: Duration = Duration::from_secs(5);

/// The letters that are in the queue at the time of opening, the oldest first.
pub struct DeadLetterQueue {
    connection: Connection,
    channel: Channel,
    topology: Topology,
    /// Received and not yet handed out.
    window: VecDeque<Delivery>,
    /// How many to take next.
    next_window: u16,
    /// Delivery tags that are neither removed nor given back.
    outstanding: BTreeSet<u64>,
    /// The last delivery tag of each consumer so far.
    ends: Vec<u64>,
    /// At the last count, without what was removed since.
    counted: u32,
    /// Where a walk ends.
    there: u32,
    received: u32,
    removed: u32,
}

/// A letter in our hands: removed by [`DeadLetterQueue::remove`], or else it goes back to its place.
pub struct HeldLetter {
    /// As it is shown.
    pub letter: DeadLetter,
    pub(in crate::broker) delivery: Delivery,
}

impl DeadLetterQueue {
    /// Connects, waits a few seconds for another command to end, and counts what is there.
    pub async fn open(address: &BrokerAddress, topology: &Topology) -> Result<Self, BrokerError> {
        let connection = connect(address, "dlq").await?;
        match Self::start(&connection, topology).await {
            Ok((channel, there)) => Ok(Self {
                connection,
                channel,
                topology: topology.clone(),
                window: VecDeque::new(),
                next_window: FIRST_WINDOW,
                outstanding: BTreeSet::new(),
                ends: Vec::new(),
                counted: there,
                there,
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
        let there = depth(&channel, &topology.dead_letter_queue()).await?;
        Ok((channel, there))
    }

    /// How many letters a walk meets.
    #[must_use]
    pub const fn there(&self) -> u32 {
        self.there
    }

    /// The next letter; `None` after the last of those that were there, even if more have arrived.
    pub async fn next(&mut self) -> Result<Option<HeldLetter>, BrokerError> {
        if self.window.is_empty() && self.received < self.there {
            self.receive(self.there, true).await?;
        }
        let Some(delivery) = self.window.pop_front() else { return Ok(None) };
        Ok(Some(HeldLetter { letter: DeadLetter::read(&delivery, &self.topology), delivery }))
    }

    /// Takes the next letters, never more than are left of those that were there. The consumer ends before any of them is
    /// acknowledged: that would make room for letters that arrived later.
    ///
    /// Not to be dropped half-way: what has arrived would not be known, and the order lost when it is given back.
    async fn receive(&mut self, end: u32, keep: bool) -> Result<(), BrokerError> {
        let size = u16::try_from(end - self.received).unwrap_or(WINDOW).min(self.next_window);
        let mut consumer = open_window(&self.channel, &self.topology.dead_letter_queue(), size).await?;
        let (mut last, mut count, mut bytes) = (None, 0, 0);
        while count < size {
            let Some(delivery) = self.next_of(&mut consumer).await? else { break };
            self.outstanding.insert(delivery.delivery_tag);
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
        self.ends.extend(last);
        if count == 0 {
            tracing::warn!(
                missing = end - self.received,
                "dead letters did not arrive: they have expired, or another program holds or takes them"
            );
            (self.counted, self.there) = (self.received, self.received);
        }
        self.next_window = next_window(usize::from(count), bytes);
        Ok(())
    }

    /// The next delivery; `None` where the queue has none left for us.
    async fn next_of(&self, consumer: &mut Consumer) -> Result<Option<Delivery>, BrokerError> {
        let until = Instant::now() + PATIENCE;
        let mut last = false;
        loop {
            match timeout(SILENCE, consumer.next()).await {
                Ok(Some(Ok(delivery))) => return Ok(Some(delivery)),
                Ok(Some(Err(error))) => return Err(BrokerError::during("read the dead-letter queue")(error)),
                Ok(None) => {
                    return Err(BrokerError::Topology("the dead-letter queue was deleted meanwhile".to_owned()));
                }
                Err(_) if last || Instant::now() >= until => return Ok(None),
                Err(_) => last = self.left().await? == 0,
            }
        }
    }

    /// Dead letters that nobody has taken yet. The answer comes on the channel of the deliveries, behind those that are on their way.
    async fn left(&self) -> Result<u32, BrokerError> {
        const WHAT: &str = "read the dead-letter queue";
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.topology.dead_letter_queue();
        let asked = self.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        let answered = timeout(ENCODED_WITHIN, asked).await.map_err(|_| BrokerError::TimedOut(WHAT))?;
        Ok(answered.map_err(BrokerError::during(WHAT))?.message_count())
    }

    /// How many letters arrived since opening, beside those that were there.
    pub async fn arrived(&self) -> Result<u32, BrokerError> {
        let ready = depth(&self.channel, &self.topology.dead_letter_queue()).await?;
        Ok((ready + self.received).saturating_sub(self.counted))
    }

    /// Messages that failed and wait for another attempt. On a channel of its own, which ends where the user may not look.
    pub async fn retries_waiting(&self) -> Result<u32, BrokerError> {
        let channel = open_channel(&self.connection).await?;
        let waiting = waiting(&channel, &self.topology).await?;
        answer("close a channel", channel.close(200, "done".into())).await?;
        Ok(waiting)
    }

    /// Messages ready in the work queue.
    pub async fn work_waiting(&self) -> Result<u32, BrokerError> {
        depth(&self.channel, self.topology.queue()).await
    }

    /// Acknowledges: the letter leaves the queue.
    pub async fn remove(&mut self, held: &HeldLetter) -> Result<(), BrokerError> {
        let removed = held.delivery.acker.ack(BasicAckOptions::default());
        if removed.await.map_err(BrokerError::during("remove a dead letter"))? {
            self.outstanding.remove(&held.delivery.delivery_tag);
            self.removed += 1;
            return Ok(());
        }
        Err(BrokerError::Topology(
            "the connection ended before a letter could be removed; it is still there".to_owned(),
        ))
    }

    /// Gives back what was not removed, so that the next look begins with the oldest again and ends with what are then the
    /// first `first` letters.
    ///
    /// A quorum queue keeps what was returned apart from the rest, in the order of returning, and delivers it first. So the order
    /// stays only if all letters are taken and then returned from the first to the last, few at a time: what comes in one
    /// command the broker returns in the order of Erlang maps, by consumer and then by letter, and those are sorted up to 32
    /// entries.
    pub async fn give_back(&mut self, first: u32) -> Result<(), BrokerError> {
        self.window.clear();
        while self.received < self.counted {
            self.receive(self.counted, false).await?;
        }
        let queue = self.topology.dead_letter_queue();
        let mut ready = depth(&self.channel, &queue).await?;
        let mut commands = 0;
        for end in std::mem::take(&mut self.ends) {
            let later = self.outstanding.split_off(&(end + 1));
            let of_one_consumer: Vec<_> = std::mem::replace(&mut self.outstanding, later).into_iter().collect();
            for sorted in of_one_consumer.chunks(SORTED) {
                // multiple: all that is outstanding up to that one.
                let options = BasicNackOptions { multiple: true, requeue: true };
                let last = sorted[sorted.len() - 1];
                answer("give letters back", self.channel.basic_nack(last, options)).await?;
                ready += u32::try_from(sorted.len()).unwrap_or(u32::MAX);
                commands += 1;
                if commands % COMMANDS == 0 {
                    self.until_ready(ready).await?;
                }
            }
        }
        self.until_ready(ready).await?;
        self.counted -= std::mem::take(&mut self.removed);
        (self.there, self.received) = (first.min(self.counted), 0);
        Ok(())
    }

    /// Waits until the queue has taken back what was returned: with too many commands under way the broker puts several into one.
    async fn until_ready(&self, count: u32) -> Result<(), BrokerError> {
        let until = Instant::now() + PATIENCE;
        while depth(&self.channel, &self.topology.dead_letter_queue()).await? < count && Instant::now() < until {
            sleep(Duration::from_millis(2)).await;
        }
        Ok(())
    }

    /// Gives everything back and lets go of the queue.
    pub async fn close(mut self) {
        timeout(GIVE_BACK_WITHIN, self.give_back(0)).await.ok();
        close(&self.connection).await;
    }
}

impl HeldLetter {
    /// The bytes as they came.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.delivery.data
    }
}

/// How many letters to take next, by the size of those before.
fn next_window(letters: usize, bytes: usize) -> u16 {
    let affordable = WINDOW_BYTES * letters / bytes.max(1);
    u16::try_from(affordable).unwrap_or(WINDOW).clamp(1, WINDOW)
}

async fn open_window(channel: &Channel, queue: &str, size: u16) -> Result<Consumer, BrokerError> {
    // Not global: for each consumer by itself, and quorum queues take no other.
    answer("set the prefetch", channel.basic_qos(size, BasicQosOptions { global: false })).await?;
    let consume = channel.basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default());
    answer("read the dead-letter queue", consume).await
}

async fn lock(connection: &Connection, name: &str) -> Result<(), BrokerError> {
    let until = Instant::now() + LOCK_WITHIN;
    loop {
        let channel = open_channel(connection).await?;
        // exclusive: one connection's, and deleted with it however it ends.
        let options = QueueDeclareOptions { exclusive: true, ..Default::default() };
        let declared =
            answer("lock the dead-letter queue", channel.queue_declare(name.into(), options, FieldTable::default()))
                .await;
        let Err(error) = declared else { return Ok(()) };
        let BrokerError::Failed { cause, .. } = &error else { return Err(error) };
        match BrokerError::soft_error(cause) {
            Some(AMQPSoftError::RESOURCELOCKED) if Instant::now() < until => sleep(Duration::from_millis(200)).await,
            Some(AMQPSoftError::RESOURCELOCKED) => {
                return Err(BrokerError::Topology(
                    "another dlq command is at work on this queue; wait for it, or end it".to_owned(),
                ));
            }
            Some(AMQPSoftError::ACCESSREFUSED) => {
                tracing::warn!(
                    queue = name,
                    "no permission to configure the lock queue: make sure that no other dlq command is at work"
                );
                return Ok(());
            }
            _ => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn next_window_holds_what_memory_affords() {
        let mebibyte = 1024 * 1024;
        assert_eq!(next_window(4, 4 * mebibyte), 16);
        assert_eq!(next_window(2, 3 * mebibyte), 10);
        assert_eq!(next_window(4, 4_000), WINDOW, "small letters");
        assert_eq!(next_window(1, 100 * mebibyte), 1, "one larger than all");
        assert_eq!(next_window(4, 0), WINDOW, "empty ones");
    }
}
