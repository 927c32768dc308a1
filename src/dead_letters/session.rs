use super::error::DeadLettersError;
use crate::broker::{BrokerAddress, DeadLetterQueue, HeldLetter, Topology};
use crate::lifecycle::Stop;

/// A dead-letter queue, and what ends the work on it.
pub struct DeadLetters {
    /// The broker.
    pub address: BrokerAddress,
    /// Names the queue.
    pub topology: Topology,
    /// Soft: the work ends, and what it holds returns to its place. Hard: that is not waited for either.
    pub stop: Stop,
    /// Called with each step.
    pub on_progress: Box<dyn Fn(Progress) + Send + Sync>,
}

/// How far the work is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Dead letters read, of those in the queue.
    Read(u32, u32),
    /// Dead letters replayed.
    Replayed(u32),
    /// Dead letters removed.
    Removed(u32),
}

impl DeadLetters {
    /// Works on the queue. However that ends, what is left returns to its place.
    pub(super) async fn with_queue<T>(
        &self,
        work: impl AsyncFnOnce(&mut QueueSession<'_>) -> Result<T, DeadLettersError>,
    ) -> Result<T, DeadLettersError> {
        let queue = tokio::select! {
            queue = DeadLetterQueue::open(&self.address, &self.topology) => queue?,
            () = self.stop.soft.cancelled() => return Err(DeadLettersError::Interrupted),
        };
        let mut session = QueueSession { queue, of: self };
        let done = work(&mut session).await;
        tokio::select! {
            () = session.queue.close() => {}
            () = self.stop.hard.cancelled() => {}
        }
        done
    }
}

/// One piece of work on the queue, which it holds.
pub(super) struct QueueSession<'a> {
    pub(super) queue: DeadLetterQueue,
    pub(super) of: &'a DeadLetters,
}

impl QueueSession<'_> {
    /// The next dead letter for work that changes nothing; an interruption ends it.
    pub(super) async fn read(&mut self) -> Result<Option<HeldLetter>, DeadLettersError> {
        if self.is_interrupted() {
            return Err(DeadLettersError::Interrupted);
        }
        Ok(self.queue.next().await?)
    }

    /// Returns everything to the queue, and limits what is read from now on to the first `letters`.
    pub(super) async fn restart(&mut self, letters: u32) -> Result<(), DeadLettersError> {
        Ok(self.queue.requeue(letters).await?)
    }

    pub(super) fn progress(&self, progress: Progress) {
        (self.of.on_progress)(progress);
    }

    pub(super) fn is_interrupted(&self) -> bool {
        self.of.stop.soft.is_cancelled()
    }

    pub(super) async fn interrupted(&self) {
        self.of.stop.soft.cancelled().await;
    }
}
