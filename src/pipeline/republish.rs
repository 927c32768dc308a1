use super::intake::Item;
use super::session::{End, acknowledge};
use super::supervisor::Pipeline;
use crate::broker::{Delivery, Outgoing, PublishError, dead_letter, restore_topology, retry_copy};
use crate::clock;
use crate::message::{Reason, Reject};
use crate::telemetry::Outcome;

/// A delivery whose letter is not confirmed yet.
pub(super) struct Unsettled {
    delivery: Delivery,
    letter: Outgoing,
    purpose: Purpose,
}

#[derive(Debug, Clone, Copy)]
enum Purpose {
    Retry,
    DeadLetter(Reason),
}

impl Pipeline {
    pub(super) fn retry(&self, item: Item, delay: usize, error: &str, counted: bool) -> Unsettled {
        let message_id = item.message_name();
        let Item { delivery, request, .. } = item;
        let attempt = delivery.attempt(&self.options.topology);
        tracing::warn!(
            attempt,
            counted,
            message_id,
            event_id = request.event_id(),
            error,
            "message failed; it waits for another attempt"
        );
        let failed = if counted { attempt } else { attempt - 1 };
        let letter = retry_copy(&self.options.topology, &delivery, delay, failed, error);
        Unsettled { delivery, letter, purpose: Purpose::Retry }
    }

    /// The reject's text stays out of the log: it may quote the body.
    pub(super) fn letter(&self, item: Item, reject: &Reject) -> Unsettled {
        let message_id = item.message_name();
        let Item { delivery, request, .. } = item;
        tracing::warn!(
            reason = reject.reason.as_str(),
            attempt = delivery.attempt(&self.options.topology),
            message_id,
            event_id = request.event_id(),
            bytes = delivery.body().len(),
            "message goes to the dead-letter queue"
        );
        let letter = dead_letter(&self.options.topology, &delivery, reject, clock::now());
        Unsettled { delivery, letter, purpose: Purpose::DeadLetter(reject.reason) }
    }

    /// Publishes the letters and acknowledges the originals of those that are confirmed; the others stay in the list, to be
    /// sent again. A letter may so be there twice; it is never lost.
    pub(super) async fn send_letters(&self, unsettled: &mut Vec<Unsettled>) -> Result<(), End> {
        let letters: Vec<_> = unsettled.iter().map(|unsettled| &unsettled.letter).collect();
        let answers = self.publisher.publish(&letters).await;
        let mut left = Vec::new();
        let mut error = None;
        for (sent, answer) in unsettled.drain(..).zip(answers) {
            match answer {
                Ok(()) => {
                    acknowledge(&sent.delivery, false).await?;
                    match sent.purpose {
                        Purpose::Retry => self.metrics.messages.add(Outcome::Retried, 1),
                        Purpose::DeadLetter(reason) => self.metrics.count_dead_letter(reason),
                    }
                }
                Err(refused) => {
                    error = Some(refused);
                    left.push(sent);
                }
            }
        }
        if let Some(error) = error {
            tracing::warn!(letters = left.len(), %error, "letters could not be placed; their messages stay in hand");
            if matches!(error, PublishError::Unroutable { .. } | PublishError::Rejected(_)) {
                // Somebody may have deleted an exchange or a queue of ours.
                if let Err(error) = restore_topology(&self.options.topology, &self.options.address).await {
                    tracing::warn!(
                        error = error.one_line(),
                        "exchanges and queues of the worker could not be made again"
                    );
                }
            }
        }
        *unsettled = left;
        Ok(())
    }
}
